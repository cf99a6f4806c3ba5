"""Messages of logs: what they may be, what becomes of bad ones, and the folder that holds them."""

import base64
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.local import run_on_this_machine
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.sources import load_source
from beam_jobs.sources.base import SourceOptions
from beam_jobs.watch.batch import Correction, check_name
from beam_jobs.watch.generation import plan_generation
from beam_jobs.watch.inboxes import spool as spools
from beam_jobs.watch.inboxes.messages import LONGEST_MESSAGE, Labelled, Message, parse_message
from beam_jobs.watch.inboxes.spool import Spool, UnreachableError, batch_name, parse_name
from beam_jobs.watch.ledger import Entry
from beam_jobs.watch.stream import Stream
from tests.forgetful import ForgetfulDisk
from tests.messages import message, picture, texts
from tests.stores import Bucket
from tfrecords.dataset.manifest import Manifest
from tfrecords.files.place import Place

IMAGE = base64.b64encode(picture(1)).decode()


def messages(*values: bytes | None, start: int = 0) -> list[Message]:
    return [Message(start + i, start + i + 1, value, len(value or b"")) for i, value in enumerate(values)]


def stamp(_: int) -> str:
    return ""


def parsed(value: Any) -> Any:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_message(Message(0, 1, data, len(data)))


def test_a_message_is_a_picture_with_a_number_or_a_correction() -> None:
    url = {"text": "1984", "url": "s3://bucket/7.png", "boxes": [[5, 1, 9, 8], [1, 2, 4, 9.5]], "name": "cam-7.1"}
    assert parsed(url) == Labelled("1984", None, "s3://bucket/7.png", (1, 1, 9, 9.5), "cam-7.1")
    assert parsed({"text": 7, "image": f"data:image/png;base64,{IMAGE}", "boxes": []}) == Labelled("7", picture(1))
    relabel = {"key": "a/1.png", "action": "relabel", "text": "12"}
    assert parsed(relabel) == Correction("a/1.png", "relabel", "12")
    assert parsed({"key": "a/1.png", "action": "delete"}) == Correction("a/1.png", "delete")


@pytest.mark.parametrize(
    ("value", "reason", "part"),
    [
        (b"", "empty", "not be empty"),
        (b"{\"text\": ", "damaged", "JSON object in UTF-8"),
        (b"\xff{}", "damaged", "JSON object"),
        (b"[" * 100_000, "damaged", "JSON object"),
        ([1], "damaged", "JSON object"),
        ({"image": IMAGE}, "no_text", "a number in text"),
        ({"text": 1.5, "image": IMAGE}, "bad_text", "or an integer"),
        (b'{"text": "\\ud800", "image": "AAAA"}', "bad_text", "or an integer"),
        (b'{"text": ' + b"9" * 4000 + b', "image": "AAAA"}', "bad_text", "or an integer"),
        ({"text": True, "image": IMAGE}, "bad_text", "or an integer"),
        ({"text": "1"}, "no_picture", "either image or url"),
        ({"text": "1", "image": IMAGE, "url": "s3://a/b"}, "no_picture", "either image or url"),
        ({"text": "1", "image": "!!!"}, "bad_image", "base64"),
        ({"text": "1", "image": "é"}, "bad_image", "base64"),
        ({"text": "1", "image": ""}, "bad_image", "base64"),
        ({"text": "1", "image": 5}, "bad_image", "base64"),
        ({"text": "1", "image": base64.b64encode(b"x" * (11 << 20)).decode()}, "too_large", "10,485,760"),
        ({"text": "1", "url": "/etc/passwd"}, "bad_path", "address"),
        ({"text": "1", "url": "file:///etc/passwd"}, "bad_path", "address"),
        ({"text": "1", "url": "simplecache::s3://a/b"}, "bad_path", "address"),
        ({"text": "1", "image": IMAGE, "boxes": {}}, "bad_box", "list"),
        ({"text": "1", "image": IMAGE, "boxes": [[1, 2, 3]]}, "bad_box", "four finite numbers"),
        ({"text": "1", "image": IMAGE, "boxes": [[1, 2, 3, float("nan")]]}, "bad_box", "four finite numbers"),
        ({"text": "1", "image": IMAGE, "boxes": [[1, 2, 3, 10**400]]}, "bad_box", "four finite numbers"),
        ({"text": "1", "image": IMAGE, "boxes": [[1, 2, 1, 5]]}, "empty_box", "width and a height"),
        ({"text": "1", "image": IMAGE, "name": "../a"}, "bad_name", "letters, digits"),
        ({"key": "a", "action": "delete"}, "bad_correction", "batch/picture"),
        ({"key": "a/1.png", "action": "drop"}, "bad_correction", "relabel, delete"),
        ({"key": "a/1.png", "action": "relabel"}, "no_text", "a number in text"),
        ({"key": "a/1.png", "action": "delete", "image": IMAGE}, "bad_correction", "no picture"),
    ],
)  # fmt: skip
def test_a_bad_message_is_refused_with_its_reason(value: Any, reason: str, part: str) -> None:
    fault = parsed(value)
    assert fault.reason == reason
    assert part in fault.rule
    assert len(fault.received) < 120


def test_no_damage_to_a_message_raises_an_error() -> None:
    good, rng = message(1), random.Random(0)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        parsed(bytes(data[: rng.randrange(len(data) + 1)]))


def test_names_of_batches_sort_as_positions_do_and_no_two_partitions_share_one() -> None:
    names = [batch_name("streets/0", start, start + 50) for start in (0, 50, 900, 1000, 20_000, 10**11)]
    assert names == sorted(names)
    assert parse_name(names[1]) == ("streets-0", 50, 100)
    others = [batch_name(f"{topic}/{index}", 0, 1) for topic in ("a.b", "a_b", "a-b", "x" * 249) for index in range(3)]
    others += [batch_name(file, 0, 1) for file in ("a.jsonl", "a b.jsonl", "a_b.jsonl", "é.jsonl")]
    assert len(set(others)) == len(others)
    for name in (*names, *others):
        check_name(name)
    assert parse_name("2026-11") is None
    assert parse_name("a-²-3") is None


def test_messages_become_a_batch_with_their_positions_and_come_back(tmp_path: Path) -> None:
    spool = Spool(Place(tmp_path))
    correction = json.dumps({"key": "a/1.png", "action": "delete"}).encode()
    batch, faults = spool.write("streets/0", 120, messages(message(7), correction, message(8), start=120), stamp)
    assert (batch.name, batch.entries, faults) == ("streets-0-000000000120-000000000123", 2, [])
    assert [(each.partition, each.start, each.stop) for each in batch.positions] == [("streets/0", 120, 123)]
    assert batch.corrections == [Correction("a/1.png", "delete")]
    assert texts(batch) == ["7", "8"]
    assert spool.load() == {batch.name: batch}
    spool.remove(batch.name)
    assert spool.load() == {}
    assert spool.write("streets/0", 120, messages(correction), stamp)[0].subsets == []


def test_the_same_messages_make_the_same_batch_and_the_same_content_elsewhere_another(tmp_path: Path) -> None:
    values = messages(message(1), message(2))
    first = Spool(Place(tmp_path / "a")).write("t/0", 0, values, stamp)[0]
    second = Spool(Place(tmp_path / "b")).write("t/0", 0, values, stamp)[0]
    assert first.digest == second.digest
    moved = messages(message(1), message(2), start=2)
    assert Spool(Place(tmp_path / "a")).write("t/0", 2, moved, stamp)[0].digest != first.digest


def test_what_is_not_complete_or_was_changed_is_no_batch(tmp_path: Path) -> None:
    spool = Spool(Place(tmp_path))
    batch, _ = spool.write("t/0", 0, messages(message(1), message(2)), stamp)
    folder = tmp_path / "spool" / batch.name
    table = (folder / "labels.parquet").read_bytes()
    (folder / "labels.parquet").write_bytes(table[:-5])
    assert spool.read(batch.name) is None
    (folder / "labels.parquet").unlink()
    assert spool.read(batch.name) is None
    (folder / "labels.parquet").write_bytes(table)
    assert spool.read(batch.name) == batch
    (folder / "batch.json").write_bytes(b"{")
    assert spool.read(batch.name) is None


def test_a_batch_is_on_the_disk_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[set[str]]()

    def look() -> None:
        files = disk.files()
        seen.append({Path(name).name for name in files if "labels" in name or "batch.json" in name})
        if any(Path(name).name == "batch.json" for name in files):
            table = next(data for name, data in files.items() if name.endswith("/labels.parquet"))
            assert table.endswith(b"PAR1")

    disk = ForgetfulDisk(tmp_path, monkeypatch, look)
    Spool(Place(tmp_path)).write("t/0", 0, messages(message(1)), stamp)
    assert {"labels.parquet", "batch.json"} <= set(map(os.path.basename, disk.files()))
    assert seen


def test_a_batch_ends_when_its_pictures_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MOST_BYTES", 20 * len(picture(1)))
    batch, _ = Spool(Place(tmp_path)).write("t/0", 0, messages(*(message(i) for i in range(50))), stamp)
    assert batch.positions[0].stop == batch.entries == 32


def test_pictures_at_addresses_are_copied_and_what_cannot_be_read_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("7.png", picture(7))
    values = [{"text": "7", "url": f"{bucket.address}/7.png"}, {"text": "8", "url": f"{bucket.address}/8.png"}]
    spool = Spool(Place(tmp_path))
    batch, faults = spool.write("t/0", 0, messages(*(json.dumps(value).encode() for value in values)), stamp)
    assert texts(batch) == ["7"]
    assert [fault.reason for fault in faults] == ["missing"]


def test_a_place_that_cannot_be_reached_is_waited_for_or_given_up(tmp_path: Path) -> None:
    value = json.dumps({"text": "7", "url": "abfs://nowhere/7.png"}).encode()
    spool = Spool(Place(tmp_path))
    with pytest.raises(UnreachableError):
        spool.write("t/0", 0, messages(value), stamp)
    _, faults = spool.write("t/0", 0, messages(value), stamp, give_up=True)
    assert [fault.reason for fault in faults] == ["unreachable"]


def test_bad_messages_are_dead_letters_of_their_generation_with_partition_and_offset(tmp_path: Path) -> None:
    stream = Stream(Place(tmp_path), PrepareConfig(source="table", max_length=5, max_dead_fraction=1.0))
    values = [message(1), b"nonsense", message(2, text=None), message(3, image="AAAA"), message(4, text="12a")]
    large = Message(45, 46, None, LONGEST_MESSAGE + 1)
    batch, faults = Spool(stream.place).write("streets/1", 40, [*messages(*values, start=40), large], stamp)
    assert len(faults) == 3
    plan = plan_generation(stream, Entry(0, [batch]))
    with lock_output(plan, False):
        run_on_this_machine(plan, 1, "")
    manifest = Manifest.parse(plan.path("manifest.json").read_bytes(), "manifest")
    reasons = {"damaged": 1, "no_text": 1, "not_a_picture": 1, "too_large": 1, "unknown_character": 1}
    assert manifest.dead_letters == reasons
    letters = plan.path("dead_letters.jsonl").read_bytes().decode()
    assert "streets/1, offset 41: A message must be a JSON object in UTF-8. Received: b'nonsense'" in letters


def test_a_batch_of_bad_messages_alone_can_be_read(tmp_path: Path) -> None:
    batch, _ = Spool(Place(tmp_path)).write("t/0", 0, messages(b"x", b"y", None), stamp)
    (subset,) = batch.subsets
    found = list(load_source("table").read_annotations(subset, 0, 3, "left", SourceOptions()))
    assert [each.dead.reason for each in found if each.dead] == ["damaged", "damaged", "empty"]


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_while_a_batch_is_written_leaves_none_or_all_of_it(tmp_path: Path, seed: int) -> None:
    values = messages(*(message(i) for i in range(300)))
    expected = Spool(Place(tmp_path / "whole")).write("t/0", 0, values, stamp)[0]
    rng, complete = random.Random(seed), 0
    for attempt in range(8):
        stream = Place(tmp_path / str(attempt))
        child = os.fork()
        if not child:
            Spool(stream).write("t/0", 0, values, stamp)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for found in Spool(stream).load().values():
            complete += found is not None
            assert found is None or found.digest == expected.digest
        again, _ = Spool(stream).write("t/0", 0, values, stamp)
        assert again.digest == expected.digest
    assert complete < 8


def test_a_spool_works_in_a_store(bucket: Bucket) -> None:
    spool = Spool(Place(f"{bucket.address}/stream"))
    batch, _ = spool.write("t/0", 0, messages(message(1), message(2)), stamp)
    assert spool.load() == {batch.name: batch}
    assert texts(batch) == ["1", "2"]
    spool.remove(batch.name)
    assert spool.load() == {}
