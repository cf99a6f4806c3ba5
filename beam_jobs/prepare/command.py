"""`python -m beam_jobs prepare`: a source's pictures and annotations to a dataset directory of TFRecords."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import time
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, Any

from beam_jobs import filesystem
from beam_jobs.annotation import NO_FAULTS, OTHER_CLASS
from beam_jobs.job.given import DATA, GivenData, absolute, find_subsets, warn
from beam_jobs.job.words import (
    add_dry_run,
    print_dry_run,
    refuse_local_on_dataflow,
)
from beam_jobs.lineage import BATCH, Run, check_target, following, read_by, read_subsets, written
from beam_jobs.prepare.config import PrepareConfig, config_from_flags
from beam_jobs.prepare.describe_again import describe_again
from beam_jobs.prepare.dry_run import describe
from beam_jobs.prepare.execute import RESUMES, execute, is_of_cluster, is_of_this_process, parse_beam_options
from beam_jobs.prepare.fixes import NONE, read_fixes
from beam_jobs.prepare.output_lock import REJECTED_MANIFEST, check_output, lock_output
from beam_jobs.prepare.plan import Plan, make_plan, note_of_whole
from beam_jobs.prepare.versions import note_of_others
from tfrecords.cards.files import is_own_card
from tfrecords.cards.readme import README
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, FIND, MANIFEST, READ, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import add_flags, from_flags, setting
from tfrecords.interrupts import ending_at_once

if TYPE_CHECKING:
    import pyarrow as pa
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.prepare.scene_counts import SceneCounts
    from beam_jobs.prepare.split_warnings import SharedPictures

EPILOG = """\
examples:
  SVHN as its archives unpack, with the folders train, test and extra:
    python -m beam_jobs prepare --source svhn --input svhn --output records
  one folder of pictures with a digitStruct.mat, a tenth of it for test:
    python -m beam_jobs prepare --source svhn --input photos --output records \\
      --test-fraction 0.1
  your own labelled photos, all of them to score a model on:
    python -m beam_jobs prepare --source svhn --input photos --output records \\
      --split test
  complete pictures, for a model that finds the numbers in a photo:
    python -m beam_jobs prepare --source coco --input photos --output scenes \\
      --task find --canvas 320
  four worker processes instead of one per processor:
    ... --workers 4
  pictures and records in a bucket (gs:// and others likewise):
    ... --input s3://bucket/svhn --output s3://bucket/records
  a cluster's job server; any option of Beam is passed through, and
  docs/cluster.md has those of Flink, Spark, Prism and Dataflow:
    ... --runner PortableRunner --job_endpoint HOST:8099

The same input, configuration and seed give the same bytes, on any runner and
with any number of workers. After an interruption, run the same command again:
it keeps the complete shards.
"""
_AUTO = "auto"
_MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class PrepareJob(GivenData):
    """What one call reads and writes; nothing of it is saved. The help line of each setting describes it."""

    output: str = setting(MISSING, "dataset directory to create, local or at an address, as s3://", group=DATA)
    overwrite: bool = setting(False, "replace an existing dataset in the output", group=DATA)
    allow_other_versions: bool = setting(
        False,
        "accept workers with other versions of the packages that decide the bytes; the manifest lists them",
        group=DATA,
    )
    fix: str | None = setting(
        None,
        "CSV file of reviewed corrections with the columns key, action (drop or relabel), text and reason; "
        "`trainer audit --write-fixes` drafts one",
        group=DATA,
    )
    workers: str = setting(
        _AUTO,
        "number of worker processes on this machine; auto: one per processor that may be used, and no other process "
        "below 2,000 pictures",
        group=DATA,
    )
    openlineage: str | None = setting(
        None,
        "file to which OpenLineage events of the run are appended, or http:// address to which they are posted",
        group=DATA,
    )

    def __post_init__(self) -> None:
        """Checks the values, before anything large is imported.

        Raises:
          UserError: One cannot be used.
        """
        super().__post_init__()
        check_target(self.openlineage)
        if self.workers != _AUTO and not (self.workers.isdecimal() and 1 <= int(self.workers) <= _MOST_WORKERS):
            raise UserError(f"--workers must be {_AUTO} or 1..{_MOST_WORKERS}.", self.workers)

    @property
    def worker_count(self) -> int | None:
        """Number of worker processes that was asked for; None to choose."""
        return None if self.workers == _AUTO else int(self.workers)

    @property
    def places(self) -> dict[str, str | None]:
        """Places that workers read and write, by their flags."""
        return {"--input": self.input, "--media-root": self.media_root, "--output": self.output}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options: those of the job and those of the dataset's configuration."""
    add_flags(parser, PrepareJob, PrepareConfig, About)
    add_dry_run(parser)


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Runs the job and prints a summary.

    Args:
      args: Parsed options.
      beam_options: Options that the parser does not know: Beam's.

    Raises:
      UserError: An option or the input cannot be used, or too many pictures were rejected.
    """
    job: PrepareJob = from_flags(PrepareJob, vars(args))
    config = config_from_flags(vars(args))
    about: About = from_flags(About, vars(args))
    output = Place(job.output)
    filesystem.refuse_store_options(beam_options)
    refuse_local_on_dataflow(beam_options, job.places)
    with ending_at_once():
        from beam_jobs.prepare.advice import narrow_characters

        options = parse_beam_options(beam_options, "prepare", "workers" in vars(args))
        if is_cluster := is_of_cluster(options):
            job = absolute(job, "output")
            output = Place(job.output)
    # Killed at any moment, a job resumes. Beam takes an exception for one of the pipeline's.
    with ending_at_once(RESUMES) if is_of_this_process(options) else contextlib.nullcontext():
        check_output(output)
        subsets = find_subsets(job, config.reading)
        fixes = read_fixes(job.fix) if job.fix else NONE
        plan = make_plan(config, subsets, output, job.allow_other_versions, about, fixes)
        if plan.config.validation_fraction != config.validation_fraction and "validation_fraction" in vars(args):
            warn("the split validation is a subset of the input, so --validation-fraction draws nothing")
        if plan.config.crop != config.crop:
            print(note_of_whole(plan.config))
        if config.backgrounds and not plan.survey.has_boxes:
            warn("no number has a box, so no crop without a digit can be cut (--backgrounds)")
        if plan.config.task == READ and "aspect" not in vars(args) and (line := narrow_characters(plan.config)):
            print(f"note: {line}")
        if args.dry_run:
            print_dry_run([*describe(plan, job.overwrite), f"{'runner':<11}{_runner(plan, job, options)}"])
        else:
            _prepare(plan.on_cluster() if is_cluster else plan, job, options, args.verbose)
    return 0


def _runner(plan: Plan, job: PrepareJob, options: PipelineOptions | None) -> str:
    """Returns what would run a plan, in words."""
    if options is None:
        from beam_jobs.prepare.local import choose_workers

        workers = choose_workers(plan, job.worker_count)
        return f"this machine, {workers:,} {'process' if workers == 1 else 'processes'}"
    from beam_jobs.job.runner import runner_title

    return runner_title(options)


def _prepare(plan: Plan, job: PrepareJob, options: PipelineOptions | None, verbose: bool) -> None:
    """Makes the dataset of a plan unless it is complete, and delivers OpenLineage's events of it.

    Raises:
      UserError: The output cannot be used, or too many pictures were rejected.
    """
    lineage = Run(job.openlineage, f"prepare.{plan.config.name}", BATCH, [read_subsets(job.input, plan.subsets)])
    with following(lineage):
        manifest = _make(plan, job, options, verbose)
        lineage.inputs = [read_by(job.input, manifest)]
        lineage.outputs = [written(job.output, manifest)]


def _make(plan: Plan, job: PrepareJob, options: PipelineOptions | None, verbose: bool) -> Manifest:
    """Makes the dataset of a plan unless it is complete, and prints a summary; returns its manifest.

    Raises:
      UserError: The output cannot be used, or too many pictures were rejected.
    """
    start = time.monotonic()
    with lock_output(plan, job.overwrite) as complete:
        metrics = None if complete else execute(plan, job.worker_count, options, verbose)
        if complete:
            describe_again(plan)
    if metrics:
        _print_metrics(*metrics)
    manifest = _print_dataset(plan)
    if metrics:
        _warn_of_splits(plan, manifest)
    elif line := note_of_others(manifest.versions, plan):
        print(f"note: {line}")
    if not is_own_card(plan.output):
        print(f"note: {plan.path(README)} is not a card that prepare wrote, and stays as it is")
    seconds = time.monotonic() - start
    if plan.survey.largest_digest is not None:
        print(f"--limit took {plan.pictures:,} of {sum(subset.entries for subset in plan.subsets):,} pictures")
    what, count = f"{plan.pictures:,} pictures", plan.pictures
    if scenes := list(_scenes(plan, manifest).values()):
        found = sum(scenes[1:], scenes[0])
        what, count = f"{found},", found.pictures
    done = "were already prepared" if not metrics else f"in {seconds:.1f} s ({count / seconds:,.0f}/s)"
    if plan.fixes.sha256:
        print(f"--fix relabelled {plan.fixes.relabelled:,} numbers and dropped {plan.fixes.dropped:,}")
    print(f"{what} {done}: the dataset {plan.config.name} is in {plan.output}")
    print(f"Next: python -m tfrecords inspect {shlex.quote(str(plan.output))}")
    return manifest


def _print_metrics(counters: Mapping[str, int], distributions: Mapping[str, Any]) -> None:
    """Prints what this run did, as opposed to what the dataset holds."""
    if kept := counters.get("shards_kept"):
        print(f"{kept} shards were already complete, {counters.get('shards_written', 0)} were written")
    if decode := distributions.get("picture_decode_us"):
        size = distributions["picture_bytes"]
        print(
            f"read {counters['bytes_read'] / 1e6:,.1f} MB, wrote {counters['bytes_written'] / 1e6:,.1f} MB; "
            f"per picture: {size.mean / 1e3:,.1f} kB ({size.min / 1e3:,.1f} to {size.max / 1e3:,.1f}), "
            f"decoded in {decode.mean / 1e3:.2f} ms ({decode.min / 1e3:.2f} to {decode.max / 1e3:.2f})"
        )


def _print_dataset(plan: Plan) -> Manifest:
    """Prints the splits of the dataset and the numbers of pictures that are in none; returns the manifest.

    Raises:
      UserError: Too many pictures were rejected, so there is no dataset.
    """
    from beam_jobs.prepare.advice import unknown_characters, what_to_do
    from beam_jobs.prepare.publish_dataset import count_faults

    failed = not plan.path(MANIFEST).is_file()
    content = plan.path(REJECTED_MANIFEST if failed else MANIFEST).read_bytes()
    manifest = Manifest.parse(content, str(plan.output))
    dead = count_faults(manifest)
    counts = ((reason, count) for reason, count in manifest.dead_letters.items() if reason not in NO_FAULTS)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
    letters = plan.path(DEAD_LETTERS)
    rows = _rejected_rows(plan) if dead else None
    if failed and plan.config.on_leak == "fail" and (shared := _shared_pictures(plan)):
        lines = "; ".join(map(str, shared))
        raise UserError(f"{lines}. Nothing was published (--on-leak fail); --on-leak drop leaves such pictures out.")
    if failed:
        raise UserError(
            f"{dead:,} of {plan.pictures:,} pictures were rejected ({reasons}); at most "
            f"{100 * plan.config.max_dead_fraction:g} % may be (--max-dead-fraction). "
            f"Nothing was published; see {letters}. {rows and what_to_do(rows, manifest.labels)}".rstrip()
        )
    _print_splits(plan, manifest)
    if dead:
        print(f"{'rejected':<11}{dead:>9,} pictures ({reasons}): see {letters}")
        if rows and (line := unknown_characters(rows, manifest.labels)):
            print(f"note: {line}")
    for reason, (title, what) in NO_FAULTS.items():
        if count := manifest.dead_letters.get(reason, 0):
            what = "boxes of another class" if (reason, plan.config.task) == (OTHER_CLASS, FIND) else what
            print(f"{title:<11}{count:>9,} {what}: see {letters}")
    return manifest


def _print_splits(plan: Plan, manifest: Manifest) -> None:
    """Prints a line for each split of a dataset that was just made."""
    scenes = _scenes(plan, manifest)
    for split, info in manifest.splits.items():
        size = sum(shard.bytes for shard in info.shards) / 1e6
        content = f"{info.pictures:>9,} pictures {info.examples:>10,} examples"
        if found := scenes.get(split):
            content = f"{found.pictures:>9,} pictures {found.numbers:>10,} numbers {found.negatives:>9,} without one"
        print(f"{split:<11}{content} {len(info.shards):>5} shards {size:>10,.1f} MB")


def _scenes(plan: Plan, manifest: Manifest) -> dict[str, SceneCounts]:
    """Returns what each split of a dataset for finding holds that was just made; nothing of one for reading."""
    if plan.config.task != FIND:
        return {}
    from beam_jobs.prepare.scene_counts import COLUMNS, count_scenes

    return count_scenes(manifest, _read_rows(plan, COLUMNS))


def _warn_of_splits(plan: Plan, manifest: Manifest) -> None:
    """Prints what is unusual about the splits of a dataset that was just made."""
    from beam_jobs.prepare.split_warnings import few_validation_pictures

    splits = manifest.splits
    if plan.config.task == FIND:  # whose pictures count once for each of their numbers, and are an example each
        splits = {name: replace(info, pictures=info.examples) for name, info in splits.items()}
    for line in (*few_validation_pictures(splits), *map(str, _shared_pictures(plan))):
        warn(line)


def _rejected_rows(plan: Plan) -> pa.Table:
    """Returns the rows of the pictures that were rejected."""
    import pyarrow.compute as pc

    from beam_jobs.prepare.advice import COLUMNS

    rows = _read_rows(plan, COLUMNS)
    # By a mask: an expression imports Arrow's datasets, and pandas.
    return rows.filter(pc.is_valid(rows["reason"]))


def _shared_pictures(plan: Plan) -> list[SharedPictures]:
    """Returns the pictures that splits of a dataset that was just made share."""
    from beam_jobs.job.pictures import picture_reader
    from beam_jobs.prepare.split_warnings import COLUMNS, shared_pictures

    return shared_pictures(_read_rows(plan, COLUMNS), picture_reader(plan.config.source, plan.subsets))


def _read_rows(plan: Plan, columns: list[str]) -> pa.Table:
    """Returns columns of the annotations.parquet that was just written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Without `read_table`, which imports Arrow's datasets, and pandas where it is installed: 0.3 s.
    with pq.ParquetFile(pa.BufferReader(plan.path(ANNOTATIONS).read_bytes())) as file:
        return file.read(columns=columns)
