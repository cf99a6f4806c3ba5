"""A topic of Apache Kafka as a log.

All partitions are read, and by no consumer group: which process reads what, and how far, is decided by the ledger
alone, so that no rebalance and no committed offset changes what a batch is. The client is confluent-kafka: its wheels
bring librdkafka with every codec and TLS. It is closed before a look that has found something returns, so that none of
its threads runs while processes are forked to cut pictures.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beam_jobs.watch.batch import CHANGED, Positions
from beam_jobs.watch.inboxes.log import PATIENCE_S, AwayError, LogInbox, Look, Lost, Mark, Run, note
from beam_jobs.watch.inboxes.messages import LONGEST_MESSAGE, Message
from tfrecords.errors import UserError
from tfrecords.files.place import Place

SCHEME = "kafka://"
SETTINGS = "STREETDIGITS_KAFKA_SETTINGS"
"""Variable with the path of a file of settings of librdkafka, `name=value` a line: passwords and certificates."""
_OWN = ("enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof", "auto.offset.reset", "group.id")
"""Settings that decide what is read, which are not the user's."""
_BYTES = 64 << 20
"""Size of the messages that one look reads of all partitions."""
_ANSWER_S = 10.0
"""Time for one answer of a broker, and for one look at its messages, seconds."""
_POLL_S = 0.2
_BROKEN_S = 60.0
"""Time for which a partition may end before what was read: a broker that has just started says so for a moment."""
_ADDRESS = re.compile(r"kafka://([^/?#]+)/([\w.-]{1,249})")


class KafkaInbox(LogInbox):
    """The inbox of a topic."""

    def __init__(
        self,
        brokers: str,
        topic: str,
        stream: Place,
        *,
        settings: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = note,
    ) -> None:
        """Takes the topic; nothing is read.

        Args:
          brokers: Brokers to begin with, `host:port,...`.
          topic: Name of the topic.
          stream: Stream with the spool.
          settings: Further settings of librdkafka, by name.
          patience_s: Time after which pictures at addresses that cannot be reached are refused, seconds.
          now: Clock, seconds.
          say: Function that prints a line.

        Raises:
          UserError: The client is not installed, or a setting is wrong.
        """
        topic_log = Topic(brokers, topic, settings or {}, now)
        super().__init__(topic_log, stream, patience_s=patience_s, now=now, say=say)


def parse_address(text: str) -> tuple[str, str]:
    """Returns the brokers and the topic of an address, `kafka://host:9092,host2:9092/topic`.

    Raises:
      UserError: It is none.
    """
    found = _ADDRESS.fullmatch(text)
    if not found:
        raise UserError("An address of Kafka must be of brokers and a topic, as kafka://host:9092/topic.", text)
    return found[1], found[2]


def settings_from_environment() -> dict[str, str]:
    """Returns the settings in the file that the variable `SETTINGS` names; nothing without one.

    Raises:
      UserError: The file cannot be read, or a line is no setting.
    """
    path = os.environ.get(SETTINGS)
    if not path:
        return {}
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{SETTINGS} must name a text file of settings that can be read.", path) from error
    found = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                # Not the line itself: it may be a password.
                raise UserError(f"{path}, line {number}: a setting must be name=value.", "no =")
            found[name.strip()] = value.strip()
    return found


class Topic:
    """A topic as a `Log`."""

    def __init__(
        self, brokers: str, topic: str, settings: Mapping[str, str], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes the topic; nothing is read.

        Raises:
          UserError: The client is not installed, or a setting is wrong.
        """
        try:
            import confluent_kafka
        except ImportError as error:
            rule = "Kafka's client must be installed: pip install 'streetdigits[kafka]'."
            raise UserError(rule, error) from error
        if own := sorted(set(settings) & set(_OWN)):
            raise UserError(f"Settings of Kafka's client must not be {', '.join(_OWN)}.", ", ".join(own))
        self._kafka: Any = confluent_kafka
        self._topic, self._brokers, self._now = topic, brokers, now
        self._consumer: Any = None
        self._short_since: dict[str, float] = {}
        self._settings = {
            "bootstrap.servers": brokers,
            # Asked for by the client; nothing is committed to it.
            "group.id": "streetdigits",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "fetch.message.max.bytes": LONGEST_MESSAGE,
            "queued.max.messages.kbytes": 32 << 10,
            **settings,
        }
        with self._open():
            pass
        self.close()

    def close(self) -> None:
        """Ends the connections and the threads of the client."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def look(self, marks: Mapping[str, Mark], most: int) -> Look:
        """Reads new messages of each partition; see `Log`."""
        look, starts = Look(), {}
        with self._open() as consumer:
            for index in self._partitions(consumer):
                first, end = consumer.get_watermark_offsets(self._at(index), timeout=_ANSWER_S)
                start = self._start(index, marks.get(f"{self._topic}/{index}"), first, end, look)
                if start < end:
                    starts[index] = start
            # Not always the same ones, where there are more partitions than messages to read.
            chosen = sorted(starts, key=lambda index: (marks.get(f"{self._topic}/{index}", Mark(0)).position, index))
            chosen = chosen[: max(1, most)]
            found, unended = self._collect(consumer, {index: starts[index] for index in chosen}, most)
        for index, messages in found.items():
            if messages:
                look.runs[f"{self._topic}/{index}"] = Run(starts[index], messages)
        look.waiting |= {f"{self._topic}/{index}" for index in unended if not found[index]}
        if look.runs:
            self.close()
        return look

    def read(self, positions: Positions) -> list[Message]:
        """Returns messages between two offsets; see `Log`."""
        topic, _, index = positions.partition.rpartition("/")
        if topic != self._topic:
            return []
        with self._open() as consumer:
            first, end = consumer.get_watermark_offsets(self._at(int(index)), timeout=_ANSWER_S)
            if positions.start < first or positions.stop > end:
                return []
            most = positions.stop - positions.start
            found, _ = self._collect(consumer, {int(index): positions.start}, most, stop=positions.stop)
        self.close()
        return [message for message in found[int(index)] if message.offset < positions.stop]

    def stamp(self, partition: str, position: int) -> str:
        """Returns nothing in particular: what is at an offset never changes."""
        return hashlib.sha256(f"{partition} {position}".encode()).hexdigest()

    def _at(self, index: int, offset: int = -1) -> Any:
        return self._kafka.TopicPartition(self._topic, index, offset)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Yields the consumer.

        Raises:
          AwayError: No broker answers.
          UserError: A setting is wrong.
        """
        try:
            if self._consumer is None:
                quiet = logging.Logger("kafka", logging.CRITICAL + 1)
                self._consumer = self._kafka.Consumer(self._settings, logger=quiet)
            yield self._consumer
        except self._kafka.KafkaException as error:
            fault = error.args[0]
            was_open = self._consumer is not None
            self.close()
            said = fault.str() if isinstance(fault, self._kafka.KafkaError) else str(error)
            if not was_open:
                raise UserError("A setting of Kafka's client is wrong.", said) from error
            raise AwayError(f"{SCHEME}{self._brokers}/{self._topic} cannot be read now ({said})") from error

    def _partitions(self, consumer: Any) -> list[int]:
        """Returns the indices of the topic's partitions, new ones among them.

        Raises:
          AwayError: There is no such topic, as a broker that has just started says too.
        """
        found = consumer.list_topics(self._topic, timeout=_ANSWER_S).topics[self._topic]
        if found.error is not None:
            raise self._kafka.KafkaException(found.error)
        return sorted(found.partitions)

    def _start(self, index: int, mark: Mark | None, first: int, end: int, look: Look) -> int:
        """Returns the offset at which the reading of a partition goes on, and takes down what is lost before it."""
        partition = f"{self._topic}/{index}"
        if mark is None:
            return first
        if mark.position > end:
            since = self._short_since.setdefault(partition, self._now())
            if self._now() - since > _BROKEN_S:
                rule = f"Kafka's partition {partition} must have what was read: all before offset {mark.position:,}."
                detail = f"{rule} Received: its end is offset {end:,}. Its topic was created again, or its broker has "
                detail += "lost messages. It is read no further: a topic of another name must have what comes."
                look.lost.append(Lost(Positions(partition, mark.position, mark.position), detail, CHANGED))
                return end
            look.waiting.add(partition)
            return end
        self._short_since.pop(partition, None)
        if mark.position < first:
            rule = f"Kafka must keep the messages of {partition} until they are read."
            detail = f"{rule} Received: offsets {mark.position:,} to {first:,}, {first - mark.position:,} "
            detail += "at most, were deleted (retention.ms, retention.bytes)."
            look.lost.append(Lost(Positions(partition, mark.position, first), detail))
            return first
        return mark.position

    def _collect(
        self, consumer: Any, starts: Mapping[int, int], most: int, stop: int | None = None
    ) -> tuple[dict[int, list[Message]], set[int]]:
        """Reads messages of partitions from given offsets, until their ends, or enough are there.

        Args:
          consumer: Consumer.
          starts: Offset of the first message, by the partition's index.
          most: Largest number of messages.
          stop: Offset at which the reading ends.

        Returns:
          Messages of each partition, and the partitions that have not come to an end in time.
        """
        found: dict[int, list[Message]] = {index: [] for index in starts}
        share, size, open_ = max(1, most // max(1, len(starts))), 0, set(starts)
        consumer.assign([self._at(index, start) for index, start in starts.items()])
        end = time.monotonic() + _ANSWER_S
        try:
            while open_ and size < _BYTES and time.monotonic() < end:
                # One by one: consume() would wait for as many as it is asked for.
                message = consumer.poll(_POLL_S)
                if message is None:
                    continue
                index = message.partition()
                if message.error():
                    self._judge(message.error())
                    open_.discard(index)
                elif index in open_:
                    size += _append(found[index], message)
                    if len(found[index]) >= share or (stop is not None and found[index][-1].end >= stop):
                        consumer.pause([self._at(index)])
                        open_.discard(index)
        finally:
            consumer.unassign()
        return found, open_

    def _judge(self, error: Any) -> None:
        """Raises an error of a broker, but for the end of a partition.

        Raises:
          KafkaException: It is another one.
        """
        if error.code() != self._kafka.KafkaError._PARTITION_EOF:
            raise self._kafka.KafkaException(error)


def _append(found: list[Message], message: Any) -> int:
    """Adds a message of the client; returns its size."""
    value, offset = message.value(), message.offset()
    size = len(value or b"")
    found.append(Message(offset, offset + 1, value if size <= LONGEST_MESSAGE else None, size))
    return size
