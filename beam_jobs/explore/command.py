"""`python -m beam_jobs explore`: a source's statistics and pictures on one page, before anything is prepared."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_jobs import filesystem
from beam_jobs.annotation import NO_FAULTS
from beam_jobs.explore.config import ExploreConfig, ExploreJob, config_from_flags
from beam_jobs.job.given import absolute, find_subsets
from beam_jobs.job.mounts import Mounts, mounts_of
from beam_jobs.job.words import add_dry_run, print_dry_run, refuse_local_on_dataflow
from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import add_flags, from_flags, settings_of
from tfrecords.interrupts import ending_at_once

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

EPILOG = """\
examples:
  python -m beam_jobs explore --source svhn --input svhn --output svhn.html
  python -m beam_jobs explore --source mnist --input mnist --output mnist.html
  two worker processes, or a cluster; any option of Beam is passed through:
    ... --direct_running_mode multi_processing --direct_num_workers 2

It reads the annotations and the beginnings of the pictures' files, and
decodes only the pictures that the page shows. svhn.statistics.json, next to
svhn.html, holds all figures. The same input and flags give the same bytes on
any runner. A page of an earlier call is replaced, another file is refused.
"""
_AGAIN = "run the same command again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_flags(parser, ExploreJob, ExploreConfig)
    add_dry_run(parser)


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Writes the page and the statistics, and prints where they are and the most important figures.

    Args:
      args: Parsed options.
      beam_options: Options that the parser does not know: Beam's.

    Raises:
      UserError: An option, the input or the output cannot be used.
      OSError: An existing output cannot be read.
    """
    job: ExploreJob = from_flags(ExploreJob, vars(args))
    config = config_from_flags(vars(args))
    filesystem.refuse_store_options(beam_options)
    places = {"--input": job.input, "--media-root": job.media_root, "--output": job.output}
    refuse_local_on_dataflow(beam_options, places)
    with ending_at_once():
        # Beam, whose import takes seconds, comes after the options are checked.
        import jinja2  # noqa: F401  (the last step of the job needs it: without it, fail now)

        from beam_jobs.explore.publish import check_outputs, statistics_path, without_suffix
        from beam_jobs.job.runner import is_of_cluster, is_of_this_process, parse_beam_options, runner_title

        options = parse_beam_options(beam_options, "explore")
        if is_cluster := is_of_cluster(options):
            job = absolute(job, "output")
    start = time.monotonic()
    is_local = is_of_this_process(options)
    with ending_at_once(_AGAIN) if is_local else contextlib.nullcontext():
        check_outputs(job.output)
        subsets = find_subsets(job, config.reading)
        if not any(subset.entries for subset in subsets):
            raise UserError("The annotations must name at least one picture.", ", ".join(s.path for s in subsets))
        if args.dry_run:
            print_dry_run(_describe(job, subsets, runner_title(options)))
            return 0
        output = Place(job.output)
        mounts = mounts_of(subsets).writing(output, output.parent) if is_cluster else Mounts()
        run_pipeline(job, config, subsets, options, args.verbose, mounts)
    found = json.loads(Place(statistics_path(job.output)).read_bytes())
    _print_summary(found, time.monotonic() - start)
    print(f"The page is {job.output}, its figures are in {statistics_path(job.output)}")
    print(f"Next: {_prepare_command(args, f'{without_suffix(job.output)}-records')}")
    return 0


def _describe(job: ExploreJob, subsets: tuple[Subset, ...], runner: str) -> list[str]:
    """Returns lines about what a job would read and write."""
    from beam_jobs.explore.publish import statistics_path

    rows = [("subset", f"{subset.name}: {subset.entries:,} entries in {subset.path}") for subset in subsets]
    rows += [("output", job.output), ("output", statistics_path(job.output)), ("runner", runner)]
    return [f"{title:<11}{text}" for title, text in rows]


def run_pipeline(
    job: ExploreJob,
    config: ExploreConfig,
    subsets: tuple[Subset, ...],
    options: PipelineOptions,
    verbose: bool,
    mounts: Mounts | None = None,
) -> None:
    """Runs the pipeline, whose last step writes both files, and shows its progress.

    Args:
      job: Input and output.
      config: How the input is read.
      subsets: Subsets to read.
      options: Beam's options.
      verbose: Whether an error keeps its traceback.
      mounts: Local paths that every worker must see.

    Raises:
      UserError: The input cannot be read, or a file cannot be written.
    """
    from beam_jobs.explore.transforms import COUNTER, Explore, Plan, WritePage
    from beam_jobs.job.faults import check_mounts
    from beam_jobs.job.memory import limit_malloc_arenas
    from beam_jobs.job.package import packaged
    from beam_jobs.job.progress import watch_counts
    from beam_jobs.job.runner import ending_with_workers, is_of_this_process, make_pipeline, one_line_errors
    from beam_jobs.job.submit import Submission

    limit_malloc_arenas()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "counts") if is_of_this_process(options) else None
        submission = Submission(options, _AGAIN, verbose)
        counts = () if folder else (lambda: submission.counter(*COUNTER),)
        plan = Plan(config, subsets, str(folder) if folder else None, mounts or Mounts())
        entries = sum(subset.entries for subset in subsets)
        with (
            plan.mounts.marked(lambda: submission.is_running),
            watch_counts(folder, "explore", entries, "entries", *counts),
            one_line_errors(verbose),
            ending_with_workers(_AGAIN),
            packaged(options),
        ):
            pipeline = make_pipeline(options)
            faults = check_mounts(pipeline, plan.mounts)
            _ = pipeline | "Explore" >> Explore(plan, faults) | "WritePage" >> WritePage(plan, job)
            submission.run(pipeline)


def _prepare_command(args: argparse.Namespace, records: str) -> str:
    """Returns the command that prepares the same input with the same settings, whose flags `prepare` has too."""
    names = (settings_of(ExploreJob) | settings_of(ExploreConfig)).keys() - {"output"}
    given = {f"--{name.replace('_', '-')}": str(value) for name, value in vars(args).items() if name in names}
    given["--output"] = records
    words = ["python", "-m", "beam_jobs", "prepare"]
    for flag, value in given.items():
        # argparse takes a value that begins with a dash, as a pattern may, only after an equals sign.
        words += [f"{flag}={value}"] if value.startswith("-") else [flag, value]
    return shlex.join(words)


def _print_summary(found: dict[str, Any], seconds: float) -> None:
    total, copies = found["total"], found["duplicates"]
    faults = {reason: count for reason, count in total["rejected"].items() if reason not in NO_FAULTS}
    for name, subset in found["subsets"].items():
        lengths = ", ".join(f"{count:,} of {length}" for length, count in subset["lengths"].items())
        characters = "character" if [*subset["lengths"]] == ["1"] else "characters"
        print(f"{name:<11}{subset['numbers']:>9,} numbers" + (f" ({lengths} {characters})" if lengths else ""))
    if faults:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in faults.items())
        print(f"{'rejected':<11}{sum(faults.values()):>9,} ({reasons})")
    for reason, (title, what) in NO_FAULTS.items():
        if count := total["rejected"].get(reason):
            print(f"{title:<11}{count:>9,} {what}")
    if copies["groups"]:
        groups = f"{copies['groups']:,} group{'s' * (copies['groups'] != 1)}"
        print(
            f"{'copies':<11}{copies['copies']:>9,} pictures in {groups}, "
            f"{copies['across_subsets']:,} over several subsets, "
            f"{copies['with_other_numbers']:,} with different numbers"
        )
    pictures, rejected = total["pictures"]["count"], sum(faults.values())
    print(f"{total['entries']:,} entries, {pictures:,} pictures, {rejected:,} rejected in {seconds:.1f} s")
