"""Processes of engines: started with a log of their own, awaited, and ended with all that they started."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_SECONDS_TO_END = 15
_LOG_CHARACTERS = 2000


def _ending_with_us() -> list[str]:
    """Returns the words in front of a command that let the kernel end it if this process is killed."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


class Process:
    """A command that runs in a group of processes of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Starts it.

        Args:
          command: Words of the command.
          log: File for what it prints; it is appended to.
          environment: Variables to set.
        """
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [*_ending_with_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the process, and of its group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 120, poll_s: float = 0.2) -> None:
        """Waits until a condition holds.

        Args:
          ready: Condition; an `OSError` counts as false.
          what: Name of the condition, for the error.
          seconds: Longest time to wait.
          poll_s: Seconds between two looks.

        Raises:
          AssertionError: The process ends before, or the time is over.
        """
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            assert self.is_running, f"ended before {what}:\n{self.tail()}"
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.tail()}"
            time.sleep(poll_s)

    def tail(self) -> str:
        """Returns the end of the log."""
        return self.log.read_text(errors="replace")[-_LOG_CHARACTERS:]

    def send(self, number: int) -> None:
        """Sends a signal to the process alone."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Returns the exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kills the process and all of its group, as the loss of a machine does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(_SECONDS_TO_END)

    def end(self) -> None:
        """Ends the group: politely, then by force."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self.kill()


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Runs a command while the block runs."""
    process = Process(command, log, environment)
    try:
        yield process
    finally:
        process.end()


def free_ports(count: int) -> list[int]:
    """Returns ports of the loopback interface that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port: int) -> bool:
    """Returns whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(url: str) -> bytes:
    """Returns what a server on the loopback interface answers, without any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return bytes(answer.read())


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process has started, and those that these have."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended
                pids.extend(map(int, children.read_text().split()))
    return pids[1:]


def command_line(pid: int) -> str:
    """Returns the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
