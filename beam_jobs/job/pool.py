"""Worker processes of this machine, without Beam: tasks in any order, and nothing left when the launcher ends."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from beam_jobs.job.memory import release_memory
from beam_jobs.job.worker import end_with
from tfrecords.errors import UserError
from tfrecords.interrupts import SIGNALS

Task = TypeVar("Task")
Result = TypeVar("Result")
Run = Callable[[Callable[[Task], Result], Sequence[Task]], Iterator[Result]]
"""Function that yields the result of a function for each task, as they are done."""


@contextlib.contextmanager
def worker_pool(workers: int, advice: str) -> Iterator["Pool"]:
    """Starts processes, which end with the block, at once where it raises, and with this process, however it ends.

    Args:
      workers: Number of processes; with 1 the tasks run in this one.
      advice: What to do if a process is killed, as `the same command resumes`.

    Raises:
      UserError: A process was killed.
    """
    if workers == 1:
        release_memory()
        yield Pool()
        return
    others = set(multiprocessing.active_children())
    executor = _start(workers)
    try:
        yield Pool(executor)
        executor.shutdown()
    except BaseException as error:
        # Not with `terminate`: the processes ignore signals that a terminal sends. Before the shutdown, which waits.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        executor.shutdown(cancel_futures=True)
        # It has a cause if a result could not be unpickled, which is a bug.
        if isinstance(error, BrokenProcessPool) and not error.__cause__:
            reason = f"it may have used more memory than there is; {advice}."
            raise UserError(f"A worker process must not end before its work: {reason}") from error
        raise


class Pool:
    """Processes that run tasks; or this process, one task after the other."""

    def __init__(self, executor: ProcessPoolExecutor | None = None) -> None:
        """Takes the processes; None for this process."""
        self._executor = executor

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yields the result of a function for each task, as they are done; tasks begin in their order.

        Args:
          function: Function of one task, at the top level of a module.
          tasks: Arguments that can be pickled.

        Raises:
          Exception: What the function raised for a task.
        """
        if not self._executor:
            yield from map(function, tasks)
            return
        futures: list[Future[Result]] = [self._executor.submit(function, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()


def _start(workers: int) -> ProcessPoolExecutor:
    """Returns a pool whose processes have started."""
    method = "fork" if _may_fork() else "spawn"
    # What is in use now is shared with forked processes until somebody writes there, as the garbage collector would.
    release_memory()
    context = multiprocessing.get_context(method)
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
    with warnings.catch_warnings(), _without_threads_of_opencv():
        # Python 3.12 and later count the threads of libraries too: OpenBLAS and Arrow have theirs start again.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        # Held back here while the processes start, and for good in them: Ctrl-C in a terminal reaches the workers too,
        # but only the launcher answers it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            # The first task starts the processes: now, before a progress bar starts its thread.
            executor.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return executor


@contextlib.contextmanager
def _without_threads_of_opencv() -> Iterator[None]:
    """Ends OpenCV's threads, if it has any, for as long as the block takes: a forked process would wait for them."""
    cv2 = sys.modules.get("cv2")
    if cv2 is None:
        yield
        return
    count = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(count)


def _may_fork() -> bool:
    """Returns whether a fork is safe: this process has no other thread of Python, whose locks a fork would copy.

    A store has been connected through one. macOS's own libraries do not survive a fork.
    """
    return sys.platform == "linux" and threading.active_count() == 1 and "grpc" not in sys.modules


def _begin(launcher: int) -> None:
    """Prepares a worker process."""
    threading.Thread(target=end_with, args=(launcher,), daemon=True).start()
    import cv2

    # As many processes as processors: threads of their own would only slow each other down.
    cv2.setNumThreads(1)
