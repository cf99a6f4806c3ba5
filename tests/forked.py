"""Processes forked from one that has imported TensorFlow and Beam: each saves the seconds that these imports take."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tests import quick_disk

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["beam_jobs.prepare.transforms", "beam_jobs.job.runner", "tests.tiny", "tests.preloaded"]
)
_STREAMS = ("output", "errors")
FILE_OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.link")
"""Names of operations on files, as audit hooks get them."""


class Forked:
    """A function that runs in a process of its own; its integer result is the exit code."""

    def __init__(self, work: Callable[..., int], *arguments: Any, **environment: str) -> None:
        """Starts it.

        Args:
            work: Function of a module.
            arguments: Positional arguments of `work`, which can be pickled.
            environment: Environment variables to set, besides those of this process.
        """
        environment = {**os.environ, **environment}
        self._folder = tempfile.TemporaryDirectory()
        self._process = _CONTEXT.Process(target=_run, args=(self._folder.name, environment, work, arguments))
        self._process.start()

    def wait(self, seconds: float = 180) -> tuple[int, str, str]:
        """Returns the exit code, negative for a signal, and what it wrote to standard output and standard error."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
        with self._folder as folder:
            output, errors = ((Path(folder) / name).read_text() for name in _STREAMS)
        assert code is not None, f"still running after {seconds} s:\n{output}{errors}"
        return code, output, errors


def signal_before(
    operation: int, part: str, number: int = signal.SIGKILL, events: Collection[str] = FILE_OPERATIONS
) -> None:
    """Sends this process a signal before its n-th operation on a file whose path has a part; for forked processes.

    Args:
        operation: Number of the operation, from 1.
        part: Part of the path, which is the first argument of the operation.
        number: Signal.
        events: Names of the operations that count.
    """
    left = operation

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in events and part in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(count)


def _run(folder: str, environment: dict[str, str], work: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()  # it has that of the moment when the first process was forked: another test's
    os.environ.update(environment)
    quick_disk.do_not_wait()
    for number, name in enumerate(_STREAMS, 1):
        os.dup2(os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT), number)
    sys.exit(work(*arguments))
