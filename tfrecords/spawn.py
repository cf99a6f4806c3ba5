"""Work spread over spawned processes."""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def spawn_map(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Generator[Result, None, None]:
    """Yields the result of `function` for each task, in the order of the tasks.

    The processes start on the first `next`. Closing the generator cancels the tasks that have not started and waits
    for the others, so a caller that may stop early wraps it in `contextlib.closing`.

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
    # state they are. Ctrl-C reaches every process; only this one answers it.
    context = multiprocessing.get_context("spawn")
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=signal.signal, initargs=ignore) as pool:
        try:
            yield from pool.map(function, tasks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
