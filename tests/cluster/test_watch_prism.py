"""A stream whose shards are made by a job on Prism: arrivals, latency, and kills of all that can be killed."""

import os
import signal
from pathlib import Path

import pytest

from tests.cluster import jobs
from tests.cluster.streaming import Growing, job_of, print_line, takeovers, workers_of

pytestmark = pytest.mark.cluster


def options(prism: Path, boot: Path) -> list[str]:
    return ["--runner", "PrismRunner", "--prism_location", str(prism), *jobs.process_environment(boot)]


@pytest.fixture
def growing(drawn: Path, tmp_path: Path) -> Growing:
    """An empty stream."""
    return Growing(tmp_path, drawn)


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
    print_line(f"Prism: first batch {start:.1f} s after the start; {growing.summary(1)}")
    growing.check()
