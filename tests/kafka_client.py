"""A stand-in for the client of Kafka, with a broker in memory; the tests in `tests/cluster` have the real ones."""

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

PARTITION_EOF, UNKNOWN_TOPIC = -191, 3


@dataclass
class Broker:
    """What a broker has.

    Attributes:
      partitions: Messages of each partition of the topic `streets`.
      first: Offset of the first message that a partition still has.
      is_up: Whether it answers.
      clients: Number of open clients.
      asked: Names of settings of each client.
    """

    partitions: dict[int, list[bytes | None]] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    is_up: bool = True
    clients: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def send(self, partition: int, *values: bytes | None) -> None:
        """Adds messages."""
        self.partitions.setdefault(partition, []).extend(values)

    def module(self) -> Any:
        """Returns what `import confluent_kafka` gives."""
        return SimpleNamespace(
            Consumer=lambda settings, logger: _Consumer(self, settings),
            TopicPartition=lambda topic, partition, offset=-1: SimpleNamespace(partition=partition, offset=offset),
            KafkaException=KafkaException,
            KafkaError=KafkaError,
        )


class KafkaException(Exception):
    """As the client's."""


class KafkaError:
    """As the client's."""

    _PARTITION_EOF = PARTITION_EOF

    def __init__(self, code: int, text: str) -> None:
        self._code, self._text = code, text

    def code(self) -> int:
        return self._code

    def str(self) -> str:
        return self._text


class _Message:
    def __init__(self, partition: int, offset: int, value: bytes | None, error: KafkaError | None = None) -> None:
        self.partition, self.offset = lambda: partition, lambda: offset
        self.value, self.error = lambda: value, lambda: error


class _Consumer:
    """Deals the messages of the partitions in turn, each followed by the event of its end."""

    def __init__(self, broker: Broker, settings: dict[str, Any]) -> None:
        if "wrong" in settings:
            raise KafkaException(KafkaError(-186, 'No such configuration property: "wrong"'))
        self._broker, self._queue = broker, deque[_Message]()
        broker.clients += 1
        broker.asked.append(settings)

    def close(self) -> None:
        self._broker.clients -= 1

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._answer()
        error = None if topic == "streets" else KafkaError(UNKNOWN_TOPIC, "Unknown topic or partition")
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error, partitions=dict(self._broker.partitions))})

    def get_watermark_offsets(self, at: Any, timeout: float) -> tuple[int, int]:
        self._answer()
        return self._broker.first.get(at.partition, 0), len(self._broker.partitions[at.partition])

    def assign(self, starts: list[Any]) -> None:
        rows = []
        for at in starts:
            values = self._broker.partitions[at.partition]
            rows += [(i, at.partition, values[i]) for i in range(at.offset, len(values))]
            rows.append((len(values), at.partition, b"end"))
        for offset, partition, value in sorted(rows, key=lambda row: row[:2]):
            is_end = offset == len(self._broker.partitions[partition])
            error = KafkaError(PARTITION_EOF, "No more messages") if is_end else None
            self._queue.append(_Message(partition, offset, value, error))

    def unassign(self) -> None:
        self._queue.clear()

    def pause(self, partitions: list[Any]) -> None:
        # Messages that the client has already are dealt all the same.
        pass

    def poll(self, timeout: float) -> _Message | None:
        return self._queue.popleft() if self._queue and self._broker.is_up else None

    def _answer(self) -> None:
        if not self._broker.is_up:
            raise KafkaException(KafkaError(-195, "Broker transport failure"))
