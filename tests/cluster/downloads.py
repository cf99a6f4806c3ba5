"""The engines' files: each is fetched or built once, into a folder outside the repository.

The folder is `$STREETDIGITS_CLUSTER`, or else `streetdigits/cluster` in the user's cache. What is in it has its version
in its name.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from tests.cluster.page import commands
from tests.cluster.versions import BEAM, BEAM_JAVA, FAKE_GCS, FLINK, FLINK_RUNNER, KAFKA, SPARK, SPARK_RUNNER

_POM = Path(__file__).with_name("job-server.pom.xml")
_KAFKA_POM = Path(__file__).with_name("kafka-broker.pom.xml")
_LINES_OF_OUTPUT = 4
_MINUTES = 15


class Missing(Exception):
    """An engine cannot be had on this machine; the text is the reason."""


def cache() -> Path:
    """Returns the folder of the downloads, which may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STREETDIGITS_CLUSTER") or Path(home) / "streetdigits" / "cluster")


def prism() -> Path:
    """Returns Prism's executable.

    Raises:
      Missing: Go is not installed, or cannot fetch Prism.
    """
    _tool("go")
    (words,) = commands("prism-install", {})

    def make(folder: Path) -> None:
        _run(words, {"GOBIN": str(folder)})

    return _made(f"prism-{BEAM}", make) / "prism"


def fake_gcs_server() -> Path:
    """Returns the executable of a server of Google Cloud Storage's protocol.

    Raises:
      Missing: Go is not installed, or cannot fetch it.
    """
    words = [_tool("go"), "install", f"github.com/fsouza/fake-gcs-server@v{FAKE_GCS}"]
    return _made(f"fake-gcs-server-{FAKE_GCS}", lambda folder: _run(words, {"GOBIN": str(folder)})) / "fake-gcs-server"


def flink_libraries() -> Path:
    """Returns the folder of Flink's jars.

    Raises:
      Missing: Java is not installed, or the package cannot be fetched.
    """
    java()
    # Its source distribution copies the jars from a folder of its own, and needs no other package.
    return _made(f"flink-{FLINK}", lambda folder: _install(f"apache-flink-libraries=={FLINK}", folder)) / "pyflink/lib"


def spark_home() -> Path:
    """Returns the folder of Spark.

    Raises:
      Missing: Java is not installed, or the package cannot be fetched.
    """
    java()
    return _made(f"spark-{SPARK}", lambda folder: _install(f"pyspark=={SPARK}", folder)) / "pyspark"


def flink_job_server() -> Path:
    """Returns the jar of Beam's job server for Flink.

    Raises:
      Missing: Java or Maven are not installed, or Maven cannot build it.
    """
    return _job_server(FLINK_RUNNER, "flink")


def spark_job_server() -> Path:
    """Returns the jar of Beam's job server for Spark, which runs with Spark's own jars.

    Raises:
      Missing: Java or Maven are not installed, or Maven cannot build it.
    """
    return _job_server(SPARK_RUNNER, "spark")


def kafka_libraries() -> Path:
    """Returns the folder of the jars of Kafka's broker.

    Raises:
      Missing: Java or Maven are not installed, or Maven cannot fetch them.
    """
    maven = _tool("mvn")
    java()

    def make(folder: Path) -> None:
        # Copied, since Maven writes next to it.
        pom = shutil.copy(_KAFKA_POM, folder / "pom.xml")
        words = [maven, "--batch-mode", "--quiet", "--file", str(pom), f"-Dkafka={KAFKA}"]
        _run([*words, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}", "-DincludeScope=runtime"])

    return _made(f"kafka-{KAFKA}", make) / "jars"


def java() -> str:
    """Returns the path of Java.

    Raises:
      Missing: It is not installed.
    """
    return _tool("java")


def _job_server(runner: str, engine: str) -> Path:
    _tool("mvn")
    java()

    def make(folder: Path) -> None:
        # Copied, since Maven writes next to it.
        pom = shutil.copy(_POM, folder / "pom.xml")
        places = {"tests/cluster/job-server.pom.xml": str(pom), f"/opt/{engine}-job-server": str(folder / "target")}
        (words,) = commands(f"{engine}-jar", places)
        _run(words)
        (folder / "target" / "job-server.jar").replace(folder / "job-server.jar")
        shutil.rmtree(folder / "target")

    return _made(f"{runner}-{BEAM_JAVA}", make) / "job-server.jar"


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder of the cache, which `make` fills if it is not there yet; a part of one never has its name."""
    folder, unfinished = cache() / name, cache() / f"{name}.part"
    cache().mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / f"{name}.lock"):
        if not folder.exists():
            print(f"fetching {name} into {cache()} ...", file=sys.stderr, flush=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.replace(folder)
    return folder


def _install(requirement: str, folder: Path) -> None:
    target = ["--no-cache", "--no-deps", "--target", str(folder)]
    # One answer of the index is hundreds of MB; uv's own limit is 30 s without a byte.
    slow = {"UV_HTTP_TIMEOUT": "300"}
    _run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *target, requirement], slow)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed")
    return found


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a command that fetches or builds.

    Raises:
      Missing: It fails; the text has the end of its output.
    """
    given = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60 * _MINUTES)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{Path(command[0]).name} did not finish within {_MINUTES} minutes") from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        # Maven says first what is wrong, and then where to read about it.
        said = next(([line] for line in lines if "[ERROR]" in line), lines[-_LINES_OF_OUTPUT:])
        raise Missing(f"{Path(command[0]).name} failed: {' '.join(map(str.strip, said))}")
