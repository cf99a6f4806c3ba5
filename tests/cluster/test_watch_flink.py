"""A stream whose shards are made by a job on Flink with two TaskManagers: arrivals, latency, kills, cancelled jobs."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.conftest import ran
from tests.cluster.flink import Flink
from tests.cluster.page import commands
from tests.cluster.processes import command_line, descendants
from tests.cluster.streaming import Growing, takeovers

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def options(cluster: Flink, boot: Path) -> list[str]:
    """Returns the options of Beam of the page's command."""
    places = {"/opt/streetdigits-boot": str(boot), "localhost:8099": f"127.0.0.1:{cluster.job_port}"}
    (words,) = commands("flink-stream", places)
    return words[words.index("--runner") :]


@pytest.fixture
def growing(drawn: Path, tmp_path: Path) -> Growing:
    """An empty stream."""
    return Growing(tmp_path, drawn)


def running(cluster: Flink) -> list[str]:
    """Returns the jobs that run."""
    return [job for job, state in cluster.jobs().items() if state == "RUNNING"]


def _all_work(cluster: Flink, job: str) -> bool:
    worked = cluster.worked(job)
    return set(worked) == set(cluster.managers) and all(worked.values())


def test_batches_that_arrive_are_in_snapshots_within_seconds_and_the_job_ends_with_the_coordinator(
    cluster: Flink, boot: Path, growing: Growing
) -> None:
    process = growing.start(options(cluster, boot))
    try:
        growing.drop()
        growing.wait_for_all(process)
        start = growing.latencies["b000"]
        growing.drop_some(process, 24)
        growing.wait_for_all(process)
        assert takeovers(process) == 0, process.tail()
        (job,) = running(cluster)
        # Flink's counts are some seconds old.
        growing.wait(process, partial(_all_work, cluster, job), "work of both TaskManagers", 40)
        process.send(signal.SIGTERM)
        assert process.wait(60) == 130, process.tail()
        assert cluster.jobs()[job] == "CANCELED"
    finally:
        process.kill()
    ran["Flink, a stream"] = f"first snapshot {start:.1f} s after the start; {growing.summary(1)}"
    growing.check()


def workers_on(cluster: Flink) -> list[int]:
    """Returns the workers of all TaskManagers."""
    managers = cluster.managers.values()
    found = [pid for manager in managers for pid in descendants(manager.pid)]
    return [pid for pid in found if "beam_jobs.job.boot" in command_line(pid)]


def test_kills_and_cancelled_jobs_lose_no_picture_and_change_no_byte(
    cluster: Flink, boot: Path, growing: Growing
) -> None:
    words = options(cluster, boot)
    process = growing.start(words, takeover_s=60)
    try:
        growing.drop()
        growing.wait_for_all(process)
        os.kill(workers_on(cluster)[0], signal.SIGKILL)
        growing.drop_some(process, 5)
        growing.wait_for_all(process)
        name = next(iter(cluster.managers))
        cluster.stop_manager(name)
        growing.drop_some(process, 3)
        cluster.start_manager(f"{name}-new")
        growing.drop_some(process, 3)
        growing.wait_for_all(process)
        # Cancelled on Flink's page, the job is submitted again.
        (job,) = running(cluster)
        cluster.cancel(job)
        growing.drop_some(process, 5)
        growing.wait_for_all(process)
        process.send(signal.SIGKILL)
        process.wait(10)
        growing.drop_some(growing_after := growing.start(words, takeover_s=60), 5)
        process = growing_after
        growing.wait_for_all(process)
        line = f"takeovers of the last coordinator {takeovers(process)}"
    finally:
        process.kill()
    ran["Flink, a stream with kills"] = f"{growing.summary()}; {line}"
    growing.check()
