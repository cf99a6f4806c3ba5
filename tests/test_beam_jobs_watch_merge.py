"""Directories of a stream merged to one: the bytes of one `prepare`, resumed after kills, refused where damaged."""

import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.ledger import DamagedError
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.upkeep import merge
from beam_jobs.watch.upkeep.merge import merge_directories
from tests.drawn_streams import STREAMED, all_subsets, batch, draw_batch, files, make, make_generation, part
from tests.forked import Forked, signal_before
from tests.stores import Bucket
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import Manifest, WorkerVersions
from tfrecords.dataset.snapshots import Part, part_manifest
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec

WHOLE = replace(STREAMED, crop=CropSpec(jitters=0))
BACKGROUNDS = replace(STREAMED, backgrounds=0.5, test_fraction=0.2)
PNG = replace(WHOLE, encoding="png", examples_per_shard=7)


@pytest.fixture
def batches(drawn: Path, tmp_path: Path) -> list[Batch]:
    """Batches of a few pictures, some of which are rejected, and one that is published for test."""
    damage = ("missing", "cut", "long")
    sizes = ((0, 11), (11, 1), (12, 17), (29, 7), (36, 9))
    inbox = tmp_path / "inbox"
    found = [
        batch(draw_batch(drawn / "train", inbox / f"b{first}", first, count, damage if count > 8 else ()))
        for first, count in sizes
    ]
    return [*found, batch(draw_batch(drawn / "test", inbox / "more", 0, 8), "test")]


def generations(stream: Stream, batches: list[Batch]) -> list[Part]:
    """Makes three generations: of two batches, of three, and of the one that is for test alone."""
    first, second, third = sorted(batches[:2], key=lambda each: each.name), batches[2:5], batches[5:]
    return [make_generation(stream, number, each) for number, each in ((0, first), (3, second), (4, third))]


@pytest.mark.parametrize("config", [STREAMED, WHOLE, BACKGROUNDS, PNG], ids=["jitters", "whole", "backgrounds", "png"])
def test_compact_full_makes_the_shards_that_prepare_over_the_accepted_batches_makes(
    batches: list[Batch], tmp_path: Path, config: PrepareConfig
) -> None:
    """Guarantee 5: every file, byte for byte."""
    stream = Stream(Place(tmp_path / "stream"), config)
    parts = generations(stream, batches)
    merge_directories(stream, parts, "generations/00000000-00000004")
    plan = plan_subsets(stream, all_subsets(batches), Place(tmp_path / "prepared"))
    make(plan)
    merged, prepared = files(tmp_path / "stream/generations/00000000-00000004"), files(tmp_path / "prepared")
    assert merged.keys() == prepared.keys()
    assert [name for name in merged if merged[name] != prepared[name]] == []
    assert any(b"missing" in data for name, data in merged.items() if name == "dead_letters.jsonl")
    assert len([name for name in merged if ".tfrecord" in name]) >= 3
    assert part(stream, "generations/00000000-00000004").first == 0


def test_a_merge_of_merged_and_corrected_directories_is_one_of_all(
    drawn: Path, batches: list[Batch], tmp_path: Path
) -> None:
    """The second generation was corrected, here as if its batch had come with other pictures under the same name."""
    stream = Stream(Place(tmp_path / "stream"), STREAMED)
    first, second, third = generations(stream, batches)
    other = batch(draw_batch(drawn / "train", tmp_path / "other" / batches[2].name, 13, 5))
    corrected = [other, *batches[3:5]]
    make(plan_subsets(stream, all_subsets(corrected), stream.place / "generations/00000003.00000005"))
    second = part(stream, "generations/00000003.00000005")
    merge_directories(stream, [first, second], "generations/00000000-00000003")
    merged = part(stream, "generations/00000000-00000003")
    merge_directories(stream, [merged, third], "generations/00000000-00000004")
    make(plan_subsets(stream, all_subsets([*batches[:2], *corrected, *batches[5:]]), Place(tmp_path / "prepared")))
    assert files(tmp_path / "stream/generations/00000000-00000004") == files(tmp_path / "prepared")


def test_pictures_without_boxes_merge_too(batches: list[Batch], tmp_path: Path) -> None:
    whole = CropSpec(crop_size=STREAMED.crop.record_size, jitters=0)
    stream = Stream(Place(tmp_path / "stream"), replace(STREAMED, crop=whole), has_boxes=False)
    merge_directories(stream, generations(stream, batches), "generations/00000000-00000004")
    make(plan_subsets(stream, all_subsets(batches), Place(tmp_path / "prepared")))
    assert files(tmp_path / "stream/generations/00000000-00000004") == files(tmp_path / "prepared")


def _kill_at(stream: Stream, parts: list[Part], into: str, operation: int) -> int:
    """Merges, and kills the process before its n-th operation on a file below the new directory."""
    signal_before(operation, into, events=("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"))
    merge_directories(stream, parts, into)
    return 0


def test_killed_at_any_operation_a_merge_is_complete_or_absent_and_the_next_try_makes_the_same_bytes(
    batches: list[Batch], tmp_path: Path
) -> None:
    stream, into = Stream(Place(tmp_path / "stream"), STREAMED), "generations/00000000-00000004"
    parts, operation = generations(stream, batches), 1
    codes: list[int] = []
    before = files(tmp_path / "stream")
    while not codes or codes[-1]:
        codes.append(Forked(_kill_at, stream, parts, into, operation).wait()[0])
        assert codes[-1] in (0, -signal.SIGKILL)
        found = files(tmp_path / "stream")
        assert before.items() <= found.items()
        if f"{into}/manifest.json" in found:
            part_manifest(stream.place, part(stream, into))
            assert all(found.get(f"{into}/{name}") for name in manifest_files(found[f"{into}/manifest.json"]))
        operation += 29
    assert len(codes) > 3
    make(plan_subsets(stream, all_subsets(batches), Place(tmp_path / "prepared")))
    assert files(tmp_path / "stream" / into) == files(tmp_path / "prepared")


def manifest_files(data: bytes) -> set[str]:
    """Returns the names of all files that a manifest names."""
    manifest = Manifest.parse(data, "manifest.json")
    return {shard.file for info in manifest.splits.values() for shard in info.shards} | manifest.files.keys()


def test_a_complete_merge_is_kept_and_a_complete_shard_too(
    batches: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, into = Stream(Place(tmp_path / "stream"), STREAMED), "generations/00000000-00000004"
    parts = generations(stream, batches)

    def fail(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="power cut"):
        patch.setattr(merge, "publish_dataset", fail)
        merge_directories(stream, parts, into)
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_locate", fail)
        merge_directories(stream, parts, into)
    made = files(tmp_path / "stream" / into)
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_write_shards", fail)
        merge_directories(stream, parts, into)
    assert files(tmp_path / "stream" / into) == made


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("manifest.json", lambda data: data + b"\n", "manifest.json must have the digest"),
        ("annotations.parquet", lambda data: data[:-1], "annotations.parquet must be the file that the manifest"),
        ("svhn-train.tfrecord-*", lambda data: data[:-9], "must have .* records in .* bytes"),
        ("svhn-train.tfrecord-*", lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:], "checksum is wrong"),
    ],
    ids=["manifest", "rows", "cut", "flipped"],
)
def test_a_damaged_directory_is_named_and_nothing_is_published(
    batches: list[Batch], tmp_path: Path, name: str, change: Callable[[bytes], bytes], line: str
) -> None:
    stream = Stream(Place(tmp_path / "stream"), replace(STREAMED, max_dead_fraction=1.0))
    parts = [make_generation(stream, 0, batches[:1]), make_generation(stream, 1, batches[1:3])]
    (path,) = sorted((tmp_path / "stream" / parts[1].directory).glob(name))[:1]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedError, match=line) as raised:
        merge_directories(stream, parts, "generations/00000000-00000001")
    assert raised.value.directory == parts[1].directory and parts[1].directory in str(raised.value)
    assert not (tmp_path / "stream/generations/00000000-00000001/manifest.json").exists()


def test_versions_that_made_records_are_those_of_the_newest_part_and_others_are_named(
    batches: list[Batch], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Stream(Place(tmp_path / "stream"), STREAMED)
    parts = generations(stream, batches)
    for number, each in enumerate(parts[:2]):
        place = stream.place / each.directory / "manifest.json"
        manifest = Manifest.parse(place.read_bytes(), "")
        place.write([replace(manifest, versions={**manifest.versions, "numpy": "1.0"}).to_json().encode()])
        parts[number] = part(stream, each.directory)
    ours = Manifest.load(stream.place / parts[2].directory).versions
    theirs = {**ours, "numpy": "1.0"}
    merge_directories(stream, parts[:2], "generations/00000000-00000003")
    old = Manifest.load(stream.place / "generations/00000000-00000003")
    assert (old.versions, old.worker_versions) == (theirs, [])
    merge_directories(
        stream, [part(stream, "generations/00000000-00000003"), parts[2]], "generations/00000000-00000004"
    )
    new = Manifest.load(stream.place / "generations/00000000-00000004")
    assert (new.versions, new.worker_versions) == (ours, [WorkerVersions(theirs, 0)])
    capsys.readouterr()
    assert main("tfrecords", "", COMMANDS, ["inspect", str(tmp_path / "stream/generations/00000000-00000004")]) == 0
    assert capsys.readouterr().out.endswith("\n  some records by workers with numpy 1.0\n")


def test_a_merge_in_a_bucket_makes_the_same_bytes_and_leaves_no_copies(
    batches: list[Batch], tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Stream(Place(tmp_path / "stream"), STREAMED)
    parts = generations(local, batches)
    into = "generations/00000000-00000004"
    bucket.put_folder(tmp_path / "stream", "a stream")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    in_store = Stream(Place(bucket.address) / "a stream", STREAMED)
    shard = next(name for name in in_store.place.walk() if name.startswith(parts[0].directory) and ".tfrecord-" in name)
    good = (in_store.place / shard).read_bytes()
    (in_store.place / shard).delete()
    with pytest.raises(DamagedError, match="must be there") as raised:
        merge_directories(in_store, parts, into)
    assert raised.value.directory == parts[0].directory
    (in_store.place / shard).write([good])
    merge_directories(in_store, parts, into)
    assert list((tmp_path / "temporary").iterdir()) == []
    merge_directories(local, parts, into)
    place = Place(bucket.address) / "a stream" / into
    assert {name: (place / name).read_bytes() for name in place.names()} == files(tmp_path / "stream" / into)
    assert not [name for name in place.walk() if "/" in name]
