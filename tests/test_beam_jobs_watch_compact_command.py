"""`compact`: what it prints and makes, after a kill, next to another process, and in a bucket."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.watch import perform
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.lock import lock_stream
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.upkeep import merge
from tests.drawn_streams import STREAMED, all_subsets, batch, commit, draw_batch, files, make, make_generation
from tests.stores import Bucket
from tfrecords.__main__ import COMMANDS as TFRECORDS
from tfrecords.cli import main
from tfrecords.dataset.snapshots import Part, Snapshot, snapshot_numbers
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec

CONFIG = replace(STREAMED, crop=CropSpec(jitters=0), examples_per_shard=5)


def call(*words: object) -> int:
    return main("python -m beam_jobs", "", COMMANDS, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Batch]]:
    """A stream of five generations of a batch each, and the batches."""
    folder = tmp_path_factory.mktemp("made")
    stream, parts, batches = Stream(Place(folder / "stream"), CONFIG), list[Part](), list[Batch]()
    stream.save()
    ledger = Ledger(stream.place)
    for number in range(5):
        batches.append(batch(draw_batch(drawn / "train", folder / "inbox" / f"b{number}", 4 * number, 4)))
        ledger.append(Entry(number, batches=batches[-1:]))
        parts = [*parts, make_generation(stream, number, batches[-1:])]
        commit(stream, number, parts, number + 1)
    return folder / "stream", batches


@pytest.fixture
def stream(made: tuple[Path, list[Batch]], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made[0], tmp_path / "stream"))


def keys(stream: Path) -> set[str]:
    return {example.key for split in ("train", "validation") for example in tfrecords.open(stream, split)}


def test_what_is_due_is_merged_and_readers_find_the_same_examples(
    stream: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = keys(stream)
    capsys.readouterr()
    assert call("compact", stream) == 0
    assert capsys.readouterr().out == (
        "snapshot 5: 5 directories became 1: 4 files instead of 9, in "
        f"{stream}/generations/00000000-00000004\n"
        f"{stream}: snapshot 5 has 1 directory in 4 files, and nothing is left to merge\n"
    )
    assert keys(stream) == before
    assert main("tfrecords", "", TFRECORDS, ["validate", str(stream / "generations/00000000-00000004")]) == 0
    assert len(list((stream / "generations").iterdir())) == 6, "the old ones are kept"
    assert Ledger(Place(stream)).open == []


def test_full_makes_one_directory_and_then_nothing(
    stream: Path, made: tuple[Path, list[Batch]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("compact", stream, "--full") == 0
    assert "snapshot 5: 5 directories became 1:" in capsys.readouterr().out
    make(plan_subsets(Stream.load(Place(stream)), all_subsets(made[1]), Place(tmp_path / "prepared")))
    assert files(stream / "generations/00000000-00000004") == files(tmp_path / "prepared")
    capsys.readouterr()
    assert call("compact", stream, "--full") == 0
    assert "nothing is left to merge" in capsys.readouterr().out
    assert snapshot_numbers(Place(stream)) == [0, 1, 2, 3, 4, 5]


def test_after_a_kill_the_merge_that_the_ledger_has_is_finished(
    stream: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merge, "publish_dataset", kill)
        assert call("compact", stream, "--full") == 130
    assert [entry.entry for entry in Ledger(Place(stream)).open] == [5]
    capsys.readouterr()
    assert call("compact", stream, "--full") == 0
    assert capsys.readouterr().out.startswith("snapshot 5: 5 directories became 1:")


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert call(*words) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    return shown.err


def test_it_refuses_what_it_cannot_merge(stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no stream: it has no stream.json" in refusal(capsys, "compact", tmp_path)
    with lock_stream(Place(stream)):
        assert "Another process" in refusal(capsys, "compact", stream)
    Ledger(Place(stream)).append(Entry(5, batches=[Ledger(Place(stream)).entry(0).batches[0]]))
    line = "has a generation that is not finished: start watch again, which finishes it. Received: entry 5"
    assert line in refusal(capsys, "compact", stream)
    Stream(Place(tmp_path / "empty"), CONFIG).save()
    assert "must have a snapshot" in refusal(capsys, "compact", tmp_path / "empty")


def damage(stream: Path, generation: int) -> Path:
    """Cuts a shard of a generation; returns it."""
    shard = next((stream / f"generations/{generation:08d}").glob("*train.tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    return shard


def test_a_damaged_directory_stays_as_it_is_and_its_neighbours_are_merged(
    stream: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard, before = damage(stream, 4), Snapshot.load(Place(stream), 4)
    capsys.readouterr()
    assert call("compact", stream) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"warning: 5 directories stay as they are, and are not merged: {shard} must have")
    assert shown.err.count("\n") == 1
    assert shown.out.startswith("snapshot 7: 4 directories became 1: ")
    assert "nothing is left to merge" in shown.out
    assert Snapshot.load(Place(stream), 5) == replace(before, snapshot=5)
    assert snapshot_numbers(Place(stream)) == [0, 1, 2, 3, 4, 5, 7]
    ledger = Ledger(Place(stream))
    assert (ledger.open, ledger.effective(ledger.entry(5)).merges) == ([], [])
    (refusal,) = ledger.entry(6).refusals
    assert (refusal.name, refusal.reason, refusal.entry) == ("generations/00000000-00000004", "damaged", 5)
    assert main("tfrecords", "", TFRECORDS, ["validate", str(stream)]) == 1
    assert shard.name in capsys.readouterr().err


def test_full_says_in_one_line_which_directory_is_damaged_and_leaves_the_rest(
    stream: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Snapshot.load(Place(stream), 4)
    shard = damage(stream, 2)
    assert f"{shard} must have" in refusal(capsys, "compact", stream, "--full")
    assert Snapshot.load(Place(stream), 5) == replace(before, snapshot=5)
    assert not (stream / "generations/00000000-00000004/manifest.json").exists()


def test_after_a_repair_the_next_call_merges(stream: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = next((stream / "generations/00000002").glob("*train.tfrecord*"))
    good = shard.read_bytes()
    damage(stream, 2)
    refusal(capsys, "compact", stream, "--full")
    shard.write_bytes(good)
    assert call("compact", stream, "--full") == 0
    assert capsys.readouterr().out.startswith("snapshot 7: 5 directories became 1:")


def test_killed_before_the_snapshot_the_next_call_closes_the_merge_as_the_ledger_says(
    stream: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = next((stream / "generations/00000002").glob("*train.tfrecord*"))
    good = shard.read_bytes()
    damage(stream, 2)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(perform, "commit", kill)
        assert call("compact", stream, "--full") == 130
    shard.write_bytes(good)
    assert call("compact", stream, "--full") == 0
    assert Snapshot.load(Place(stream), 5).parts == Snapshot.load(Place(stream), 4).parts
    assert len(Snapshot.load(Place(stream), 7).parts) == 1


def test_a_stream_in_a_bucket(stream: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.put_folder(stream, "stream")
    assert call("compact", f"{bucket.address}/stream") == 0
    assert "snapshot 5: 5 directories became 1: 4 files instead of 9" in capsys.readouterr().out
    assert call("compact", stream) == 0
    merged, place = stream / "generations/00000000-00000004", Place(bucket.address) / "stream"
    found = place / "generations/00000000-00000004"
    assert {name: (found / name).read_bytes() for name in found.names()} == files(merged)
    assert not [name for name in place.names() if "claim" in name]
