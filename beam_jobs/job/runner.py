"""Beam's runners: their options, checked before anything is written, and their errors, in one line."""

import argparse
import contextlib
import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.portability.abstract_job_service import AbstractJobServiceServicer
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_jobs.job import worker
from beam_jobs.job.job_server import EMBEDDED, described, options_of, unknown_to
from tfrecords.errors import UserError
from tfrecords.interrupts import end_process

# Named in full: Beam's DirectRunner first tries another runner, which it would have to download.
_DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"

_NO_FREEZE = "disable_logging_submission_environment"
"""Beam's experiment that sends no list of this environment's packages with a job."""
_WATCHER = "run_worker"
"""Name of Beam's thread (2.77) that starts a worker process, and raises an error if its exit code is not 0."""


@contextlib.contextmanager
def one_line_errors(verbose: bool) -> Iterator[None]:
    """Raises a worker's `UserError` again as a `UserError` of one line; bugs keep their tracebacks.

    Args:
      verbose: Whether Beam's own log messages are shown too.

    Raises:
      UserError: A worker raised one while the block ran.
    """
    log = logging.getLogger("apache_beam")
    level = log.level
    if not verbose:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:
        # Runners append the step to a worker's error, or pass on only the text of its traceback.
        start = "^" if isinstance(error, UserError) else r"tfrecords\.errors\.UserError: "
        message = re.search(start + r"(.*?)(?: \[while running|\n|$)", str(error))
        if not message:
            raise
        raise UserError(message[1]) from error
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def ending_with_workers(advice: str) -> Iterator[None]:
    """Ends the process with one line if a worker process is killed while the block runs.

    Beam's local runner would wait for ever for the worker's answer. All that it does is an error in the thread that
    watches the worker.

    Args:
      advice: What to do then, as `the same command resumes`.
    """
    before = threading.excepthook

    def end(error: threading.ExceptHookArgs) -> None:
        if error.thread is None or error.thread.name != _WATCHER:
            before(error)
            return
        reason = f"it may have used more memory than there is; {advice}."
        end_process(f"error: A worker process must not end before its work: {reason} Received: {error.exc_value}", 1)

    threading.excepthook = end
    try:
        yield
    finally:
        # A submission that was interrupted leaves a hook that silences Beam's threads until the process has ended.
        if threading.excepthook is end:
            threading.excepthook = before


def parse_beam_options(flags: list[str], command: str) -> PipelineOptions:
    """Returns Beam's options; the default runner needs no service and no download.

    Args:
      flags: Command-line options that are not those of the command.
      command: Name of the command, for messages.

    Raises:
      UserError: Beam does not know an option, which it would silently ignore, or a value, or Prism is not there.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()) as usage:
            options = PipelineOptions(flags)
            standard = options.view_as(StandardOptions)
            standard.runner = standard.runner or _DEFAULT_RUNNER
            create_runner(standard.runner)
            unknown = _unknown(options, flags)
    except SystemExit as error:
        raise UserError(f"Beam rejects an option: {usage.getvalue().strip().splitlines()[-1]}.", flags) from error
    except (ValueError, ImportError, AttributeError) as error:
        rule = "--runner must be a runner of Beam, and the extra that it needs must be installed."
        raise UserError(rule, standard.runner) from error
    if unknown := _of_nobody(options, unknown):
        raise UserError(f"{command} takes its own options (see --help) and Beam's; one of these is neither.", unknown)
    prism = options.view_as(PrismRunnerOptions).prism_location
    # Beam (2.77) speaks of a URL that cannot be parsed.
    if prism and "://" not in prism and not Path(prism).is_file():
        raise UserError("--prism_location must be Prism's executable, or an address of it.", prism)
    _check_together(options)
    return options


def _check_together(options: PipelineOptions) -> None:
    """Checks that the options that a runner needs are there, before anything is read.

    Raises:
      UserError: One is missing, or has a value that the runner does not take.
    """
    runner = create_runner(options.view_as(StandardOptions).runner)
    if type(runner) is PortableRunner and not options.view_as(PortableOptions).job_endpoint:
        rule = "--runner PortableRunner needs --job_endpoint, as localhost:8099; FlinkRunner starts its own."
        raise UserError(rule, "no address")
    # Dataflow's are checked by requests, one of which makes a bucket: not before the job, and not in a dry run.
    if "dataflow" not in type(runner).__name__.lower():
        _refuse(PipelineOptionsValidator(options, runner).validate(), options)


def _refuse(errors: list[str], options: PipelineOptions) -> None:
    """Raises a `UserError` of Beam's lines about options that miss something, if there are any."""
    if errors:
        lines = " ".join(" ".join(errors).split())
        # Not the options: an environment's may hold a secret.
        raise UserError(f"Beam rejects the options: {lines}", f"--runner {runner_title(options)}")


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Returns an empty pipeline for the runner of the options.

    Raises:
      UserError: An option that the runner needs is missing.
    """
    runner = make_runner(options)
    try:
        return beam.Pipeline(runner=runner, options=options)
    except ValueError as error:
        _refuse(str(error).splitlines()[1:], options)
        raise


def is_of_cluster(options: PipelineOptions) -> bool:
    """Returns whether workers may be on other machines: the runner gives the job to a job server or a service."""
    runner = create_runner(options.view_as(StandardOptions).runner)
    return isinstance(runner, PortableRunner) or "dataflow" in type(runner).__name__.lower()


def is_of_this_process(options: PipelineOptions) -> bool:
    """Returns whether the runner ends with this process, so that the job may be killed at any moment."""
    return isinstance(create_runner(options.view_as(StandardOptions).runner), FnApiRunner)


def runner_title(options: PipelineOptions) -> str:
    """Returns the name of the runner, with the address that it is given."""
    name = type(create_runner(options.view_as(StandardOptions).runner)).__name__
    flink, spark = (
        options.view_as(FlinkRunnerOptions).flink_master,
        options.view_as(SparkRunnerOptions).spark_master_url,
    )
    address = options.view_as(PortableOptions).job_endpoint or {"FlinkRunner": flink, "SparkRunner": spark}.get(name)
    return f"{name} at {address}" if address else name


def make_runner(options: PipelineOptions) -> PipelineRunner:
    """Returns the runner of the options; worker processes of a local runner end when this process does."""
    direct = options.view_as(DirectOptions)
    if is_of_this_process(options) and direct.direct_running_mode == "multi_processing":
        # The mode would replace the environment. The runner reads nothing else from it.
        direct.direct_running_mode = "in_memory"
        return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(worker.command()))
    runner = create_runner(options.view_as(StandardOptions).runner)
    if isinstance(runner, PortableRunner):
        # It would run `pip freeze`, 3.4 s, and send a list that nobody reads: the manifest has the versions.
        options.view_as(DebugOptions).add_experiment(_NO_FREEZE)
    if _starts_job_server(options, runner):
        _check_options(runner, options)
    return runner


def leaves_processors_idle(options: PipelineOptions) -> bool:
    """Returns whether a single worker in this process does all the work, and the machine has more processors."""
    single = options.view_as(DirectOptions).direct_num_workers == 1
    return options.view_as(StandardOptions).runner == _DEFAULT_RUNNER and single and (os.cpu_count() or 1) > 1


def _of_nobody(options: PipelineOptions, words: list[str]) -> list[str]:
    """Returns those of the words that Beam does not know that a job server, which has options of its own, cannot know.

    Raises:
      UserError: No job server answers at `--job_endpoint`.
    """
    runner = create_runner(options.view_as(StandardOptions).runner)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if isinstance(runner, PortableRunner) and endpoint and endpoint != EMBEDDED:
        return unknown_to(options_of(endpoint), words)
    if _starts_job_server(options, runner):
        # Once it has started, `_check_options` asks it.
        names = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
        return unknown_to(names, words)
    return words


def _starts_job_server(options: PipelineOptions, runner: PipelineRunner) -> bool:
    """Returns whether a runner starts a job server that has options of its own, as Flink's and Spark's have."""
    is_portable = isinstance(runner, PortableRunner) and not isinstance(runner, PrismRunner)
    return is_portable and not options.view_as(PortableOptions).job_endpoint


def _check_options(runner: Any, options: PipelineOptions) -> None:
    """Makes a runner refuse options that neither Beam nor the job server that it starts knows."""
    # Beam (2.77) has the words that it was made of in a private attribute.
    unknown = _unknown(options, list(options._flags or ()))
    create = runner.create_job_service_handle

    def create_checked(service: Any, options: PipelineOptions) -> Any:
        # What is sent as a JAR is checked by nobody before it runs.
        is_sent = isinstance(service, AbstractJobServiceServicer)
        if nobodys := [] if is_sent else unknown_to(described(service), unknown):
            raise UserError("Neither Beam nor the job server knows one of these options.", nobodys)
        return create(service, options)

    runner.create_job_service_handle = create_checked


def _unknown(options: PipelineOptions, flags: list[str]) -> list[str]:
    """Returns the flags that no options of Beam define."""
    unknown: list[str] = []

    def collect(parser: argparse.ArgumentParser) -> None:
        unknown.extend(parser.parse_known_args(flags)[1])

    # Retained, or Beam would log a warning of its own.
    options.get_all_options(add_extra_args_fn=collect, retain_unknown_options=True)
    return unknown
