"""`python -m beam_jobs prepare`: a source's pictures and annotations to a dataset directory of TFRecords."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

from beam_jobs import filesystem
from beam_jobs.prepare.config import PrepareConfig, config_from_flags
from beam_jobs.prepare.output_lock import REJECTED_MANIFEST, lock_output
from beam_jobs.prepare.plan import Plan, make_plan
from beam_jobs.sources import SOURCES, load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import add_flags, from_flags, setting
from tfrecords.interrupts import ending_at_once

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

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
  two worker processes, or a cluster; any option of Beam is passed through:
    ... --direct_running_mode multi_processing --direct_num_workers 2
    ... --runner FlinkRunner --flink_master HOST:8081 --setup_file ./setup.py

The same input, configuration and seed give the same bytes, on any runner and
with any number of workers. After an interruption, run the same command again:
it keeps the complete shards.
"""
_DATA = "data"


@dataclass(frozen=True)
class PrepareJob:
    """What one call reads and writes; nothing of it is saved. The help line of each setting describes it."""

    source: str = setting(MISSING, "format of the input", choices=tuple(SOURCES), group=_DATA)
    input: str = setting(MISSING, "file or folder of the source, or its address, as s3://bucket/svhn", group=_DATA)
    output: str = setting(MISSING, "dataset directory to create, on any file system that Beam knows", group=_DATA)
    subsets: str | None = setting(
        None,
        "subsets to read, comma-separated, as train,extra; by default all that exist of train, val, valid, validation, "
        "dev, test and extra. test is the split test, the four after train are the split validation, others are train",
        group=_DATA,
    )
    overwrite: bool = setting(False, "replace an existing dataset in the output", group=_DATA)

    @property
    def subset_names(self) -> tuple[str, ...]:
        """Names of the subsets to read; empty for all."""
        return tuple(name for name in (self.subsets or "").split(",") if name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options: those of the job and those of the dataset's configuration."""
    add_flags(parser, PrepareJob, PrepareConfig)


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
    with ending_at_once():
        # Beam, whose import takes seconds, comes after the options are checked.
        from beam_jobs.prepare.runner import is_of_this_process, leaves_processors_idle, parse_beam_options

        options = parse_beam_options(beam_options)
    # Killed at any moment, a job resumes. Beam takes an exception for one of the pipeline's.
    with ending_at_once("the same command resumes") if is_of_this_process(options) else contextlib.nullcontext():
        subsets = _find_subsets(job)
        plan = make_plan(config, subsets, job.output, leaves_processors_idle(options))
        if plan.config != config and "validation_fraction" in vars(args):
            _warn("the split validation is a subset of the input, so --validation-fraction draws nothing")
        _prepare(plan, options, job.overwrite, args.verbose)
    return 0


def _prepare(plan: Plan, options: PipelineOptions, overwrite: bool, verbose: bool) -> None:
    """Makes the dataset of a plan unless it is complete, and prints a summary.

    Raises:
      UserError: The output cannot be used, or too many pictures were rejected.
    """
    from beam_jobs.prepare.monitoring import read_metrics, watch_progress
    from beam_jobs.prepare.runner import ending_with_workers, one_line_errors

    start = time.monotonic()
    with lock_output(plan, overwrite) as complete:
        if not complete:
            with watch_progress(plan), one_line_errors(verbose), ending_with_workers():
                result = run_pipeline(plan, options)
    if not complete:
        _print_metrics(*read_metrics(result))
    manifest = _print_dataset(plan)
    if not complete:
        _warn_of_splits(plan, manifest)
    seconds = time.monotonic() - start
    done = "were already prepared" if complete else f"in {seconds:.1f} s ({plan.pictures / seconds:,.0f}/s)"
    print(f"{plan.pictures:,} pictures {done}: the dataset {plan.config.name} is in {plan.output}")
    print(f"Next: python -m tfrecords inspect {shlex.quote(plan.output)}")


def _find_subsets(job: PrepareJob) -> tuple[Subset, ...]:
    """Returns the subsets to read, and names the folders that are left out although nobody asked for it."""
    source = load_source(job.source)
    given, options = Input(Place(job.input), job.subset_names), SourceOptions()
    subsets = source.find_subsets(given, options)
    unread = () if job.subset_names else source.unread(given, subsets, options)
    if unread:
        names = ", ".join(unread)
        _warn(f"not read, although annotations are there: {names} (--subsets chooses, or give one as --input)")
    return subsets


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def run_pipeline(plan: Plan, options: PipelineOptions) -> PipelineResult:
    """Runs the pipeline of a plan and waits until it has finished."""
    import apache_beam as beam

    from beam_jobs.prepare.memory import limit_malloc_arenas
    from beam_jobs.prepare.runner import make_runner
    from beam_jobs.prepare.transforms import PublishDataset, ReadAnnotations, WriteShards

    limit_malloc_arenas()
    pipeline = beam.Pipeline(runner=make_runner(options), options=options)
    (
        pipeline
        | "ReadAnnotations" >> ReadAnnotations(plan)
        | "WriteShards" >> WriteShards(plan)
        | "PublishDataset" >> PublishDataset(plan)
    )
    result = pipeline.run()
    result.wait_until_finish()
    return result


def _print_metrics(counters: dict[str, int], distributions: dict[str, Any]) -> None:
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
    """Prints the splits of the dataset and the number of rejected pictures; returns the manifest.

    Raises:
      UserError: Too many pictures were rejected, so there is no dataset.
    """
    failed = not filesystem.exists(plan.path(MANIFEST))
    manifest = Manifest.parse(filesystem.read_bytes(plan.path(REJECTED_MANIFEST if failed else MANIFEST)), plan.output)
    dead = sum(manifest.dead_letters.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.dead_letters.items())
    letters = plan.path(DEAD_LETTERS)
    if failed:
        raise UserError(
            f"{dead:,} of {plan.pictures:,} pictures were rejected ({reasons}); at most "
            f"{100 * plan.config.max_dead_fraction:g} % may be (--max-dead-fraction). "
            f"Nothing was published; see {letters}."
        )
    for split, info in manifest.splits.items():
        size = sum(shard.bytes for shard in info.shards) / 1e6
        print(
            f"{split:<11}{info.pictures:>9,} pictures {info.examples:>10,} examples "
            f"{len(info.shards):>5} shards {size:>10,.1f} MB"
        )
    if dead:
        print(f"{'rejected':<11}{dead:>9,} pictures ({reasons}): see {letters}")
    return manifest


def _warn_of_splits(plan: Plan, manifest: Manifest) -> None:
    """Prints what is unusual about the splits of a dataset that was just made."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from beam_jobs.prepare.split_warnings import COLUMNS, few_validation_pictures, shared_pictures

    table = pq.read_table(pa.BufferReader(filesystem.read_bytes(plan.path(ANNOTATIONS))), columns=COLUMNS)
    for line in (*few_validation_pictures(manifest.splits), *shared_pictures(table)):
        _warn(line)
