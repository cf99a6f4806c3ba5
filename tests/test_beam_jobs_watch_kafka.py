"""A topic of Kafka as an inbox, with a broker in memory; `tests/cluster/test_watch_kafka.py` has Kafka's own."""

import sys
from pathlib import Path

import pytest

from beam_jobs.watch.batch import CHANGED, INCOMPLETE
from beam_jobs.watch.inboxes import kafka
from beam_jobs.watch.inboxes.kafka import KafkaInbox, parse_address, settings_from_environment
from beam_jobs.watch.ledger import Entry, Ledger
from tests.kafka_client import Broker
from tests.messages import accepted, cycle, message, texts
from tfrecords.errors import UserError
from tfrecords.files.place import Place


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker in memory, which the client of this name asks."""
    broker = Broker()
    monkeypatch.setitem(sys.modules, "confluent_kafka", broker.module())
    return broker


@pytest.fixture
def stream(tmp_path: Path) -> Place:
    return Place(tmp_path / "stream")


def open_inbox(stream: Place, **options: object) -> KafkaInbox:
    return KafkaInbox("host:9092", "streets", stream, **options)  # type: ignore[arg-type]


def test_each_partition_is_a_batch_a_look_with_its_share_of_the_messages(broker: Broker, stream: Place) -> None:
    broker.send(0, *map(message, range(10)))
    broker.send(1, *map(message, range(10, 12)))
    inbox = open_inbox(stream)
    ready = inbox.poll(Ledger(stream), 8).ready
    assert [(batch.positions[0].partition, texts(batch)) for batch in ready] == [
        ("streets/0", ["0", "1", "2", "3"]),
        ("streets/1", ["10", "11"]),
    ]
    assert broker.clients == 0
    assert [batch.entries for batch in inbox.poll(Ledger(stream), 8).ready] == [4, 2, 2]
    while cycle(inbox, stream, 3)[1]:
        pass
    assert set(accepted(stream).values()) == {1}
    assert len(accepted(stream)) == 12


def test_more_partitions_than_messages_to_read_take_turns(broker: Broker, stream: Place) -> None:
    for index in range(5):
        broker.send(index, *map(message, range(10 * index, 10 * index + 3)))
    inbox = open_inbox(stream)
    for _ in range(20):
        _, batches = cycle(inbox, stream, 2)
        assert sum(batch.entries for batch in batches) <= 2
    assert dict(Ledger(stream).positions) == {f"streets/{index}": 3 for index in range(5)}


def test_the_client_commits_nothing_and_reads_what_was_committed(broker: Broker, stream: Place) -> None:
    broker.send(0, message(1))
    inbox = open_inbox(stream, settings={"security.protocol": "SSL"})
    cycle(inbox, stream)
    asked = broker.asked[-1]
    assert (asked["enable.auto.commit"], asked["isolation.level"], asked["security.protocol"]) == (
        False,
        "read_committed",
        "SSL",
    )


def test_a_new_partition_is_read_from_its_first_message(broker: Broker, stream: Place) -> None:
    broker.send(0, message(1))
    inbox = open_inbox(stream)
    cycle(inbox, stream)
    broker.send(1, message(2))
    _, (batch,) = cycle(inbox, stream)
    assert batch.name == "streets-1-000000000000-000000000001"


def test_lost_messages_are_counted_once_whatever_is_lost_later(broker: Broker, stream: Place) -> None:
    broker.send(0, *map(message, range(10)))
    cycle(open_inbox(stream), stream)
    broker.send(0, *map(message, range(10, 30)))
    broker.first[0] = 15
    inbox = open_inbox(stream)
    arrivals = inbox.poll(Ledger(stream), 1)
    (refusal,) = arrivals.refused
    assert (refusal.name, refusal.reason) == ("streets-0-000000000010-000000000015", INCOMPLETE)
    assert "5 at most, were deleted" in refusal.detail
    # The ledger takes the refusal and not the batch, whose spool is lost too; then more is deleted.
    Ledger(stream).append(Entry(1, refusals=[refusal]))
    (stream / "spool").delete_folder()
    broker.first[0] = 18
    arrivals, (batch,) = cycle(open_inbox(stream), stream)
    assert [each.name for each in arrivals.refused] == ["streets-0-000000000015-000000000018"]
    assert batch.positions[0].start == 18
    assert cycle(open_inbox(stream), stream)[0].refused == []


def test_a_broker_that_goes_away_is_waited_for_and_said_once(broker: Broker, stream: Place) -> None:
    clock, said = [0.0], list[str]()
    broker.send(0, message(1))
    inbox = open_inbox(stream, now=lambda: clock[0], say=said.append)
    cycle(inbox, stream)
    broker.is_up = False
    for clock[0] in (1.0, 5.0):
        arrivals, batches = cycle(inbox, stream)
        assert (batches, arrivals.waiting) == ([], 1)
    assert arrivals.waiting_s == 4
    assert said == [
        "kafka://host:9092/streets cannot be read now (Broker transport failure); it is tried again at each look"
    ]
    broker.is_up = True
    broker.send(0, message(2))
    arrivals, (batch,) = cycle(inbox, stream)
    assert (arrivals.waiting, said[1:]) == (0, ["the log can be reached again"])
    assert batch.positions[0].start == 1


def test_a_broker_that_is_not_there_at_the_start_is_an_error(broker: Broker, stream: Place) -> None:
    broker.is_up = False
    with pytest.raises(UserError, match=r"must be there when its reader starts. Received: kafka://host:9092/streets"):
        open_inbox(stream).poll(Ledger(stream), 1)


def test_a_partition_that_was_created_again_is_refused_once_when_it_stays_so_and_others_go_on(
    broker: Broker, stream: Place
) -> None:
    clock = [0.0]
    broker.send(0, *map(message, range(10)))
    inbox = open_inbox(stream, now=lambda: clock[0])
    cycle(inbox, stream)
    del broker.partitions[0][3:]
    arrivals, batches = cycle(inbox, stream)
    assert (batches, arrivals.waiting, arrivals.refused) == ([], 1, [])
    clock[0] = 61
    broker.send(1, message(11))
    arrivals, (batch,) = cycle(inbox, stream)
    assert batch.positions[0].partition == "streets/1"
    (refusal,) = arrivals.refused
    assert (refusal.reason, arrivals.waiting) == (CHANGED, 0)
    assert "streets/0 must have what was read: all before offset 10. Received: its end is offset 3" in refusal.detail
    assert cycle(inbox, stream)[0].refused == []


def test_messages_that_are_too_large_together_are_several_looks(
    broker: Broker, stream: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_BYTES", 3 * len(message(1)))
    broker.send(0, *map(message, range(10)))
    inbox = open_inbox(stream)
    assert len(texts(inbox.poll(Ledger(stream), 100).ready[0])) in (3, 4)


def test_an_address_names_brokers_and_a_topic() -> None:
    assert parse_address("kafka://a:9092,b:9092/streets.of_the-city") == ("a:9092,b:9092", "streets.of_the-city")
    for text in ("kafka://a:9092", "kafka:///topic", "kafka://a/b/c", "kafka://a/b?c", "s3://a/b"):
        with pytest.raises(UserError, match="must be of brokers and a topic"):
            parse_address(text)


def test_settings_come_from_a_file_and_none_of_them_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: Broker, stream: Place
) -> None:
    assert settings_from_environment() == {}
    path = tmp_path / "kafka.properties"
    path.write_text("# secret\nsasl.password = a=b \n\nsecurity.protocol=SASL_SSL\n")
    monkeypatch.setenv(kafka.SETTINGS, str(path))
    assert settings_from_environment() == {"sasl.password": "a=b", "security.protocol": "SASL_SSL"}
    path.write_text("my password\n")
    with pytest.raises(UserError, match="line 1: a setting must be name=value") as error:
        settings_from_environment()
    assert "password" not in str(error.value)
    path.unlink()
    with pytest.raises(UserError, match="must name a text file"):
        settings_from_environment()
    with pytest.raises(UserError, match=r"must not be .*Received: group.id"):
        open_inbox(stream, settings={"group.id": "mine"})
    with pytest.raises(UserError, match="A setting of Kafka's client is wrong"):
        open_inbox(stream, settings={"wrong": "1"})


def test_without_the_client_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, stream: Place) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(UserError, match=r"pip install 'streetdigits\[kafka\]'"):
        open_inbox(stream)
