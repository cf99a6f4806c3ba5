"""A stream whose shards are made by a job on Prism: arrivals, latency, and kills of all that can be killed."""

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import jobs
from tests.cluster.conftest import ran
from tests.cluster.page import commands
from tests.cluster.processes import Process, descendants
from tests.cluster.streaming import Growing, job_of, takeovers, workers_of

pytestmark = pytest.mark.cluster


def page(prism: Path, stream: str) -> list[str]:
    """Returns the page's command."""
    (words,) = commands("prism-stream", {"/mnt/stream": stream, "~/go/bin/prism": str(prism)})
    return words


def options(prism: Path, boot: Path) -> list[str]:
    """Returns the options of Beam of the page's command, with workers as processes."""
    words = page(prism, "")
    return [*words[words.index("--runner") :], *jobs.process_environment(boot)]


@pytest.fixture
def growing(drawn: Path, tmp_path: Path) -> Growing:
    """An empty stream."""
    return Growing(tmp_path, drawn)


@pytest.mark.slow
def test_batches_that_arrive_are_in_snapshots_within_seconds(prism: Path, boot: Path, growing: Growing) -> None:
    process = growing.start(options(prism, boot))
    try:
        growing.drop()
        growing.wait_for_all(process)
        start = growing.latencies["b000"]
        growing.drop_some(process, 24)
        growing.wait_for_all(process)
        assert takeovers(process) == 0, process.tail()
        process.send(signal.SIGTERM)
        assert process.wait(60) == 130, process.tail()
    finally:
        process.kill()
    ran["Prism, a stream"] = f"first snapshot {start:.1f} s after the start; {growing.summary(1)}"
    growing.check()


def test_a_job_that_somebody_else_keeps_running_serves_a_coordinator(
    prism: Path, growing: Growing, tmp_path: Path
) -> None:
    job = jobs.start(page(prism, str(growing.stream.place)), tmp_path / "job.log")
    coordinator = growing.start([])
    try:
        growing.drop_some(coordinator, 3)
        growing.wait_for_all(coordinator)
        assert takeovers(coordinator) == 0
        job.send(signal.SIGINT)
        assert job.wait(60) == 130, job.tail()
        assert "Traceback" not in job.tail()
    finally:
        coordinator.kill()
        job.kill()
    growing.check()


def _has_worker(process: Process) -> bool:
    return bool(workers_of(process))


@pytest.mark.slow
def test_kills_of_workers_jobs_and_coordinators_lose_no_picture_and_change_no_byte(
    prism: Path, boot: Path, growing: Growing
) -> None:
    process = growing.start(options(prism, boot), takeover_s=8)
    orphans: list[int] = []  # Prism outlives the process that started it, if that is killed
    try:
        growing.drop()
        growing.wait_for_all(process)
        for seed in range(2):
            # A worker: Prism starts no other one, so the coordinator takes over if that one had work.
            growing.wait(process, partial(_has_worker, process), "a worker")
            growing.drop_some(process, 2, seed)
            os.kill(workers_of(process)[0], signal.SIGKILL)
            growing.drop_some(process, 3, seed)
            growing.wait_for_all(process)
            growing.drop_some(process, 3, seed)
            # The process of the job, with Prism itself.
            orphans += descendants(job_of(process))
            os.kill(job_of(process), signal.SIGKILL)
            growing.drop_some(process, 3, seed)
            # The coordinator; its job ends, or serves the next one until it does.
            process.send(signal.SIGKILL)
            process.wait(10)
            growing.drop()
            process = growing.start(options(prism, boot), takeover_s=8)
            growing.drop_some(process, 2, seed)
        growing.wait_for_all(process)
    finally:
        process.kill()
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    ran["Prism, a stream with kills"] = f"{growing.summary()}; takeovers of the last coordinator {takeovers(process)}"
    growing.check()
