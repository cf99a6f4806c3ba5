"""A Flink cluster on the loopback interface: a JobManager, TaskManagers with a slot each, and Beam's job server."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.downloads import flink_job_server, flink_libraries, java
from tests.cluster.page import commands
from tests.cluster.processes import Process, descendants, free_ports, get, listens, running

_OPENED = (
    *("java.lang", "java.lang.reflect", "java.net", "java.io", "java.nio", "java.text", "java.time", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch"),
)
"""Packages of Java 17 that Flink and Beam look into."""
_OPENS = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]

_SHORT_LIVED = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java's options for processes of minutes that share two processors: no threads that collect, no slow compiler."""

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

# Sizes of memory and processors are given one by one, since no start script of Flink computes them here. A lost worker
# restarts the job, as on a cluster that is meant to survive one.
_SETTINGS = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "jobmanager.memory.process.size": "1024m",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": "1",
    "taskmanager.cpu.cores": "1",
    "taskmanager.memory.framework.heap.size": "128mb",
    "taskmanager.memory.framework.off-heap.size": "128mb",
    "taskmanager.memory.task.heap.size": "512mb",
    "taskmanager.memory.task.off-heap.size": "128mb",
    "taskmanager.memory.network.min": "64mb",
    "taskmanager.memory.network.max": "64mb",
    "taskmanager.memory.managed.size": "256mb",
    "taskmanager.memory.jvm-metaspace.size": "256mb",
    "taskmanager.memory.jvm-overhead.min": "192mb",
    "taskmanager.memory.jvm-overhead.max": "192mb",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "5",
    "restart-strategy.fixed-delay.delay": "2 s",
    "heartbeat.interval": "2000",
    "heartbeat.timeout": "10000",
    "classloader.check-leaked-classloader": "false",
}
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


class Flink:
    """A running cluster.

    Attributes:
      address: Address of Flink's REST service and web page.
      managers: TaskManagers that run, by their ids.
      started: Ids of all TaskManagers that were started.
      job_port: Port of Beam's job server.
      server: Beam's job server.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        """Starts the JobManager and the job server, without a TaskManager.

        Args:
          folder: Folder for configurations, logs and temporary files.
          stack: What ends the processes.
        """
        self._folder, self._stack = folder, stack
        self._libraries, jar = flink_libraries(), flink_job_server()
        rpc, rest, self.job_port, artifacts, expansion = free_ports(5)
        self._ports = {"jobmanager.rpc.port": str(rpc), "rest.port": str(rest)}
        self.address = f"http://127.0.0.1:{rest}"
        self.managers: dict[str, Process] = {}
        self.started: list[str] = []
        master = stack.enter_context(running(self._java("jobmanager", _JOB_MANAGER, 512), folder / "jobmanager.log"))
        self.process = master
        ports = {"8099": str(self.job_port), "8098": str(artifacts), "8097": str(expansion)}
        places = {"/opt/flink-job-server/job-server.jar": str(jar), "/tmp/artifacts": str(folder / "artifacts")}
        (words,) = commands("flink-job-server", {**ports, **places, "http://HOST:8081": self.address})
        flags = {"JAVA_TOOL_OPTIONS": " ".join(_SHORT_LIVED)}
        self.server = stack.enter_context(running(words, folder / "job-server.log", flags))
        master.wait_until(lambda: bool(self.ask("/overview")), "Flink's REST service")
        self.server.wait_until(lambda: listens(self.job_port), "Beam's job server")

    def ask(self, path: str) -> Any:
        """Returns an answer of Flink's REST service."""
        return json.loads(get(self.address + path))

    def start_manager(self, name: str) -> None:
        """Starts a TaskManager and waits until it has joined."""
        words = self._java(name, _TASK_MANAGER, 640, {"taskmanager.resource-id": name})
        process = self._stack.enter_context(running(words, self._folder / f"{name}.log"))
        self.managers[name] = process
        self.started.append(name)
        process.wait_until(lambda: name in self.joined(), f"TaskManager {name}")

    def stop_manager(self, name: str) -> None:
        """Kills a TaskManager as the loss of its machine does: with its workers, and without a word to anyone."""
        process = self.managers.pop(name)
        workers = descendants(process.pid)
        process.kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def joined(self) -> set[str]:
        """Returns the ids of the TaskManagers that Flink knows."""
        return {each["id"] for each in self.ask("/taskmanagers")["taskmanagers"]}

    def jobs(self) -> dict[str, str]:
        """Returns the states of all jobs by their ids, as RUNNING, FINISHED, CANCELED."""
        return {each["id"]: each["status"] for each in self.ask("/jobs")["jobs"]}

    def cancel(self, job: str) -> None:
        """Cancels a job that still runs."""
        get(f"{self.address}/jobs/{job}/yarn-cancel")

    def worked(self, job: str) -> dict[str, int]:
        """Returns the number of records that each TaskManager wrote to others or read, in all steps of a job."""
        records: dict[str, int] = {}
        for vertex in self.ask(f"/jobs/{job}")["vertices"]:
            for subtask in self.ask(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]:
                count = subtask["metrics"]["read-records"] + subtask["metrics"]["write-records"]
                name = subtask["taskmanager-id"]
                records[name] = records.get(name, 0) + count
        return records

    def restarts(self, job: str) -> int:
        """Returns how often Flink has restarted a job, by the JobManager's log: its metrics end with the job."""
        lines = self.process.log.read_text(errors="replace").splitlines()
        return sum(f"({job}) switched from state RUNNING to RESTARTING" in line for line in lines)

    def _java(self, name: str, main: str, megabytes: int, settings: Mapping[str, str] | None = None) -> list[str]:
        """Writes the configuration of a part of the cluster and returns the command that starts it."""
        folder = self._folder / name
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        places = {"io.tmp.dirs": str(temporary), "web.upload.dir": str(temporary)}
        values = {**_SETTINGS, **self._ports, **places, **(settings or {})}
        (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
        (folder / "log4j.properties").write_text(_LOGGING)
        logging = f"-Dlog4j.configurationFile=file:{folder / 'log4j.properties'}"
        words = [java(), f"-Xmx{megabytes}m", *_SHORT_LIVED, *_OPENS, logging, "-cp", f"{self._libraries}/*", main]
        words += ["--configDir", str(folder)]
        return [*words, "--executionMode", "cluster"] if main == _JOB_MANAGER else words


@contextlib.contextmanager
def flink(folder: Path, managers: int = 2) -> Iterator[Flink]:
    """Runs a cluster while the block runs.

    Args:
      folder: New folder for its files.
      managers: Number of TaskManagers, tm1 and so on.

    Raises:
      Missing: Flink or Beam's job server cannot be had here.
    """
    flink_libraries(), flink_job_server()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        cluster = Flink(folder, stack)
        for number in range(1, managers + 1):
            cluster.start_manager(f"tm{number}")
        yield cluster
