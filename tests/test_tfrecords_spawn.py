"""The map over spawned processes."""

import multiprocessing
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from tests.forked import Forked
from tfrecords.errors import UserError
from tfrecords.spawn import spawn_map


def _process_of(task: int) -> tuple[int, int]:
    time.sleep(0.2 if task == 0 else 0)  # the first task ends last
    return task, os.getpid()


def _fail_at_two(task: int) -> int:
    if task == 2:
        raise UserError("A task must not be 2.", task)
    return task


def _leave_a_mark(path: Path) -> Path:
    time.sleep(0.1)
    path.touch()
    return path


def test_results_come_in_the_order_of_the_tasks_from_other_processes() -> None:
    results = list(spawn_map(_process_of, range(8), jobs=2))
    assert [task for task, _ in results] == list(range(8))
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) <= 2


@pytest.mark.parametrize(("tasks", "jobs"), [([3, 4], 1), ([3], 8), ([], 8)])
def test_one_job_or_one_task_starts_no_process(tasks: list[int], jobs: int) -> None:
    assert list(spawn_map(_process_of, tasks, jobs)) == [(task, os.getpid()) for task in tasks]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_task_is_raised_after_the_results_before_it(jobs: int) -> None:
    results = spawn_map(_fail_at_two, range(4), jobs)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(UserError, match=r"A task must not be 2\. Received: 2"):
        next(results)


def test_closing_early_cancels_the_tasks_that_have_not_started_and_ends_the_processes(tmp_path: Path) -> None:
    tasks = [tmp_path / str(index) for index in range(100)]
    with closing(spawn_map(_leave_a_mark, tasks, jobs=2)) as results:
        assert next(results) == tasks[0]
    assert len(list(tmp_path.iterdir())) < len(tasks) / 2
    assert not multiprocessing.active_children()


def _wait_long(task: int) -> int:
    time.sleep(60)
    return task


def _spawn_and_be_killed() -> int:
    """Kills itself as soon as its worker processes have started."""
    with closing(spawn_map(_wait_long, range(4), jobs=2)) as results:
        Thread(target=_kill_when_there_are_workers, daemon=True).start()
        next(results)
    return 0


def _kill_when_there_are_workers() -> None:
    while len(children := multiprocessing.active_children()) < 2:
        time.sleep(0.05)
    print(*(child.pid for child in children), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux lists processes in /proc")
def test_processes_end_when_the_one_that_started_them_is_killed() -> None:
    code, output, _ = Forked(_spawn_and_be_killed).wait()
    assert code == -signal.SIGKILL
    processes, deadline = output.split(), time.monotonic() + 30
    assert len(processes) == 2
    # A zombie that nobody waits for has an empty command line.
    while any((path := Path("/proc", each, "cmdline")).exists() and path.read_bytes() for each in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _interrupts_are_blocked(task: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_processes_leave_ctrl_c_to_the_one_that_started_them() -> None:
    assert all(spawn_map(_interrupts_are_blocked, range(2), jobs=2))
    assert not _interrupts_are_blocked(0)
