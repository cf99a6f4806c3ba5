"""A Spark cluster on the loopback interface: a master, workers with a core each, and Beam's job server."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.downloads import spark_home, spark_job_server
from tests.cluster.page import commands
from tests.cluster.processes import free_ports, get, listens, running


class Spark:
    """A running cluster.

    Attributes:
      address: Address of the master's web page.
      job_port: Port of Beam's job server.
      jar: Jar of Beam's job server, which the job takes along.
    """

    def __init__(self, folder: Path, workers: int, stack: contextlib.ExitStack) -> None:
        """Starts it.

        Args:
          folder: Folder for logs and temporary files.
          workers: Number of workers.
          stack: What ends the processes.
        """
        self._folder = folder
        home, self.jar = spark_home(), spark_job_server()
        port, page, self.job_port, artifacts, expansion = free_ports(5)
        self.address = f"http://127.0.0.1:{page}"
        url = f"spark://127.0.0.1:{port}"
        environment = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "512m"}
        jvm = [str(home / "bin" / "spark-class")]
        words = [*jvm, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--webui-port", str(page)]
        master = stack.enter_context(running(words, folder / "master.log", environment))
        master.wait_until(lambda: bool(self.ask()), "Spark's master")
        for number in range(1, workers + 1):
            words = [
                *jvm,
                "org.apache.spark.deploy.worker.Worker",
                "--cores",
                "1",
                "--memory",
                "1g",
                "--host",
                "127.0.0.1",
            ]
            words += ["--webui-port", "0", "--work-dir", str(folder / f"worker-{number}"), url]
            stack.enter_context(running(words, folder / f"worker-{number}.log", environment))
        master.wait_until(lambda: len(self.ask()["workers"]) == workers, f"{workers} workers of Spark")
        ports = {"8099": str(self.job_port), "8098": str(artifacts), "8097": str(expansion)}
        places = {"/opt/spark-job-server/job-server.jar": str(self.jar), "/tmp/artifacts": str(folder / "artifacts")}
        (words,) = commands("spark-job-server", {**ports, **places, "spark://HOST:7077": url})
        words[0] = str(home / "bin" / words[0])
        self.server = stack.enter_context(running(words, folder / "job-server.log", environment))
        self.server.wait_until(lambda: listens(self.job_port), "Beam's job server")

    def ask(self) -> dict[str, Any]:
        """Returns the state of the master."""
        answer: dict[str, Any] = json.loads(get(f"{self.address}/json/"))
        return answer

    def executors(self) -> list[int]:
        """Returns the numbers of the workers that have run a part of an application."""
        return sorted({int(path.parts[-3].rpartition("-")[2]) for path in self._folder.glob("worker-*/app-*/*")})


@contextlib.contextmanager
def spark(folder: Path, workers: int = 2) -> Iterator[Spark]:
    """Runs a cluster while the block runs.

    Raises:
      Missing: Spark or Beam's job server cannot be had here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        yield Spark(folder, workers, stack)
