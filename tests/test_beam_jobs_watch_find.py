"""watch --task find: streams of complete pictures with the boxes of their numbers, and of pictures without one."""

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare.config import config_from_flags
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input
from beam_jobs.watch.batch import DELETE, RELABEL, Correction
from beam_jobs.watch.cluster.job import Finder, write_shard
from beam_jobs.watch.cluster.make import ClusterMake
from beam_jobs.watch.correcting.correct import affected, correct_directory
from beam_jobs.watch.generation import plan_generation, plan_subsets
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.perform import maker
from beam_jobs.watch.stream import Stream
from tests.arriving import drop as drop_numbers
from tests.arriving import drop_table
from tests.forked import Forked, signal_before
from tests.scene_batches import MIXED, Mark, Pictures, drop, scenes
from tfrecords import Manifest
from tfrecords.__main__ import COMMANDS as TFRECORDS
from tfrecords.cli import main
from tfrecords.commands.validate import find_errors
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST
from tfrecords.dataset.reader import Scenes
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name, load_manifest, snapshot_numbers
from tfrecords.files.place import Place

Capture = pytest.CaptureFixture[str]
INTO = directory_name(0, None, 7)
MADE = (".tfrecord", ".idx", ".parquet", ".jsonl", "features.json", "dataset_info.json")
NUMBERS = {"a", "b", "c"}


def watch(inbox: Path, stream: Path, *options: str, source: str = "coco") -> int:
    """Watches until all that is there has been made."""
    flags = ["--source", source, "--input", str(inbox), "--output", str(stream), "--once", "--poll", "0.02"]
    return main("beam_jobs", "", COMMANDS, ["watch", *flags, "--settle", "0.05", *options])


FIND = [
    *("--task", "find", "--canvas", "64", "--max-length", "5", "--examples-per-shard", "6", "--workers", "1"),
    *("--validation-fraction", "0.2", "--compact", "off"),
]


def run(package: str, *words: str) -> int:
    return main(package, "", COMMANDS if package == "beam_jobs" else TFRECORDS, list(words))


def contents(folder: Path) -> dict[str, str]:
    """Returns the digest of every file of a stream that follows from its ledger and inbox."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("status.json", ".watch.lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def newest(stream: Path) -> Snapshot:
    return Snapshot.load(Place(stream), snapshot_numbers(Place(stream))[-1])


def fill(inbox: Path) -> None:
    """Drops three batches of eight pictures each, one of which has a file that is no picture."""
    for name in sorted(NUMBERS):
        drop(inbox, name, missing=["two.png"] if name == "b" else ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inbox of three batches and a stream of them, a generation each."""
    found = tmp_path_factory.mktemp("find")
    fill(found / "inbox")
    assert watch(found / "inbox", found / "stream", *FIND, "--pictures", "9") == 0
    return found


def test_pictures_with_and_without_numbers_become_snapshots_that_everything_reads(
    folder: Path, capsys: Capture
) -> None:
    stream = folder / "stream"
    assert snapshot_numbers(Place(stream)) == [0, 1, 2]
    manifest = load_manifest(stream)
    assert manifest.task == "find" and manifest.image.shape == (64, 64, 3) and manifest.image.encoding == "jpeg"
    texts = {
        f"{batch}/{name}": [each.text for each in marks if each.text]
        for batch in NUMBERS
        for name, marks in MIXED.items()
    }
    del texts["b/two.png"]
    opened = [tfrecords.open(str(stream), split) for split in manifest.splits]
    assert all(isinstance(each, Scenes) for each in opened)
    found: dict[str, Any] = {scene.key: scene for each in opened for scene in each}
    assert {key: sorted(scene.texts) for key, scene in found.items()} == texts
    assert sum(not scene.texts for scene in found.values()) == 6
    # Both numbers of the picture that is none, and the person next to a number of each batch.
    assert manifest.dead_letters == {"not_a_picture": 2, "other_class": 3}
    np.testing.assert_allclose(found["a/both.png"].boxes, [[2, 4, 16, 24]], atol=1e-4)

    for words in (["validate"], ["inspect"], ["validate", "--snapshot", "1"]):
        assert run("tfrecords", words[0], str(stream), *words[1:]) == 0
    shown = capsys.readouterr().out
    assert "task find: complete pictures" in shown and "snapshot 2 of a stream: 3 batches in 3 directories" in shown
    assert run("tfrecords", "diff", f"{stream}@0", f"{stream}@1") == 1  # they differ
    assert "7 pictures added" in capsys.readouterr().out
    assert run("beam_jobs", "status", str(stream)) == 0 and run("beam_jobs", "snapshots", str(stream)) == 0
    shown = capsys.readouterr().out
    assert "2: 3 batches, 28 entries, 23 scenes" in shown and " entries " in shown and "pictures" not in shown


def test_a_line_counts_the_pictures_without_a_number(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    drop(tmp_path / "inbox", "n", {"1.png": [], "2.png": [Mark("1", (4, 2, 20, 14)), Mark("2", (40, 20, 20, 14))]})
    assert watch(tmp_path / "inbox", tmp_path / "stream", *FIND) == 0
    shown = capsys.readouterr().out
    assert "snapshot 0: 1 batch, 3 entries, 2 scenes, 1 of them without a number, " in shown
    assert "has 1 batch, 3 entries, 2 scenes" in shown


def test_a_stream_begins_with_pictures_without_a_number_and_waits_for_each(tmp_path: Path, capsys: Capture) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    drop(inbox, "n", {"1.png": [], "2.png": []})
    late = (inbox / "n" / "2.png").rename(tmp_path / "2.png")
    assert watch(inbox, stream, *FIND) == 0
    assert "1 batch is not complete yet" in capsys.readouterr().out and not snapshot_numbers(Place(stream))
    late.rename(inbox / "n" / "2.png")
    assert watch(inbox, stream, *FIND) == 0
    assert sum(total.examples for total in newest(stream).totals.values()) == 2


def test_compact_full_makes_the_dataset_that_prepare_over_the_accepted_batches_makes(
    folder: Path, tmp_path: Path
) -> None:
    assert watch(folder / "inbox", tmp_path / "stream", *FIND, "--pictures", "9") == 0
    assert contents(tmp_path / "stream") == contents(folder / "stream")
    assert run("beam_jobs", "compact", str(tmp_path / "stream"), "--full") == 0
    (part,) = newest(tmp_path / "stream").parts
    stream = replace(Stream.load(Place(tmp_path / "stream")), place=Place(tmp_path))
    ledger = Ledger(Place(tmp_path / "stream"))
    subsets = tuple(
        subset for number in range(ledger.next) for batch in ledger.entry(number).batches for subset in batch.subsets
    )
    maker(1)(plan_subsets(stream, subsets, Place(tmp_path / "prepared")))
    made, prepared = contents(tmp_path / "stream" / part.directory), contents(tmp_path / "prepared")
    assert made == prepared and sum(".tfrecord-" in name for name in made) > 4
    assert run("tfrecords", "validate", str(tmp_path / "stream")) == 0


def _die_at(inbox: Path, stream: Path, operation: int) -> int:
    """Watches, and kills this process before its n-th operation on a file of the stream or the inbox."""
    signal_before(operation, str(stream.parent))
    return watch(inbox, stream, *FIND, "--pictures", "9")


def test_a_watcher_that_is_killed_and_started_again_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    fill(inbox)
    assert Forked(_die_at, inbox, stream, 90).wait()[0] == -signal.SIGKILL
    assert len(snapshot_numbers(Place(stream))) < 3
    assert watch(inbox, stream, *FIND, "--pictures", "9") == 0
    found, expected = contents(stream / "generations"), contents(folder / "stream" / "generations")
    assert found == expected and contents(stream / "snapshots") == contents(folder / "stream" / "snapshots")


def test_what_makes_no_sense_for_finding_is_refused(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    def said(*options: str, inbox: Path = folder / "inbox", to: Path = folder / "stream", source: str = "coco") -> str:
        assert watch(inbox, to, *options, source=source) == 1
        return capsys.readouterr().err

    new, before = tmp_path / "new", contents(folder / "stream")
    assert "The longest number of a stream must be fixed before it starts" in said("--task", "find", to=new)
    assert "leave out the flags of crops. Received: --jitters" in said(*FIND, "--jitters", "0", to=new)
    assert "no end" in said(*FIND, "--limit", "3", to=new)
    assert "canvas is for --task find" in said("--canvas", "64", "--max-length", "5", to=new)
    # Of a stream that is there, also where the value is that of its configuration.
    assert "leave out the flags of crops. Received: --jitters" in said("--jitters", "5")
    other = "was started with --task find, which cannot change: leave --task out. Received: read"
    assert other in said("--task", "read", "--jitters", "0")
    assert "was started with --canvas 64, which cannot change" in said("--canvas", "96")
    assert contents(folder / "stream") == before
    drop_numbers(tmp_path / "svhn", "a")
    assert watch(tmp_path / "svhn", tmp_path / "read", "--jitters", "0", source="svhn") == 0
    capsys.readouterr()
    found = said(*FIND, inbox=tmp_path / "svhn", to=tmp_path / "read", source="svhn")
    assert "was started with --task read, which cannot change: leave --task out. Received: find" in found
    drop_table(tmp_path / "table", "a", ["12", "7"])
    assert "no number of the input has one" in said(*FIND, inbox=tmp_path / "table", to=new, source="table")
    log = ["--source", "table", "--input", f"lines://{tmp_path}", "--output", str(tmp_path.parent / "new"), "--once"]
    assert main("beam_jobs", "", COMMANDS, ["watch", *log, *FIND]) == 1
    assert "needs all numbers of a picture, and a message has one" in capsys.readouterr().err
    assert not (new / "stream.json").exists()


def make(
    root: Path, pictures: Pictures, directory: str = directory_name(0), has_digits: bool = False, **settings: Any
) -> tuple[Stream, Part]:
    """Makes a directory of a stream from the batch a as `prepare` does."""
    flags = {"task": "find", "source": "coco", "canvas": 64, "max_length": 5, "examples_per_shard": 4, "seed": 3}
    stream = Stream(Place(root / "stream"), config_from_flags({**flags, "max_dead_fraction": 1.0, **settings}))
    batch = drop(root / "inbox", "a", pictures, has_digits=has_digits)
    (found,) = load_source("coco").find_subsets(Input(Place(batch)), stream.config.reading)
    maker(1)(plan_subsets(stream, (replace(found, name="a"),), stream.place / directory))
    digest = hashlib.sha256((stream.place.path / directory / MANIFEST).read_bytes()).hexdigest()
    return stream, Part(directory, digest)


def relabel(name: str, text: str) -> Correction:
    return Correction(f"a/{name}", RELABEL, text)


def delete(name: str) -> Correction:
    return Correction(f"a/{name}", DELETE)


def made(stream: Stream, directory: str = INTO) -> dict[str, str]:
    found = contents(stream.place.path / directory)
    return {name: digest for name, digest in found.items() if any(ending in name for ending in MADE)}


Case = tuple[list[Correction], Pictures, dict[str, Any]]
CORRECTED: dict[str, Case] = {
    "another text of the same length keeps the digits' boxes": (
        [relabel("digits.png", "98"), relabel("two.png@2", "11"), relabel("out.png", "08")],
        {
            "digits.png": [Mark("98", (6, 4, 20, 14))],
            "two.png": [Mark("56", (4, 2, 20, 14)), Mark("11", (40, 20, 20, 14))],
            "out.png": [Mark("08", (50, 8, 20, 16))],
        },
        {"has_digits": True},
    ),
    "and raw pixels": (
        [relabel("both.png@1", "9")],
        {"both.png": [Mark("9", (4, 2, 20, 14)), Mark("", (40, 20, 20, 14))]},
        {"encoding": "raw", "channels": 1},
    ),
    "a number that a record cannot hold leaves out its picture": (
        [relabel("two.png@1", "123456"), relabel("both.png@1", "1x"), relabel("pair.png@2", "5")],
        {
            "two.png": [Mark("123456", (4, 2, 20, 14)), Mark("78", (40, 20, 20, 14))],
            "both.png": [Mark("1x", (4, 2, 20, 14)), Mark("", (40, 20, 20, 14))],
            "pair.png": [Mark("3", (4, 2, 10, 14)), Mark("5", (44, 20, 10, 14))],
        },
        {},
    ),
}


@pytest.mark.parametrize(("corrections", "right", "settings"), CORRECTED.values(), ids=CORRECTED)
def test_a_corrected_directory_is_what_prepare_writes_with_those_annotations(
    corrections: list[Correction], right: Pictures, settings: dict[str, Any], tmp_path: Path
) -> None:
    own, part = make(tmp_path / "own", MIXED, **settings)
    found = affected(own.place, [part], corrections)
    assert not found.not_found
    correct_directory(own, part, found.parts[part], INTO)
    expected, _ = make(tmp_path / "expected", {**MIXED, **right}, INTO, **settings)
    assert made(own) == made(expected) != made(own, part.directory)
    ours, theirs = (Manifest.load(each.place.path / INTO) for each in (own, expected))
    assert replace(ours, files={}, sources=[]) == replace(theirs, files={}, sources=[])
    assert ours.sources[0].pictures_sha256 == theirs.sources[0].pictures_sha256
    assert not list(find_errors(own.place / INTO, ours))


def test_a_text_of_another_length_leaves_the_box_of_the_number(tmp_path: Path) -> None:
    own, part = make(tmp_path / "own", MIXED, has_digits=True)
    correct_directory(own, part, [relabel("longer.png", "345")], INTO)
    # As a batch that has only such boxes.
    expected, _ = make(tmp_path / "expected", {**MIXED, "longer.png": [Mark("345", MIXED["longer.png"][0].box)]}, INTO)
    found, wanted = (scenes(each.place.path / INTO)["a/longer.png"] for each in (own, expected))
    for name, value in wanted.to_dict().items():
        np.testing.assert_array_equal(found.to_dict()[name], value)
    assert found.texts == ("345",) and found.file == wanted.file and len(found.digit_boxes) == 0
    assert not list(find_errors(own.place / INTO, Manifest.load(own.place.path / INTO)))


def test_a_deleted_number_takes_its_picture_with_it_and_a_picture_can_be_deleted(tmp_path: Path) -> None:
    own, part = make(tmp_path, MIXED)
    corrections = [delete("two.png@2"), delete("pair.png"), relabel("pair.png@1", "8"), delete("nothing.png")]
    found = affected(own.place, [part], corrections)
    assert not found.not_found
    correct_directory(own, part, found.parts[part], INTO)
    before, after = scenes(own.place.path / part.directory), scenes(own.place.path / INTO)
    gone = {f"a/{name}" for name in ("two.png", "pair.png", "nothing.png")}
    assert before.keys() - after.keys() == gone and after.keys() < before.keys()
    assert all(after[key].file == before[key].file for key in after)
    manifest = Manifest.load(own.place.path / INTO)
    assert manifest.dead_letters == {"deleted": 5, "other_class": 1}
    assert not list(find_errors(own.place / INTO, manifest))
    rows = pq.read_table(own.place.path / INTO / ANNOTATIONS).to_pylist()
    assert {row["detail"] for row in rows if row["name"] == "two.png"} == {
        "a/two.png@2: A correction has taken out this number."
    }


def test_a_correction_that_cannot_be_made_says_why(tmp_path: Path, capsys: Capture) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    drop(inbox, "a")
    assert watch(inbox, stream, *FIND) == 0
    rows = [("two.png", "1"), ("both.png@2", "1"), ("none.png", "1"), ("nothing.png", "1")]
    lines = [json.dumps({"key": f"a/{name}", "action": "relabel", "text": text}) for name, text in rows]
    (inbox / "fix").mkdir()
    (inbox / "fix" / "corrections.jsonl").write_text("\n".join([*lines, ""]))
    capsys.readouterr()
    assert watch(inbox, stream, *FIND) == 0
    said = capsys.readouterr().err
    assert "a/two.png: a picture has no text, and its numbers have keys of their own, as a/two.png@1" in said
    assert "a/both.png@2: it has no record, since it is rejected (other_class)" in said
    assert "a/none.png: its batch has no such number" in said
    # A number is there now, and nobody says where: the picture must not teach that there is none.
    assert "so its picture is left out: a/nothing.png: A number to find must have a box" in said
    snapshot = newest(stream)
    assert snapshot.dead_letters == {"no_box": 1, "other_class": 1}
    assert (snapshot.corrections_applied, snapshot.corrections_not_found) == (1, 3)
    assert run("tfrecords", "validate", str(stream)) == 0
    # Corrections are kept when directories are merged.
    drop(inbox, "b")
    assert watch(inbox, stream, *FIND) == 0
    assert run("beam_jobs", "compact", str(stream), "--full") == 0
    (part,) = newest(stream).parts
    assert scenes(stream / part.directory).keys() == {f"{batch}/{name}" for batch in "ab" for name in MIXED} - {
        "a/nothing.png"
    }
    assert run("tfrecords", "validate", str(stream)) == 0


def test_the_shards_of_a_cluster_are_those_of_this_machine(folder: Path, tmp_path: Path) -> None:
    local = Stream.load(Place(folder / "stream"))
    stream = replace(local, place=Place(tmp_path))
    stream.save()
    entry: Entry = Ledger(local.place).entry(0)
    ended = threading.Event()

    def work() -> Iterator[str]:
        finder = Finder(stream.place)
        while not ended.wait(0.02):
            for task in finder.find():
                yield from write_shard(task, str(stream.place))

    written: list[str] = []
    thread = threading.Thread(target=lambda: written.extend(work()))
    thread.start()
    try:
        cluster = ClusterMake(stream.place, 60)
        cluster(plan_generation(stream, entry))
    finally:
        ended.set()
        thread.join()
    assert cluster.takeovers == 0 and written
    assert contents(tmp_path / "generations") == {
        name: digest
        for name, digest in contents(local.place.path / "generations").items()
        if name.startswith("00000000/")
    }
