"""A broker of Apache Kafka on the loopback interface, which can be killed and started again."""

import contextlib
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.downloads import java, kafka_libraries
from tests.cluster.processes import Process, free_ports, listens

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
"""


class Broker:
    """The broker.

    Attributes:
      address: Its host and port.
    """

    def __init__(self, folder: Path) -> None:
        """Starts it with an empty folder.

        Raises:
          Missing: Java or Maven are not installed, or Maven cannot fetch it.
        """
        self._java, self._jars, self._folder = java(), kafka_libraries(), folder
        self._port, controller = free_ports(2)
        self.address = f"127.0.0.1:{self._port}"
        self._settings = folder / "server.properties"
        text = _SETTINGS.format(broker=self._port, controller=controller, data=folder / "data")
        self._settings.write_text(text)
        name = urlsafe_b64encode(uuid.UUID(int=17).bytes).decode().rstrip("=")
        self._run("kafka.tools.StorageTool", "format", "-t", name, "-c", str(self._settings)).wait(60)
        self.start()

    def start(self) -> None:
        """Starts it, with what it had before."""
        self._process = self._run("kafka.Kafka", str(self._settings))
        self._process.wait_until(lambda: listens(self._port), "the broker listens")

    def kill(self) -> None:
        """Kills it, as the loss of its machine does."""
        self._process.kill()

    def end(self) -> None:
        """Ends it."""
        self._process.end()

    def _run(self, *words: str) -> Process:
        return Process([self._java, "-Xmx256m", "-cp", f"{self._jars}/*", *words], self._folder / "log")


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[Broker]:
    """Runs a broker while the block runs.

    Raises:
      Missing: It cannot be had.
    """
    broker = Broker(folder)
    try:
        yield broker
    finally:
        broker.end()
