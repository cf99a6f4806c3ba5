"""Kafka's topics as an inbox, with Apache Kafka's own broker."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.watch.batch import INCOMPLETE
from beam_jobs.watch.inboxes.kafka import KafkaInbox
from beam_jobs.watch.ledger import Ledger
from tests.cluster import downloads
from tests.cluster.conftest import ran, skip
from tests.cluster.kafka import Broker, kafka
from tests.cluster.versions import KAFKA
from tests.messages import accepted, cycle, message, texts
from tfrecords.errors import UserError
from tfrecords.files.place import Place

pytestmark = pytest.mark.cluster
admin = pytest.importorskip("confluent_kafka.admin", reason="confluent-kafka is not installed")
client = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
_READER = """
import random, sys
from beam_jobs.watch.inboxes.kafka import KafkaInbox
from tests.messages import cycle
from tfrecords.files.place import Place
brokers, topic, stream, seed = sys.argv[1:]
inbox, rng = KafkaInbox(brokers, topic, Place(stream)), random.Random(int(seed))
while True:
    cycle(inbox, Place(stream), rng.randrange(3, 60), rng.choice((1, 2, None)))
"""
"""A watcher that accepts what comes, a random part of it at a time, until it is killed."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker."""
    try:
        with kafka(tmp_path_factory.mktemp("kafka")) as running:
            ran["Kafka"] = f"ran, version {KAFKA}, client {client.version()}"
            yield running
    except downloads.Missing as error:
        skip("Kafka", error)


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A new topic of three partitions."""
    name = request.node.name.replace("[", "-").rstrip("]")[:200]
    make_topic(broker, name)
    return str(name)


def administer(broker: Broker, work: Callable[[Any], dict[Any, Any]]) -> None:
    """Asks the broker for something and waits until it is done; the client must live as long."""
    asking = admin.AdminClient({"bootstrap.servers": broker.address})
    for future in work(asking).values():
        future.result(30)


def make_topic(broker: Broker, name: str) -> None:
    """Makes a topic of three partitions."""
    administer(broker, lambda asking: asking.create_topics([admin.NewTopic(name, 3, 1)]))


def delete_before(broker: Broker, topic: str, offset: int) -> None:
    """Deletes messages of partition 0, as retention does."""
    before = [client.TopicPartition(topic, 0, offset)]
    administer(broker, lambda asking: asking.delete_records(before))


def sending(broker: Broker) -> dict[str, Any]:
    """Settings of a client that sends each message once, and says nothing of a broker that is away."""
    return {"bootstrap.servers": broker.address, "enable.idempotence": True, "log_level": 0}


def produce(broker: Broker, topic: str, values: list[bytes | None], partition: int | None = None) -> None:
    """Sends messages, in order and each once, and waits until the broker has them."""
    producer = client.Producer(sending(broker))
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % 3 if partition is None else partition)
        producer.poll(0)
    assert producer.flush(60) == 0


def read_all(inbox: KafkaInbox, stream: Place) -> None:
    """Accepts what is there."""
    while cycle(inbox, stream)[1]:
        pass


def test_messages_of_all_partitions_come_once_with_their_offsets(broker: Broker, topic: str, tmp_path: Path) -> None:
    stream, said = Place(tmp_path), list[str]()
    produce(broker, topic, [message(i) for i in range(30)])
    produce(broker, topic, [b"nonsense", None], 1)
    inbox = KafkaInbox(broker.address, topic, stream, say=said.append)
    ready = inbox.poll(Ledger(stream), 100).ready
    assert sorted(text for batch in ready for text in texts(batch)) == sorted(map(str, range(30)))
    assert [(batch.positions[0].partition, batch.entries) for batch in ready] == [
        (f"{topic}/0", 10), (f"{topic}/1", 12), (f"{topic}/2", 10)
    ]  # fmt: skip
    assert f"{topic}/1, offset 10" in said[0]
    read_all(inbox, stream)
    produce(broker, topic, [message(31)], 2)
    read_all(KafkaInbox(broker.address, topic, stream), stream)
    assert Ledger(stream).positions == {f"{topic}/0": 10, f"{topic}/1": 12, f"{topic}/2": 11}
    assert set(accepted(stream).values()) == {1}


def test_deleted_messages_are_refused_once_by_their_offsets(broker: Broker, topic: str, tmp_path: Path) -> None:
    stream = Place(tmp_path)
    produce(broker, topic, [message(i) for i in range(10)], 0)
    read_all(KafkaInbox(broker.address, topic, stream), stream)
    produce(broker, topic, [message(i) for i in range(10, 20)], 0)
    delete_before(broker, topic, 15)
    inbox = KafkaInbox(broker.address, topic, stream)
    arrivals, (batch,) = cycle(inbox, stream)
    assert batch.positions[0].start == 15
    (refusal,) = arrivals.refused
    assert (refusal.name, refusal.reason) == (f"{topic}-0-000000000010-000000000015", INCOMPLETE)
    assert "offsets 10 to 15, 5 at most, were deleted" in refusal.detail
    for each in (inbox, KafkaInbox(broker.address, topic, stream)):
        assert cycle(each, stream)[0].refused == []


def test_a_batch_whose_spool_was_lost_is_read_again_while_the_broker_has_it(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    stream = Place(tmp_path)
    produce(broker, topic, [message(i) for i in range(20)], 0)
    inbox = KafkaInbox(broker.address, topic, stream)
    (batch,) = inbox.poll(Ledger(stream), 5).ready
    (stream / "spool").delete_folder()
    assert inbox.difference(batch) == ""
    assert texts(batch) == [str(i) for i in range(5)]
    (stream / "spool").delete_folder()
    delete_before(broker, topic, 3)
    assert "no longer has the same messages" in inbox.difference(batch)


def test_a_transaction_that_was_aborted_is_not_read(broker: Broker, topic: str, tmp_path: Path) -> None:
    stream = Place(tmp_path)
    producer = client.Producer({**sending(broker), "transactional.id": topic})
    producer.init_transactions(60)
    for number, commit in ((1, True), (2, False), (3, True)):
        producer.begin_transaction()
        producer.produce(topic, message(number), partition=0)
        (producer.commit_transaction if commit else producer.abort_transaction)(60)
    inbox = KafkaInbox(broker.address, topic, stream)
    (batch,) = inbox.poll(Ledger(stream), 10).ready
    assert texts(batch) == ["1", "3"]
    (stream / "spool").delete_folder()
    assert inbox.difference(batch) == ""
    assert cycle(inbox, stream)[1] == [batch]
    arrivals, batches = cycle(inbox, stream)
    assert (batches, arrivals.waiting) == ([], 0)


def test_no_topic_and_no_broker_are_an_error_of_one_line(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be there when its reader starts.*Unknown topic"):
        KafkaInbox(broker.address, "none", Place(tmp_path)).poll(Ledger(Place(tmp_path)), 1)
    with pytest.raises(UserError, match=r"A setting of Kafka's client is wrong.*No such configuration"):
        KafkaInbox(broker.address, "none", Place(tmp_path), settings={"no.such": "1"})
    with pytest.raises(UserError, match="must not be"):
        KafkaInbox(broker.address, "none", Place(tmp_path), settings={"group.id": "1"})


@pytest.mark.slow
def test_readers_killed_at_random_take_each_message_once_while_the_broker_is_killed_and_a_partition_is_added(
    broker: Broker, tmp_path: Path
) -> None:
    topic, stream, rng = "streets.of_the.test", Place(tmp_path / "stream"), random.Random(3)
    make_topic(broker, topic)
    sent = Counter[int]()

    def send() -> None:
        producer = client.Producer(sending(broker))
        for number in range(500):
            partition = number % (3 if number < 300 else 4)
            producer.produce(topic, message(number), partition=partition)
            sent[partition] += 1
            time.sleep(0.02)
            if number == 299:
                assert producer.flush(60) == 0
                administer(broker, lambda asking: asking.create_partitions([admin.NewPartitions(topic, 4)]))
                time.sleep(1)
                producer = client.Producer(sending(broker))
        assert producer.flush(60) == 0

    sender = threading.Thread(target=send)
    sender.start()
    kills = 0
    while sender.is_alive():
        words = [sys.executable, "-c", _READER, broker.address, topic, str(stream), str(kills)]
        reader = subprocess.Popen(words, stderr=subprocess.PIPE)
        time.sleep(rng.uniform(0.4, 2.5))
        if kills == 2:
            broker.kill()
            time.sleep(1)
            # Not in a thread: the kernel ends what a thread has started when the thread ends.
            broker.start()
            time.sleep(1)
        reader.send_signal(signal.SIGKILL)
        _, errors = reader.communicate(timeout=30)
        # One that starts while the broker is away ends with an error.
        assert reader.returncode == -signal.SIGKILL or b"must be there when its reader starts" in errors, errors
        kills += 1
    assert Ledger(stream).next > 5, "readers that were killed have accepted something"
    read_all(KafkaInbox(broker.address, topic, stream), stream)
    found = accepted(stream)
    assert found == Counter(f"{topic}/{index} {offset}" for index, count in sent.items() for offset in range(count))
    assert (sum(sent.values()), sorted(sent)) == (500, [0, 1, 2, 3])
    assert kills > 5
    assert not (stream / "spool").entries()


def test_no_thread_of_the_client_is_left_when_something_is_ready(broker: Broker, topic: str, tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    stream = Place(tmp_path)
    inbox = KafkaInbox(broker.address, topic, stream)
    inbox.poll(Ledger(stream), 10)
    idle = count()
    produce(broker, topic, [message(1)])
    time.sleep(0.2)
    assert inbox.poll(Ledger(stream), 10).ready
    time.sleep(0.2)
    assert count() < idle
