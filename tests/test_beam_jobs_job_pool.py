"""Worker processes without Beam: results, errors, kills, and nothing left."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.job import pool as module
from beam_jobs.job.pool import worker_pool
from tests.forked import Forked
from tfrecords.errors import UserError

ROOT = Path(__file__).parents[1]
ADVICE = "the same command resumes"


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail_at_two(number: int) -> int:
    if number == 2:
        raise UserError("The number must not be 2.", number)
    time.sleep(0 if number < 2 else 60)
    return number


class Odd(Exception):
    """An error that cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


def fail_oddly(number: int) -> int:
    raise Odd(number, number)


def kill_itself(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait(seconds: int) -> int:
    # In one write: those of two processes would mix where PYTHONUNBUFFERED makes `print` write the end of line alone.
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(seconds)
    return seconds


def _in_processes(method: str) -> int:
    """Checks the results of two processes, in a process without Beam's threads."""
    assert module._may_fork() == (method == "fork")
    with worker_pool(2, ADVICE) as pool:
        results = dict(pool.run(square, range(8)))
        again = dict(pool.run(square, [9]))
    assert sorted(results) == [number * number for number in range(8)] and list(again) == [81]
    assert os.getpid() not in {*results.values(), *again.values()}
    assert not multiprocessing.active_children()
    return 0


def _forked() -> int:
    sys.modules.pop("grpc", None)  # this process was forked from one that has imported Beam, and uses none of it
    return _in_processes("fork")


def soften(side: int) -> tuple[int, ...]:
    import cv2

    return tuple(cv2.GaussianBlur(np.zeros((side, side, 3), np.uint8), (0, 0), 3).shape)


_AFTER_OPENCV = """
import time
import cv2
from beam_jobs.job.pool import worker_pool
from tests.test_beam_jobs_job_pool import soften
soften(3000)
time.sleep(0.5)  # until its threads no longer spin, but wait
before = cv2.getNumThreads()
with worker_pool(2, "") as pool:
    assert set(pool.run(soften, [60, 70])) == {(60, 60, 3), (70, 70, 3)}
assert cv2.getNumThreads() == before
"""


def test_processes_do_not_wait_for_threads_that_opencv_had_before_the_fork() -> None:
    subprocess.run([sys.executable, "-c", _AFTER_OPENCV], check=True, timeout=60, cwd=ROOT)


def test_processes_are_forked_where_no_other_thread_is_and_give_every_result() -> None:
    assert Forked(_forked).wait() == (0, "", "")


def _spawned() -> int:
    finished = threading.Event()
    thread = threading.Thread(target=finished.wait)
    thread.start()
    try:
        return _in_processes("spawn")
    finally:
        finished.set()


@pytest.mark.slow
def test_processes_are_spawned_where_another_thread_is() -> None:
    assert Forked(_spawned).wait() == (0, "", "")


def test_one_worker_is_this_process_and_keeps_the_order() -> None:
    with worker_pool(1, ADVICE) as pool:
        assert list(pool.run(square, [3, 1, 2])) == [(9, os.getpid()), (1, os.getpid()), (4, os.getpid())]


def _fail() -> int:
    sys.modules.pop("grpc", None)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"The number must not be 2\. Received: 2"), worker_pool(2, ADVICE) as pool:
        list(pool.run(fail_at_two, [1, 3, 2]))
    assert not multiprocessing.active_children()
    return int(time.monotonic() - start > 30)


def test_an_error_of_a_task_is_raised_here_and_ends_the_others_at_once() -> None:
    assert Forked(_fail).wait() == (0, "", "")


def _lose_one() -> int:
    sys.modules.pop("grpc", None)
    rule = "A worker process must not end before its work: it may have used more memory than there is; the same command"
    with pytest.raises(UserError, match=rule), worker_pool(2, ADVICE) as pool:
        list(pool.run(kill_itself, range(4)))
    assert not multiprocessing.active_children()
    return 0


def test_a_process_that_is_killed_is_an_error_of_one_line() -> None:
    assert Forked(_lose_one).wait() == (0, "", "")


def _fail_oddly() -> int:
    sys.modules.pop("grpc", None)
    with pytest.raises(BrokenProcessPool) as caught, worker_pool(2, ADVICE) as pool:
        list(pool.run(fail_oddly, range(4)))
    return int("Odd.__init__()" not in str(caught.value.__cause__))


def test_an_error_that_cannot_be_sent_is_not_taken_for_a_killed_process() -> None:
    assert Forked(_fail_oddly).wait() == (0, "", "")


def test_processes_ignore_the_signals_of_a_terminal_and_end_when_their_launcher_is_killed() -> None:
    code = """
from beam_jobs.job.pool import worker_pool
from tests.test_beam_jobs_job_pool import wait
with worker_pool(2, "") as pool:
    list(pool.run(wait, [60, 60]))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        workers = [int(process.stdout.readline()) for _ in range(2)]
        for worker in workers:
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(worker, number)
        time.sleep(0.3)
        for worker in workers:
            os.kill(worker, 0)  # raises an error if it is gone
        process.kill()
        # The workers hold the other end until they end.
        assert process.stdout.read() == ""
