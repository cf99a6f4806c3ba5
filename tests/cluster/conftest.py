"""What the tests of engines share: each engine is started once, and its absence skips the tests with the reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.prepare.make_input import make_input
from tests.cluster import downloads, jobs
from tests.cluster.flink import Flink, flink
from tests.cluster.page import commands
from tests.cluster.spark import Spark, spark
from tests.cluster.versions import BEAM, BEAM_JAVA, FLINK, SPARK
from tests.stores import Bucket, serving_s3

PICTURES = 1_500
"""Pictures of the input: some seconds of work, and 73 shards with `FLAGS`."""
FLAGS = ("--examples-per-shard", "100")

ran: dict[str, str] = {}
"""What was run, and what was skipped, by engine."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints which engines were run, and which were not."""
    for engine, state in ran.items():
        terminalreporter.write_line(f"{engine}: {state}")


def skip(engine: str, error: downloads.Missing) -> None:
    """Skips a test whose engine cannot be had here."""
    ran[engine] = f"skipped, since {error}"
    pytest.skip(f"{engine}: {error}")


@pytest.fixture(scope="session")
def prism() -> Path:
    """Prism's executable."""
    try:
        path = downloads.prism()
    except downloads.Missing as error:
        skip("Prism", error)
    ran["Prism"] = f"ran, version {BEAM}"
    return path


@pytest.fixture(scope="session")
def two_managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """A Flink cluster of two TaskManagers."""
    try:
        with flink(tmp_path_factory.mktemp("flink")) as cluster:
            ran["Flink"] = f"ran, version {FLINK}, two TaskManagers, Beam's job server {BEAM_JAVA}"
            yield cluster
    except downloads.Missing as error:
        skip("Flink", error)


@pytest.fixture
def cluster(two_managers: Flink) -> Flink:
    """The Flink cluster, without a job, and with two TaskManagers again if a test killed one."""
    for job, state in two_managers.jobs().items():
        if state in ("RUNNING", "RESTARTING", "CREATED"):
            two_managers.cancel(job)
    number = len(two_managers.started)
    while len(two_managers.managers) < 2:
        number += 1
        two_managers.start_manager(f"tm{number}")
    return two_managers


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """A Spark cluster of two workers."""
    try:
        with spark(tmp_path_factory.mktemp("spark")) as cluster:
            ran["Spark"] = f"ran, version {SPARK}, two workers, Beam's job server {BEAM_JAVA}"
            yield cluster
    except downloads.Missing as error:
        skip("Spark", error)


@pytest.fixture(scope="session")
def pictures(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An input of many pictures: drawn ones, again and again."""
    return make_input(drawn, tmp_path_factory.mktemp("input") / "svhn", PICTURES)


def _prepared(pictures: Path, output: Path) -> dict[str, str]:
    words = ["python", "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", str(pictures)]
    jobs.check(jobs.run([*words, "--output", str(output), *FLAGS]))
    return jobs.digests(output)


@pytest.fixture(scope="session")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the files that `prepare` writes of the pictures in its own process."""
    return _prepared(pictures, tmp_path_factory.mktemp("expected") / "records")


@pytest.fixture(scope="session")
def expected_few(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same of the few pictures in the bucket."""
    return _prepared(drawn, tmp_path_factory.mktemp("expected-few") / "records")


@pytest.fixture(scope="session")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executable of workers, written as the page says."""
    path = tmp_path_factory.mktemp("boot") / "streetdigits-boot"
    jobs.run_block(commands("boot", {"/opt/streetdigits-boot": str(path)}))
    return path


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """Address of an S3 server on loopback, which workers reach too."""
    with serving_s3() as endpoint:
        ran["S3"] = "ran, moto's server"
        yield endpoint


@pytest.fixture(scope="session")
def stored(store: str, drawn: Path) -> Bucket:
    """A bucket of the server with few pictures, `svhn`: moto takes 10 ms per object."""
    bucket = Bucket(store)
    bucket.put_folder(drawn, "svhn")
    return bucket
