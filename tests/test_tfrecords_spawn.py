"""The map over spawned processes."""

import multiprocessing
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

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
