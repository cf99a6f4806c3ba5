"""Runs a pipeline on any runner: gives it to a cluster, follows it, and cancels it when the launcher is stopped."""

import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, TextIO, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PipelineResult as PortableResult
from apache_beam.runners.runner import PipelineResult

from beam_jobs.job.engine_errors import cause, our_error
from beam_jobs.job.faults import unseen
from beam_jobs.job.runner import is_of_this_process, runner_title
from beam_jobs.job.submitted import EngineError, OtherJob, PortableJob, Submitted
from tfrecords.errors import UserError
from tfrecords.interrupts import interruptible
from tfrecords.progress import print_line

_BEAM = "apache_beam"
"""Folder in the paths of Beam's files."""


class Submission:
    """One run of a pipeline, which reports its counters meanwhile.

    Attributes:
      is_running: Whether a job was given to a cluster and is not known to have ended.
      is_cancelling: Whether the launcher was stopped, and the job is cancelled.
    """

    def __init__(self, options: PipelineOptions, advice: str, verbose: bool = False) -> None:
        """Takes how the pipeline is run.

        Args:
          options: Beam's options.
          advice: What to do after an interruption, as `the same command resumes`.
          verbose: Whether messages of Beam and of the engine are shown.
        """
        self._options, self._advice, self._verbose = options, advice, verbose
        # Before a runner takes its name out of the options.
        self._runner = runner_title(options)
        self._job: Submitted | None = None
        self.is_running = self.is_cancelling = False

    def run(self, pipeline: beam.Pipeline) -> PipelineResult:
        """Runs a pipeline until it has finished, and returns its result.

        Raises:
          UserError: The job cannot be submitted, or it failed on its cluster.
          Interrupted: The launcher was stopped; the job was cancelled, or the text says how.
        """
        if is_of_this_process(self._options):
            result = pipeline.run()
            result.wait_until_finish()
            return result
        # With handlers of our own, since a job server that Beam starts replaces the one for Ctrl-C.
        with _one_line(), _quiet(self._verbose):
            result = pipeline.run()
            with interruptible():
                self._job = _submitted(result, self._options, self._runner)
                print_line(f"job: {self._job.title}", sys.stdout)
                self._follow(self._job)
        if faults := unseen(result):
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UserError(f"{faults[0]}{more}")
        return result

    def counter(self, namespace: str, name: str) -> int:
        """Returns a counter of the job while it runs; 0 before, on local runners and where it is not reported."""
        return self._job.counter(namespace, name) if self._job else 0

    def _follow(self, job: Submitted) -> None:
        """Waits for a job, which ends with the launcher.

        Raises:
          KeyboardInterrupt: The launcher was stopped.
        """
        self.is_running = True
        try:
            job.wait()
            self.is_running = False
        except EngineError:
            self.is_running = False
            raise
        except KeyboardInterrupt as interrupt:
            self.is_cancelling = True
            self.is_running = not job.cancel()
            if not self.is_running:
                interrupt.args = (f"the job was cancelled; {self._advice}",)
            else:
                interrupt.args = (f"the job goes on as {job.title}: {job.advice}",)
            raise


def _submitted(result: Any, options: PipelineOptions, runner: str) -> Submitted:
    """Returns the job that a runner made."""
    kind = PortableJob if isinstance(result, PortableResult) else OtherJob
    return kind(result, options, runner)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Raises each error of a cluster, its job server and its client as a `UserError` of one line.

    Raises:
      UserError: There was one while the block ran.
    """
    try:
        yield
    except UserError:
        raise
    except EngineError as error:
        raise UserError(cause(str(error))) from error
    except Exception as error:
        text = str(error) or type(error).__name__
        message = our_error(text) or f"The job cannot be submitted: {cause(text)} (--verbose shows more)"
        raise UserError(message) from error


class _WithoutBeam:
    """Standard error without what Beam prints: a worker in this process prints the traceback of each error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text, unless Beam wrote it."""
        return len(text) if _BEAM in sys._getframe(1).f_code.co_filename else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Silences Beam while the block runs, unless `verbose`: its logs, what it prints, and errors of its threads.

    Job servers that it starts log here, and so do workers in this process, whose threads all fail when a job is
    cancelled. What matters of that is the error that the job ends with. If the block is interrupted, all stays silent:
    the process ends, and some threads a little later.
    """
    if verbose:
        yield
        return
    disabled, hook, stream = logging.root.manager.disable, threading.excepthook, sys.stderr

    def ignore_beam(error: threading.ExceptHookArgs) -> None:
        if not any(_BEAM in frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.exc_traceback)):
            hook(error)

    logging.disable(logging.ERROR)
    # It warns of each job server that ends with the process.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)
    threading.excepthook, sys.stderr = ignore_beam, cast(TextIO, _WithoutBeam(stream))
    is_over = False
    try:
        yield
    except KeyboardInterrupt:
        is_over = True
        raise
    finally:
        if not is_over:
            logging.disable(disabled)
            threading.excepthook, sys.stderr = hook, stream
