"""python -m beam_jobs watch-job: keeps the job running that makes a stream's shards on a cluster."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from beam_jobs import filesystem
from beam_jobs.job.given import warn
from beam_jobs.job.words import refuse_local_on_dataflow, runner_name
from tfrecords.dataset.snapshots import is_stream
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.interrupts import ending_at_once, interruptible

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.job.submit import Submission

EPILOG = """\
examples:
  next to `python -m beam_jobs watch --cluster`, which commits what this makes:
    python -m beam_jobs watch-job --stream stream --runner PrismRunner \\
      --prism_location ~/go/bin/prism
  on Flink, through Beam's job server:
    python -m beam_jobs watch-job --stream /mnt/stream --runner PortableRunner \\
      --job_endpoint HOST:8099 --parallelism 2

The job runs until this command is stopped, and is submitted again when it
ends. It keeps no state: killed, doubled or late, it changes no byte of the
stream. `watch --cluster` with options of Beam runs this command by itself.
"""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STANDARD_INPUT = 0
"""Descriptor of the standard input."""
_STEADY_S = 300.0
"""Time after which a job that ends was a good one, seconds: the next is submitted soon."""
_STOPPED = "the job keeps no state: start it again at will"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `watch-job`."""
    help = "stream of `watch`, at a path that is the same for all workers, or at an address, as s3://"
    parser.add_argument("--stream", type=place, required=True, metavar="DIR", help=help)
    parser.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Keeps the job running until the process is stopped.

    Args:
      args: Parsed options.
      beam_options: Options that the parser does not know: Beam's.

    Raises:
      UserError: An option cannot be used.
    """
    stream: Place = args.stream
    filesystem.refuse_store_options(beam_options)
    if not runner_name(beam_options):
        raise UserError("The job needs a runner with workers of its own: give --runner.", "no --runner")
    refuse_local_on_dataflow(beam_options, {"--stream": str(stream)})
    if not stream.is_remote:
        stream = Place(stream.path.absolute())
    current: list[Submission] = []
    if args.until_eof:
        threading.Thread(target=_end_at_eof, args=(current,), daemon=True).start()
    with ending_at_once():
        _options(beam_options)
    if not is_stream(stream):
        print(f"note: {stream} is no stream yet: the job waits until `watch` has made one of it")
    with interruptible():
        _keep_running(stream, beam_options, args.verbose, current)
    return 0


def _keep_running(stream: Place, beam_options: list[str], verbose: bool, current: list[Submission]) -> None:
    """Submits the job, again and again; `current` has the last submission."""
    pause = _FIRST_PAUSE_S
    while True:
        start = time.monotonic()
        try:
            _run_once(stream, _options(beam_options), verbose, current)
            reason = "it ended by itself"
        except UserError as error:
            reason = str(error)
        if time.monotonic() - start > _STEADY_S:
            pause = _FIRST_PAUSE_S
        warn(f"the job has ended, and is submitted again in {pause:g} s: {reason}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _options(words: list[str]) -> PipelineOptions:
    """Returns the options of a job; each has its own, since runners change them.

    Raises:
      UserError: Beam does not know an option, or the runner has no workers that outlast a generation.
    """
    from apache_beam.options.pipeline_options import StandardOptions

    from beam_jobs.job.runner import is_of_cluster, parse_beam_options, runner_title

    options = parse_beam_options(words, "watch-job")
    if not is_of_cluster(options):
        rule = "The job needs a runner with workers of its own, as PrismRunner, PortableRunner or FlinkRunner."
        raise UserError(rule, f"--runner {runner_title(options)}")
    options.view_as(StandardOptions).streaming = True
    return options


def _run_once(stream: Place, options: PipelineOptions, verbose: bool, current: list[Submission]) -> None:
    """Runs the job until it ends.

    Raises:
      UserError: It cannot be submitted, or it failed.
      Interrupted: The process was stopped, and the job is cancelled.
    """
    from beam_jobs.job.memory import limit_malloc_arenas
    from beam_jobs.job.package import packaged
    from beam_jobs.job.runner import make_pipeline
    from beam_jobs.job.submit import Submission
    from beam_jobs.watch.cluster.job import build

    limit_malloc_arenas()
    with packaged(options):
        pipeline = make_pipeline(options)
        build(pipeline, stream)
        current[:] = [Submission(options, _STOPPED, verbose)]
        current[0].run(pipeline)


def _end_at_eof(current: list[Submission]) -> None:
    """Waits until the process that started this one has closed its standard input, and stops this one."""
    # Not through sys.stdin, whose lock Python needs to leave.
    while os.read(_STANDARD_INPUT, 1):
        pass
    # A second signal would end the process before the job is cancelled.
    if not any(submission.is_cancelling for submission in current):
        os.kill(os.getpid(), signal.SIGTERM)
