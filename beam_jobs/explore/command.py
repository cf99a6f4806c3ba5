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
from beam_jobs.job.given import find_subsets
from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError
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
    with ending_at_once():
        # Beam, whose import takes seconds, comes after the options are checked.
        import jinja2  # noqa: F401  (the last step of the job needs it: without it, fail now)

        from beam_jobs.explore.publish import check_outputs, statistics_path, without_suffix
        from beam_jobs.job.runner import is_of_this_process, parse_beam_options

        options = parse_beam_options(beam_options, "explore")
    start = time.monotonic()
    is_local = is_of_this_process(options)
    with ending_at_once(_AGAIN) if is_local else contextlib.nullcontext():
        check_outputs(job.output)
        subsets = find_subsets(job, config.reading)
        if not any(subset.entries for subset in subsets):
            raise UserError("The annotations must name at least one picture.", ", ".join(s.path for s in subsets))
        run_pipeline(job, config, subsets, options, args.verbose)
    found = json.loads(filesystem.read_bytes(statistics_path(job.output)))
    _print_summary(found, time.monotonic() - start)
    print(f"The page is {job.output}, its figures are in {statistics_path(job.output)}")
    print(f"Next: {_prepare_command(args, f'{without_suffix(job.output)}-records')}")
    return 0


def run_pipeline(
    job: ExploreJob, config: ExploreConfig, subsets: tuple[Subset, ...], options: PipelineOptions, verbose: bool
) -> None:
    """Runs the pipeline, whose last step writes both files, and shows its progress.

    Args:
      job: Input and output.
      config: How the input is read.
      subsets: Subsets to read.
      options: Beam's options.
      verbose: Whether an error keeps its traceback.

    Raises:
      UserError: The input cannot be read, or a file cannot be written.
    """
    import apache_beam as beam

    from beam_jobs.explore.transforms import Explore, Plan, WritePage
    from beam_jobs.job.memory import limit_malloc_arenas
    from beam_jobs.job.package import packaged
    from beam_jobs.job.progress import watch_counts
    from beam_jobs.job.runner import ending_with_workers, is_of_this_process, make_runner, one_line_errors

    limit_malloc_arenas()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "counts") if is_of_this_process(options) else None
        plan = Plan(config, subsets, str(folder) if folder else None)
        entries = sum(subset.entries for subset in subsets)
        with (
            watch_counts(folder, "explore", entries, "entries"),
            one_line_errors(verbose),
            ending_with_workers(_AGAIN),
        ):
            with packaged(options):
                pipeline = beam.Pipeline(runner=make_runner(options), options=options)
                _ = pipeline | "Explore" >> Explore(plan) | "WritePage" >> WritePage(plan, job)
                result = pipeline.run()
            result.wait_until_finish()


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
