"""Work spread over spawned processes."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def spawn_map(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Generator[Result, None, None]:
    """Yields the result of `function` for each task, in the order of the tasks.

    The processes start on the first `next`. Closing the generator cancels the tasks that have not started and waits
    for the others, so a caller that may stop early wraps it in `contextlib.closing`. A process ends when the one that
    started it is gone.

    Args:
      function: Function of one task. A process imports it by name, so it is defined at the top level of a module.
      tasks: Picklable arguments of `function`. All of them are submitted at once.
      jobs: Number of worker processes, at least 1. One task or one job runs in this process.

    Raises:
      Exception: What `function` raised for a task; the tasks that have not started are cancelled.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        yield from map(function, tasks)
        return
    # Spawned, not forked: a fork copies the locks of this process's threads (Arrow's, a progress bar's) in whatever
    # state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            with _blocked_interrupts():
                results = pool.map(function, tasks)
            yield from results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Holds back SIGINT while the block runs, and for good in the processes that it starts.

    Ctrl-C reaches every process; only this one answers it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: it would wait for tasks forever, since it holds both pipe ends."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
