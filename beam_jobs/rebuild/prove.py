"""A dataset made again, and compared with the original."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_jobs.prepare.execute import execute
from beam_jobs.prepare.output_lock import REJECTED_MANIFEST, lock_output
from beam_jobs.prepare.publish_dataset import count_faults
from beam_jobs.rebuild.compare import Comparison, compare_manifests
from beam_jobs.rebuild.original import Original, read_table
from beam_jobs.rebuild.tables import COLUMNS, Changed, compare_tables
from tfrecords.dataset.compare import MOVED, RELABELLED, State, compare
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.prepare.plan import Plan

LISTED = 20
"""Pictures, shards and others that are named of each kind of difference."""
_IN_TABLE = ("added", "removed", MOVED, RELABELLED)
"""Kinds of differences of records that the tables of annotations show too."""


@dataclass(frozen=True)
class Remade:
    """A dataset that was made again.

    Attributes:
      manifest: Its manifest; what would have been that if too many pictures were rejected.
      content: Bytes of it.
      is_published: Whether it is a dataset: False if too many pictures were rejected.
      seconds: Time that it took.
    """

    manifest: Manifest
    content: bytes
    is_published: bool
    seconds: float


def make(plan: Plan, overwrite: bool, workers: int | None, options: PipelineOptions | None, verbose: bool) -> Remade:
    """Makes the dataset of a plan.

    Args:
      plan: Plan of the job.
      overwrite: Whether to replace a dataset in the output.
      workers: Number of processes on this machine; None to choose.
      options: Options of Beam; None to make it without Beam, on this machine.
      verbose: Whether messages of Beam and of the engine are shown.

    Raises:
      UserError: The output cannot be used, or it has the dataset already: then nothing would be proved.
    """
    start = time.monotonic()
    with lock_output(plan, overwrite) as complete:
        if complete:
            rule = (
                f"{plan.output} must be new, since a dataset that is there proves nothing: give another --output, or "
                "--overwrite. python -m tfrecords diff compares two datasets."
            )
            raise UserError(rule, "this dataset, complete")
        execute(plan, workers, options, verbose)
    is_published = plan.path(MANIFEST).is_file()
    place = plan.path(MANIFEST if is_published else REJECTED_MANIFEST)
    content = place.read_bytes()
    return Remade(Manifest.parse(content, str(place)), content, is_published, time.monotonic() - start)


def compare_with(original: Original, before: pa.Table | None, remade: Remade, plan: Plan) -> Comparison:
    """Returns what differs between a dataset and the one that was made again.

    Args:
      original: The dataset.
      before: `COLUMNS` of its table of annotations; None where that is not at hand.
      remade: The one that was made again.
      plan: Plan of that.
    """
    found = compare_manifests(original.manifest, remade.manifest, before is not None)
    if before is not None:
        path = plan.path(ANNOTATIONS)
        after = read_table(path.read_bytes(), str(path), remade.manifest, COLUMNS)
        found.pictures = compare_tables(before, after, LISTED)
    elif not found.is_same:
        found.notes.append(f"give the dataset directory in place of {original.name} to have the pictures named")
    if not remade.is_published:
        dead = count_faults(remade.manifest)
        found.notes.append(
            f"prepare would publish nothing: {dead:,} of {plan.pictures:,} pictures are rejected, and "
            f"--max-dead-fraction is {plan.config.max_dead_fraction:g}"
            if dead > plan.config.max_dead_fraction * plan.pictures
            else "prepare would publish nothing: splits share pictures (--on-leak fail)"
        )
    elif found.shards and original.place is not None:
        _compare_records(original.place, plan.output, found)
    return found


def _compare_records(before: Place, after: Place, found: Comparison) -> None:
    """Adds the differences of records that the tables do not show: other pixels, crops and bytes."""
    try:
        states = State.open(before), State.open(after)
        examples = sum(info.examples for side in states for info in side.manifest.splits.values())
        with progress("compare", examples, "examples", keep=False) as bar:
            difference = compare(*states, LISTED, bar.update)
    except (UserError, OSError) as error:
        found.notes.append(f"the records were not compared: {error}")
        return
    changes = difference.changes.items()
    found.records = {
        kind: Changed(change.count, change.keys) for kind, change in changes if change.count and kind not in _IN_TABLE
    }
