"""`snapshots`: the table, its JSON, and pins."""

import json
from pathlib import Path

import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.watch.stream import Stream
from tests.drawn_streams import STREAMED, part
from tfrecords.cli import main
from tfrecords.dataset.manifest import ImageInfo, Manifest, ShardInfo, SplitInfo
from tfrecords.dataset.pins import pinned
from tfrecords.dataset.snapshots import Part, Snapshot, Total, directory_name, snapshot_place
from tfrecords.files.place import Place


def call(*words: object) -> int:
    return main("python -m beam_jobs", "", COMMANDS, [str(word) for word in words])


def make_stream(folder: Path, count: int) -> Stream:
    """A stream of manifests and snapshots alone; every second entry has refused batches only."""
    stream = Stream(Place(folder), STREAMED)
    stream.save()
    parts: list[Part] = []
    for number in range(0, 2 * count, 2):
        splits = {}
        for split, examples in (("train", 1500), ("validation", 20)):
            shards = [ShardInfo(f"svhn-{split}.tfrecord-00000-of-00001", examples, 20 * examples, "0" * 64)]
            empty = ShardInfo(f"svhn-{split}.tfrecord-00001-of-00002", 0, 0, "0" * 64)
            splits[split] = SplitInfo(examples // 5, examples, [*shards, empty])
        manifest = Manifest("svhn", ImageInfo((9, 9, 3), "raw"), {}, 0, {}, [], splits, {"too_long": 1})
        (stream.place / directory_name(number) / "manifest.json").write([manifest.to_json().encode()])
        parts.append(part(stream, directory_name(number)))
        held = len(parts)
        totals = {"train": Total(300 * held, 1500 * held), "validation": Total(4 * held, 20 * held)}
        snapshot = Snapshot(number, list(parts), totals, {"too_long": held}, held)
        snapshot_place(stream.place, number).create(snapshot.to_json())
    return stream


def test_the_table_has_the_newest_snapshots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_stream(tmp_path, 3)
    assert call("snapshots", tmp_path, "--pin", "baseline", "2") == 0
    assert call("snapshots", tmp_path, "--pin", "run-1", "2") == 0
    assert capsys.readouterr().out.splitlines()[0] == f"snapshot 2 of {tmp_path} is kept until --unpin baseline"
    assert call("snapshots", tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "   snapshot   pictures      train  validation  directories      files   rejected  pins",
        "          0        304      1,500          20            1          2          1",
        "          2        608      3,000          40            2          4          2  baseline, run-1",
        "          4        912      4,500          60            3          6          3",
    ]


def test_twenty_are_listed_unasked_and_all_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = make_stream(tmp_path, 25)
    assert call("snapshots", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22 and lines[-1] == "5 older ones: --all lists them"
    assert lines[1].split()[0] == "10" and lines[-2].split()[0] == "48"
    assert call("snapshots", stream.place, "--all", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["snapshot"] for row in rows] == list(range(0, 50, 2))
    examples = {"train": 37_500, "validation": 500}
    counts = {"pictures": 7600, "examples": examples, "directories": 25, "files": 50, "dead_letters": {"too_long": 25}}
    assert rows[-1] == {"snapshot": 48, **counts, "pins": []}


def test_pins_are_made_and_deleted_and_what_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = make_stream(tmp_path / "stream", 2)
    assert call("snapshots", stream.place, "--pin", "a", "2") == 0
    assert pinned(stream.place) == {"a": 2}
    capsys.readouterr()
    for words, line in (
        (("--pin", "b", "1"), "and not every number is one. Received: snapshot 1"),
        (("--pin", "b", "two"), "--pin needs a name and the number of a snapshot. Received: two"),
        (("--pin", "b/c", "2"), "The name of a pin must be of"),
        (("--unpin", "b"), "has a. Received: b"),
    ):
        assert call("snapshots", stream.place, *words) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith("error: ") and line in shown.err
    assert call("snapshots", stream.place, "--unpin", "a") == 0
    assert pinned(stream.place) == {}
    assert call("snapshots", tmp_path) == 1
    assert "must be a stream: it has no stream.json" in capsys.readouterr().err


def test_a_stream_without_a_snapshot_says_so_and_a_damaged_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = make_stream(tmp_path, 0)
    assert call("snapshots", stream.place) == 0
    assert capsys.readouterr().out == f"{tmp_path} has no snapshot yet\n"
    snapshot_place(stream.place, 3).write([b"{"])
    assert call("snapshots", stream.place) == 1
    assert "snapshots/00000003.json must be a JSON object" in capsys.readouterr().err
