"""SIGINT (Ctrl-C) and SIGTERM: one line on standard error and exit code 130 or 143, whatever a command is doing."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ENDING = threading.RLock()
"""Held by the thread that ends the process: its exit code is not for another thread to change."""
_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; code that is interrupted cleans up.

    Attributes:
      number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        """Takes the number of the signal."""
        super().__init__()
        self.number = number


def describe(error: KeyboardInterrupt) -> tuple[str, int]:
    """Returns the line to print for an interrupt, and the exit code: 128 plus the signal's number, as shells do."""
    number = error.number if isinstance(error, Interrupted) else signal.SIGINT
    return _line(number, " ".join(map(str, error.args))), 128 + number


@contextlib.contextmanager
def interruptible(numbers: Collection[int] = SIGNALS) -> Iterator[None]:
    """Raises `Interrupted` at the first of these signals while the block runs; the second one ends the process."""
    received: list[int] = []
    with _standard_error() as stream, _handling(numbers, lambda number: handle(number)):

        def handle(number: int) -> None:
            received.append(number)
            if len(received) > 1:
                _end(number, stream)
            raise Interrupted(number)

        yield


@contextlib.contextmanager
def ending_at_once(hint: str = "") -> Iterator[None]:
    """Ends the process and its children at a signal while the block runs, without any cleaning up.

    For blocks that leave nothing to clean up: imports, and jobs that may be killed at any moment. An exception would be
    swallowed, or printed with its traceback, by libraries that were not written for it.

    Args:
      hint: Text after the line about the signal.
    """
    with _standard_error() as stream, _handling(SIGNALS, lambda number: _end(number, stream, hint)):
        yield


def end_process(line: str, code: int) -> None:
    """Ends the process and its children at once, from any thread, after a line on standard error."""
    with _standard_error() as stream:
        _end_with(line, code, stream)


def keep_exit_code(command: Callable[[], int]) -> int:
    """Returns the exit code of a command; from then on a signal ends the process with this code, at once.

    Python takes a while to leave when Beam is imported. The work is done then, and a traceback would deny it.

    Args:
      command: Function that runs the command of the process, the last thing that it does.
    """
    taken = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in taken:
        # What is registered first is called last: afterwards Python would reset the signal to its default, which kills.
        atexit.register(signal.signal, number, signal.SIG_IGN)
    code = command()
    for number in taken:
        signal.signal(number, lambda number, frame: os._exit(code))
    return code


@contextlib.contextmanager
def _handling(numbers: Collection[int], handle: Callable[[int], None]) -> Iterator[None]:
    """Calls `handle` at these signals, but for those that are ignored, as under nohup; only the main thread can."""
    process = os.getpid()

    def call(number: int, frame: FrameType | None) -> None:
        # A process that was forked meanwhile has the handler too, but none of what it acts on.
        if os.getpid() == process:
            handle(number)
        else:
            os._exit(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: found for number in numbers if (found := signal.getsignal(number)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, call)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _standard_error() -> Iterator[int]:
    """Yields a copy of the descriptor of standard error, which TensorFlow's start redirects for a while."""
    copy = -1
    # It may have been closed, as by `2>&-`.
    with contextlib.suppress(OSError):
        copy = os.dup(2)
    try:
        yield copy
    finally:
        if copy >= 0:
            os.close(copy)


def _line(number: int, hint: str) -> str:
    return f"stopped: {_NAMES[signal.Signals(number)]}{'; ' if hint else ''}{hint}"


def _end(number: int, stream: int, hint: str = "") -> None:
    """Prints the line about a signal, kills the child processes and ends this one."""
    _end_with(_line(number, hint), 128 + number, stream)


def _end_with(line: str, code: int, stream: int) -> None:
    _ENDING.acquire()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    # After a progress bar, which leaves the cursor in its line.
    start = "\n" if os.isatty(stream) else ""
    with contextlib.suppress(OSError):
        os.write(stream, f"{start}{line}\n".encode())
        # What other threads have to say about the death of the children is not of interest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for child in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    os._exit(code)


def _descendants(process: int) -> list[int]:
    """Returns the ids of all processes below one, the deepest first; none where there is no Linux to ask."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [*_descendants(child), child]
    return found
