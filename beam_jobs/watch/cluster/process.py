"""The job on a cluster, kept running by a process of its own, which imports Beam: the coordinator needs none of it.

The process is `python -m beam_jobs watch-job`. It ends with the coordinator, however that ends, and cancels its job: it
reads its standard input, which the system closes. A signal would not do: one more, after those that a terminal or a
service manager sends to all processes, would end it before its job is cancelled.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from beam_jobs.job.given import warn
from tfrecords.errors import UserError
from tfrecords.files.place import Place

COMMAND = "watch-job"
"""Name of the command that keeps a job running."""
_REFUSED = (1, 2)
"""Exit codes of a command that cannot use its options: it would refuse them again."""
_SECONDS_TO_REFUSE = 60.0
"""Time in which the first process refuses its options, seconds; what ends it later is no refusal."""
_SECONDS_TO_END = 45.0
"""Longest wait for a job that is cancelled: Flink takes up to 30."""
_POLL_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class JobProcess:
    """A process that keeps a job running; it is started again when it is killed."""

    def __init__(self, stream: Place, beam_options: Sequence[str]) -> None:
        """Takes what the process is told.

        Args:
          stream: Stream, at a path or an address that is the same for all workers.
          beam_options: Options of Beam for the job.
        """
        own = ["--stream", str(stream), "--until-eof"]
        self._words = [sys.executable, "-m", "beam_jobs", COMMAND, *own, *beam_options]
        self._ending = threading.Event()
        self._restarting = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._refused: int | None = None
        self._thread = threading.Thread(target=self._keep, name=COMMAND, daemon=True)

    def __enter__(self) -> "JobProcess":
        self._process = self._start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process, which cancels its job."""
        self._ending.set()
        if self._process:
            _tell_to_end(self._process)
        self._thread.join(_SECONDS_TO_END)
        if self._process and self._process.poll() is None:
            warn(f"the process {self._process.pid} of the job does not end: killed, and the job may go on")
            self._process.kill()

    @property
    def pid(self) -> int | None:
        """Id of the process; None where it has ended."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def restart(self) -> None:
        """Ends the process, which cancels its job, and starts it again: for a job that runs and does nothing."""
        if self._process and not self._restarting.is_set():
            self._restarting.set()
            _tell_to_end(self._process)

    def check(self) -> None:
        """Checks that the process could start.

        Raises:
          UserError: It refused its options.
        """
        if self._refused is not None:
            rule = f"The job must start: {COMMAND} says above why it does not."
            raise UserError(rule, f"exit code {self._refused}")

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own, out of reach of the terminal's Ctrl-C.
        return subprocess.Popen(self._words, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603  # our own Python

    def _keep(self) -> None:
        pause, is_first, start = _FIRST_PAUSE_S, True, time.monotonic()
        while self._process is not None:
            code = self._wait(self._process)
            if self._ending.is_set():
                return
            if self._restarting.is_set():
                self._restarting.clear()
            elif code in _REFUSED and is_first and time.monotonic() - start < _SECONDS_TO_REFUSE:
                self._refused = code
                return
            else:
                warn(f"the process of the job has ended (exit code {code}): started again in {pause:g} s")
                if self._ending.wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            is_first = False
            self._process = self._start()
            if self._ending.is_set():  # meanwhile: the process was not there yet to be told
                _tell_to_end(self._process)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Returns the exit code of the process, which is killed if it does not restart in time."""
        told: float | None = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_S)
            if self._restarting.is_set():
                told = told or time.monotonic()
                if time.monotonic() - told > _SECONDS_TO_END:
                    process.kill()


def _tell_to_end(process: subprocess.Popen[bytes]) -> None:
    """Closes the standard input of the process, which ends then."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
