"""`python -m beam_jobs rebuild`: makes a dataset again from its manifest, and proves that it is the same."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_jobs import filesystem
from beam_jobs.job.given import GivenData, absolute
from beam_jobs.job.words import refuse_local_on_dataflow
from beam_jobs.prepare.command import PrepareJob
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.execute import RESUMES, is_of_cluster, is_of_this_process, parse_beam_options
from beam_jobs.prepare.fixes import NONE, read_fixes
from beam_jobs.prepare.output_lock import check_output
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST
from tfrecords.errors import UserError, one_line, printable
from tfrecords.files.place import Place, place
from tfrecords.flags import add_flags, from_flags
from tfrecords.interrupts import ending_at_once

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.rebuild.compare import Comparison
    from beam_jobs.rebuild.original import Original
    from beam_jobs.rebuild.prove import Remade

EPILOG = """\
examples:
  whether these pictures still make this dataset; nothing is kept:
    python -m beam_jobs rebuild svhn-records --input svhn
  a dataset of which only the manifest came, made again and kept:
    python -m beam_jobs rebuild manifest.json --input svhn --output records
  snapshot 42 of a stream, from the folder that its batches were moved to:
    python -m beam_jobs rebuild stream@42 --input archive
  in four processes, or on a cluster: both decide no byte:
    ... --workers 4
    ... --output s3://bucket/again --runner PortableRunner --job_endpoint H:8099

All settings are those of the manifest; a flag of prepare with another value is
refused. The digest of every shard, the table of annotations, the splits and the
rejected pictures are compared. Where something differs, the lines say in what:
version of a package, setting, source, picture or shard. Pictures are named if
MANIFEST is in its dataset directory. The files of the original are taken to be
as its manifest says: python -m tfrecords validate checks them.

Exit code 0: the same. Exit code 1: something differs. Exit code 2: it could not
be made or compared.
"""
_TROUBLE = 2
_GB = 1e9
_SPARE = 1.1
"""Room for a dataset made again, as a multiple of its shards: the files next to them are small."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options: those of the job, and those of `prepare`, which the manifest decides, without their help."""
    text = "dataset directory, its manifest.json or a copy of that, stream, or STREAM@N; local or at an address"
    parser.add_argument("manifest", type=place, metavar="MANIFEST", help=text)
    add_flags(parser, PrepareJob, without=("source", "subsets", "output"))
    text = "dataset directory to create, local or at an address; by default a temporary one, deleted at the end"
    parser.add_argument("--output", metavar="DIR2", default=argparse.SUPPRESS, help=text)
    add_flags(parser, GivenData, PrepareConfig, without=("input", "media_root"), hidden=True)


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Makes the dataset again; returns 0 if it is the same, 1 if it differs, 2 if that cannot be said.

    Args:
      args: Parsed options.
      beam_options: Options that the parser does not know: Beam's.
    """
    try:
        return _rebuild(args, beam_options)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        if args.verbose:
            traceback.print_exc()
        print(f"error: {printable(one_line(error))}", file=sys.stderr)
        return _TROUBLE


def _rebuild(args: argparse.Namespace, beam_options: list[str]) -> int:
    from beam_jobs.rebuild.original import open_originals
    from beam_jobs.rebuild.remake import config_of, refuse_others

    given: dict[str, Any] = vars(args)
    for name in ("input", "media_root", "output"):
        if name in given:
            Place(given[name])  # an address with a slash too few is refused before anything is read
    filesystem.refuse_store_options(beam_options)
    originals = open_originals(args.manifest)
    for original in originals:
        refuse_others(given, original, config_of(original))
    with ending_at_once():
        options = parse_beam_options(beam_options, "rebuild", "workers" in given)
    kept = given.get("output")
    if kept is None and options is not None:
        raise UserError("With options of Beam, --output must name the folder that the workers write to.", "no --output")
    with _output(kept, originals) as output:
        jobs = [_job(given, original, output) for original in originals]
        for job in jobs:
            refuse_local_on_dataflow(beam_options, job.places)
        count = 0
        for original, job in zip(originals, jobs, strict=True):
            count += not _prove(original, job, options, args.verbose, kept is not None).is_same
        if len(originals) > 1:
            print(_of_all(args.manifest, len(originals), count))
    return 1 if count else 0


@contextlib.contextmanager
def _output(kept: str | None, originals: list[Original]) -> Iterator[Place]:
    """Yields the folder to write to: the one that was given, or a temporary one, which is deleted.

    Raises:
      UserError: It is the dataset itself, or this machine has no room for a temporary one.
    """
    if kept is not None:
        output = Place(kept)
        if any(_is_same_place(original.place, output / original.path) for original in originals if original.place):
            raise UserError("--output must be another folder than the dataset's.", kept)
        yield output
        return
    folder, size = Path(tempfile.gettempdir()), _SPARE * max(original.bytes for original in originals)
    if (free := shutil.disk_usage(folder).free) < size:
        rule = f"{folder} must have room for the dataset: free some, set TMPDIR to another folder, or give --output."
        raise UserError(rule, f"{free / _GB:.1f} GB free of {size / _GB:.1f} GB")
    with tempfile.TemporaryDirectory(prefix="streetdigits-rebuild-") as name:
        yield Place(name)


def _is_same_place(first: Place | None, second: Place) -> bool:
    if first is None or first.is_remote or second.is_remote:
        return first == second
    return first.path.resolve() == second.path.resolve()


def _job(given: Mapping[str, Any], original: Original, output: Place) -> PrepareJob:
    """Returns what a call reads and writes for one dataset directory.

    Raises:
      UserError: A value cannot be used.
    """
    from beam_jobs.rebuild.remake import subset_names

    own = {"source": original.manifest.config["source"], "subsets": subset_names(original.manifest)}
    place = output / original.path if original.path else output
    job: PrepareJob = from_flags(PrepareJob, {**given, **own, "output": place.text})
    return job


def _prove(
    original: Original, job: PrepareJob, options: PipelineOptions | None, verbose: bool, is_kept: bool
) -> Comparison:
    """Makes one dataset directory again, prints what differs, and returns it.

    Raises:
      UserError: It cannot be made or compared.
    """
    from beam_jobs.rebuild.prove import LISTED, compare_with, make
    from beam_jobs.rebuild.remake import plan_remake
    from beam_jobs.rebuild.tables import COLUMNS

    if is_cluster := is_of_cluster(options):
        job = absolute(job, "output")
    output = Place(job.output)
    # What is kept may be killed at any moment, and resumed. What is temporary has to be deleted.
    at_once = is_kept and is_of_this_process(options)
    with ending_at_once(RESUMES) if at_once else contextlib.nullcontext():
        check_output(output)
        fixes = read_fixes(job.fix) if job.fix else NONE
        plan = plan_remake(original, job, output, job.allow_other_versions, fixes)
        table = original.read_table(COLUMNS)
        print(_title(original))
        remade = make(plan.on_cluster() if is_cluster else plan, job.overwrite, job.worker_count, options, verbose)
        found = compare_with(original, table, remade, plan)
    for line in found.lines(LISTED):
        print(printable(line))
    print(printable(_verdict(original, remade, found)))
    if not is_kept and not output.is_remote:
        shutil.rmtree(output.path)
    return found


def _title(original: Original) -> str:
    manifest = original.manifest
    pictures = sum(source.pictures for source in manifest.sources)
    made = manifest.versions.get("streetdigits", "an unknown version")
    return (
        f"{original.name}: {manifest.name}, {manifest.task}, {pictures:,} pictures of {manifest.config['source']}, "
        f"made with streetdigits {made}"
    )


def _verdict(original: Original, remade: Remade, found: Comparison) -> str:
    """Returns the last line about a dataset."""
    shards = sum(len(info.shards) for info in remade.manifest.splits.values())
    examples = sum(info.examples for info in remade.manifest.splits.values())
    if found.is_same:
        is_whole = remade.content == original.content
        whole = f"{MANIFEST} too, byte for byte" if is_whole else f"{MANIFEST} differs in what was said above"
        return (
            f"same: all {shards:,} shards with {examples:,} examples, the annotations and all counts are those of "
            f"{original.name}; {whole} ({remade.seconds:.1f} s)"
        )
    causes = "; ".join(found.causes) or "nothing in the manifests explains it: the files or the machine may be damaged"
    changed = sum(not line.startswith(ANNOTATIONS) for line in found.shards)
    return f"differs from {original.name} in {changed:,} of {shards:,} shards: {causes}"


def _of_all(given: Place, count: int, differing: int) -> str:
    if differing:
        return f"differs: {differing:,} of the {count:,} directories of {given}"
    return f"same: all {count:,} directories of {given}"
