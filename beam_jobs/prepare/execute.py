"""Runs a plan: on the processors of this machine, or with Beam's options on a runner of Beam."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beam_jobs.job.given import warn
from beam_jobs.job.words import runner_name, unused_on_this_machine
from beam_jobs.prepare.plan import Plan
from tfrecords.errors import UserError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

    from beam_jobs.job.submit import Submission
    from beam_jobs.prepare.local import Meanwhile

Metrics = tuple[Mapping[str, int], Mapping[str, Any]]
"""Counters and distributions by name."""
RESUMES = "the same command resumes"
"""What to do after an interruption."""


def parse_beam_options(flags: list[str], command: str, has_workers: bool) -> PipelineOptions | None:
    """Returns Beam's options; None if there are none: then Beam, whose import takes seconds, is not needed.

    Args:
      flags: Options that are not those of the command.
      command: Name of the command, for messages.
      has_workers: Whether --workers was given.

    Raises:
      UserError: Beam does not know an option, or --workers was given too.
    """
    if not flags:
        return None
    from beam_jobs.job import runner

    options = runner.parse_beam_options(flags, command)
    if has_workers:
        rule = (
            "--workers starts processes without Beam; with options of Beam, its runner starts its own: leave out one."
        )
        raise UserError(rule, " ".join(flags))
    if not runner_name(flags) and (unused := unused_on_this_machine(flags)):
        warn(f"without --runner, {', '.join(unused)} changes nothing: --workers starts processes on this machine")
    return options


def is_of_this_process(options: PipelineOptions | None) -> bool:
    """Returns whether the job ends with this process, so that it may be killed at any moment."""
    if options is None:
        return True
    from beam_jobs.job import runner

    return runner.is_of_this_process(options)


def is_of_cluster(options: PipelineOptions | None) -> bool:
    """Returns whether workers may be on other machines."""
    if options is None:
        return False
    from beam_jobs.job import runner

    return runner.is_of_cluster(options)


def execute(
    plan: Plan,
    workers: int | None,
    options: PipelineOptions | None,
    verbose: bool,
    quiet_s: float = 0.0,
    meanwhile: Meanwhile = contextlib.nullcontext,
) -> Metrics:
    """Makes the dataset of a plan, whose output is locked, and returns the metrics.

    Args:
      plan: Plan of the job.
      workers: Number of processes on this machine; None to choose.
      options: Beam's options; None to make it without Beam, on this machine.
      verbose: Whether messages of Beam and of the engine are shown.
      quiet_s: Time after which progress is shown, seconds.
      meanwhile: What this process does while other processes of this machine work.

    Raises:
      UserError: A worker raised one, or the job failed.
    """
    if options is not None:
        return _run_on_beam(plan, options, verbose, quiet_s)
    from beam_jobs.prepare.local import choose_workers, run_on_this_machine

    tally = run_on_this_machine(plan, choose_workers(plan, workers), RESUMES, quiet_s, meanwhile)
    return tally.counters, tally.distributions


def _run_on_beam(plan: Plan, options: PipelineOptions, verbose: bool, quiet_s: float) -> Metrics:
    """Makes the dataset of a plan on a runner of Beam, and returns the metrics.

    Raises:
      UserError: A worker raised one, or the job failed.
    """
    from beam_jobs.job.runner import ending_with_workers, is_of_cluster, leaves_processors_idle, one_line_errors
    from beam_jobs.job.submit import Submission
    from beam_jobs.prepare.monitoring import read_metrics, watch_progress

    submission = Submission(options, RESUMES, verbose)
    counter = submission.counter if is_of_cluster(options) else None
    plan = replace(plan, hashes_in_background=leaves_processors_idle(options))
    with (
        plan.mounts.marked(lambda: submission.is_running),
        watch_progress(plan, counter, quiet_s),
        one_line_errors(verbose),
        ending_with_workers(RESUMES),
    ):
        result = run_pipeline(plan, options, submission)
    return read_metrics(result)


def run_pipeline(plan: Plan, options: PipelineOptions, submission: Submission | None = None) -> PipelineResult:
    """Runs the pipeline of a plan and waits until it has finished."""
    from beam_jobs.job.memory import limit_malloc_arenas
    from beam_jobs.job.package import packaged
    from beam_jobs.job.runner import make_pipeline
    from beam_jobs.job.submit import Submission
    from beam_jobs.prepare.transforms import PublishDataset, ReadAnnotations, WriteShards

    limit_malloc_arenas()
    with packaged(options):
        pipeline = make_pipeline(options)
        (
            pipeline
            | "ReadAnnotations" >> ReadAnnotations(plan)
            | "WriteShards" >> WriteShards(plan)
            | "PublishDataset" >> PublishDataset(plan)
        )
        return (submission or Submission(options, RESUMES)).run(pipeline)
