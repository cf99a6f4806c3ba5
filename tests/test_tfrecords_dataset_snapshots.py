"""Snapshots of a stream: one manifest of several directories, opened by every reader; and what is wrong with them."""

import dataclasses
import hashlib
import json
import pickle
import shutil
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import tfrecords
from tests.examples import assert_equal_examples
from tests.stores import Bucket
from tests.streams import Grown, make_stream
from tfrecords import Manifest, UserError
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import MANIFEST, ImageInfo, ShardInfo, SourceInfo, SplitInfo
from tfrecords.dataset.snapshots import (
    Part,
    Snapshot,
    Total,
    check_stream,
    directory_name,
    find_snapshot,
    flatten,
    is_stream,
    load_content,
    load_manifest,
    merge_manifests,
    number_name,
    numbers_in,
    snapshot_numbers,
    snapshot_place,
)
from tfrecords.files.place import Place

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "tfrecords" / "manifest.schema.json").read_text())


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """A stream of three batches in the snapshots 0, 1 and 3. Copy it to write to it."""
    return make_stream(tmp_path_factory.mktemp("grown"))


@pytest.fixture
def copy(grown: Grown, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown.folder, tmp_path / "stream"))


def _keys(directory: object, split: str = "train", snapshot: int | None = None) -> list[str]:
    return [example.key for example in tfrecords.open(str(directory), split, snapshot=snapshot)]


def test_names_of_directories_and_files_come_back() -> None:
    for name, first, last in (
        (directory_name(42), 42, 42),
        (directory_name(0, 63), 0, 63),
        (directory_name(0, 63, 70), 0, 63),
        (directory_name(5, 5, 9), 5, 5),
    ):
        part = Part(name, "0" * 64)
        assert (part.first, part.last) == (first, last), name
    assert directory_name(7, 7) == directory_name(7) == "generations/00000007"
    names = [number_name(41), number_name(3), "status.json", "0000004.json", "00000042.json.tmp", ".00000042.json"]
    assert numbers_in(names) == [3, 41]


def test_a_snapshot_comes_back_and_equal_ones_have_equal_bytes(grown: Grown) -> None:
    assert snapshot_numbers(grown.place) == [0, 1, 3]
    snapshot = Snapshot.load(grown.place, 3)
    assert snapshot.to_json() == snapshot_place(grown.place, 3).read_bytes()
    assert [part.first for part in snapshot.parts] == [0, 1, 3] and snapshot.batches == 3
    assert is_stream(grown.place) and not is_stream(grown.place / "generations" / "00000000")
    assert snapshot_numbers(grown.place / "generations") == []


def test_the_manifest_of_the_stream_is_one_that_every_reader_and_the_schema_accept(grown: Grown) -> None:
    content = json.loads((grown.folder / MANIFEST).read_text())
    assert list(Draft202012Validator(SCHEMA).iter_errors(content)) == []
    manifest = Manifest.load(grown.folder)
    assert manifest.to_json().encode() == (grown.folder / MANIFEST).read_bytes()
    assert manifest == load_manifest(grown.folder, 3)
    parts = [Manifest.load(grown.folder / part.directory) for part in grown.parts]
    for name, info in manifest.splits.items():
        assert info.examples == sum(part.splits[name].examples for part in parts)
        assert info.pictures == sum(part.splits[name].pictures for part in parts)
    (source,) = manifest.sources
    assert source.pictures == source.accepted + source.rejected == 36
    assert manifest.dead_letters == {"not_a_picture": 1} and source.rejected == 1


def test_a_snapshot_holds_what_its_directories_hold_and_what_arrives_later_changes_nothing(grown: Grown) -> None:
    assert load_content(grown.folder, 3)[0] == (grown.folder / MANIFEST).read_bytes()
    earlier: list[str] = []
    for number in (0, 1, 3):
        keys = _keys(grown.folder, snapshot=number)
        assert keys[: len(earlier)] == earlier and len(set(keys)) == len(keys)
        earlier = keys
    assert _keys(grown.folder) == earlier
    assert {key.partition("/")[0] for key in earlier} == {"mon", "tue", "wed"}
    directories = [grown.folder / part.directory for part in grown.parts]
    assert earlier == [key for directory in directories for key in _keys(directory)]


def test_a_merged_directory_has_the_same_examples(tmp_path: Path) -> None:
    grown = make_stream(tmp_path)
    before = {example.key: example for example in tfrecords.open(grown.folder, "train")}
    grown.merge(4, 3)
    after = tfrecords.open(grown.folder, "train")
    assert {part.directory for part in Snapshot.load(grown.place, 4).parts} == {"generations/00000000-00000003"}
    assert len(after) == len(before)
    for example in after:
        assert_equal_examples(example, before[example.key])
    assert find_snapshot(grown.folder, Manifest.load(grown.folder)).snapshot == 4  # type: ignore[union-attr]


def test_examples_batches_and_the_cache_of_images_read_a_stream_in_any_process(grown: Grown) -> None:
    examples = tfrecords.open(grown.folder, "train", snapshot=1)
    assert_equal_examples(pickle.loads(pickle.dumps(examples))[3], examples[3])
    assert examples.identity != tfrecords.open(grown.folder, "train").identity
    assert examples.identity == tfrecords.open(grown.folder, "train", manifest=load_manifest(grown.place, 1)).identity
    batches = list(tfrecords.Batches(examples, 16, seed=1))
    assert sorted(key for batch in batches for key in batch["key"]) == sorted(_keys(grown.folder, snapshot=1))
    cache = ImageCache(grown.folder, "train", load_manifest(grown.folder, 1))
    taken = cache.take(batches[0]["digits"].sum(1) * 0 + 2)
    assert taken.keys[0].decode() == examples[2].key and (taken.images[0] == examples[2].image).all()


def test_a_snapshot_that_is_not_there_is_one_line_that_says_what_is(grown: Grown, records: Path) -> None:
    for number, said in ((2, "the snapshots 0 to 3, and not every number is one"), (4, "the snapshots 0 to 3.")):
        with pytest.raises(UserError) as error:
            tfrecords.open(grown.folder, "train", snapshot=number)
        assert said in str(error.value) and f"Received: snapshot {number}" in str(error.value)
    with pytest.raises(UserError, match=r"is no stream, and has no snapshots: it has no stream.json\. Received: snap"):
        tfrecords.open(records, "train", snapshot=0)
    with pytest.raises(UserError, match="is no stream"):
        check_stream(Place(records), 3)
    with pytest.raises(UserError, match="Either a manifest must be given, or the number of a snapshot"):
        tfrecords.open(grown.folder, "train", snapshot=1, manifest=load_manifest(grown.folder))


def test_a_stream_before_its_first_picture_says_so(tmp_path: Path) -> None:
    grown = Grown(tmp_path / "stream")
    with pytest.raises(UserError, match=r"has no manifest\.json yet"):
        tfrecords.open(grown.folder, "train")
    with pytest.raises(UserError, match=r"has no snapshot\. Received: snapshot 0"):
        tfrecords.open(grown.folder, "train", snapshot=0)
    # As the snapshot of an entry whose only batch was dropped.
    assert snapshot_place(grown.place, 0).create(Snapshot(0, [], {}, {}, 0).to_json())
    with pytest.raises(UserError, match="must name a directory with pictures"):
        tfrecords.open(grown.folder, "train", snapshot=0)


def test_a_damaged_file_is_named(copy: Path) -> None:
    stream = Place(copy)
    part = copy / "generations" / "00000001" / MANIFEST
    whole = part.read_bytes()
    part.write_bytes(whole + b" ")
    with pytest.raises(UserError, match=r"generations/00000001/manifest.json must have the digest .* snapshot names"):
        load_manifest(copy, 3)
    load_manifest(copy, 0)
    part.unlink()
    with pytest.raises(UserError, match=r"generations/00000001/manifest.json: a snapshot names this .* is missing"):
        load_manifest(copy, 1)
    part.write_bytes(whole)
    place = snapshot_place(stream, 3).path
    content = place.read_bytes()
    for damaged, said in (
        (content[:100], "must be a JSON object"),
        (b"", "must be a JSON object"),
        (content.replace(b'"snapshot": 3', b'"snapshot": 4'), "must be snapshot 3 in version 1"),
        (content.replace(b'"version": 1', b'"version": 2'), "must be snapshot 3 in version 1"),
        (content.replace(b"generations/", b"../other/", 1), "must be the path of a generation"),
        (content.replace(b"generations/00000000", b"/etc/generations/00000000"), "must be the path of a generation"),
        (content.replace(b'"batches": 3', b'"batches": -3'), "must be an integer of 0"),
    ):
        assert damaged != content
        place.write_bytes(damaged)
        with pytest.raises(UserError, match=said):
            load_manifest(copy, 3)


def test_a_split_without_an_example_keeps_a_shard_as_the_schema_demands(grown: Grown) -> None:
    manifests = [Manifest.load(grown.folder / part.directory) for part in grown.parts]
    empty = SplitInfo(0, 0, [dataclasses.replace(manifests[0].splits["validation"].shards[0], examples=0)])
    without = [dataclasses.replace(one, splits={**one.splits, "validation": empty}) for one in manifests]
    for count in (1, 3):
        merged = merge_manifests(grown.parts[:count], without[:count])
        assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(merged.to_json()))) == []
        assert len(merged.splits["validation"].shards) == 1
    merged = merge_manifests(grown.parts, [*without[:2], manifests[2]])
    assert [shard.examples for shard in merged.splits["validation"].shards] == [
        manifests[2].splits["validation"].examples
    ]


def test_splits_come_in_their_order_and_sizes_that_differ_are_none(grown: Grown) -> None:
    manifests = [Manifest.load(grown.folder / part.directory) for part in grown.parts]
    test = {"test": manifests[0].splits["validation"]}
    other = dataclasses.replace(manifests[0], splits=test, image=ImageInfo((60, 60, 3), "raw"))
    merged = merge_manifests(grown.parts[:2], [other, manifests[1]])
    assert list(merged.splits) == ["train", "validation", "test"] and merged.image.shape == (None, None, 3)
    assert merge_manifests(grown.parts[1:2], manifests[1:2]).image == manifests[1].image


def test_versions_of_directories_that_differ_are_counted_by_shards(grown: Grown) -> None:
    manifests = [Manifest.load(grown.folder / part.directory) for part in grown.parts]
    old = {**manifests[0].versions, "numpy": "1.0"}
    merged = merge_manifests(grown.parts, [dataclasses.replace(manifests[0], versions=old), *manifests[1:]])
    assert merged.versions == manifests[2].versions
    assert [(each.versions["numpy"], each.shards) for each in merged.worker_versions] == [("1.0", 2)]


def test_manifest_and_snapshot_that_a_killed_writer_left_apart_are_told_apart(copy: Path) -> None:
    manifest = load_manifest(copy, 1)
    (copy / MANIFEST).write_text(manifest.to_json())
    assert find_snapshot(copy, Manifest.load(copy)).snapshot == 1  # type: ignore[union-attr]
    assert find_snapshot(copy, dataclasses.replace(manifest, splits={})) is None
    assert find_snapshot(copy, manifest, 3).snapshot == 3  # type: ignore[union-attr]


def test_ten_thousand_directories_become_one_manifest(grown: Grown) -> None:
    manifest = Manifest.load(grown.folder / grown.parts[0].directory)
    parts = [Part(directory_name(number), "0" * 64) for number in range(10_000)]
    merged = merge_manifests(parts, [manifest] * len(parts))
    assert len(merged.splits["train"].shards) == len(parts)
    assert merged.splits["train"].examples == len(parts) * manifest.splits["train"].examples


def test_a_manifest_that_was_read_before_is_not_read_again(copy: Path) -> None:
    stream, known = Place(copy), {}  # type: ignore[var-annotated]
    flatten(stream, Snapshot.load(stream, 1), known)
    (copy / "generations" / "00000000" / MANIFEST).unlink()
    assert flatten(stream, Snapshot.load(stream, 3), known) == Manifest.load(copy)
    assert len(known) == 3
    flatten(stream, Snapshot.load(stream, 0), known)
    assert [part.directory for part in known] == ["generations/00000000"]


def test_a_stream_in_a_store_opens_as_one_on_this_machine(grown: Grown, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_folder(grown.folder, "data/stream")
    address = f"{bucket.address}/data/stream"
    assert snapshot_numbers(Place(address)) == [0, 1, 3]
    for number in (None, 1):
        ours, theirs = (tfrecords.open(each, "train", snapshot=number) for each in (grown.folder, address))
        assert ours.identity == theirs.identity
        assert_equal_examples(theirs[-1], ours[-1])
    cached = tfrecords.open(address, "validation", cache=tmp_path / "cache")
    assert [example.key for example in cached] == _keys(grown.folder, "validation")
    with pytest.raises(UserError, match="has the snapshots 0 to 3, and not every number is one"):
        tfrecords.open(address, "train", snapshot=2)
    assert find_snapshot(address, Manifest.load(address)).snapshot == 3  # type: ignore[union-attr]


def test_totals_and_digests_are_those_of_a_hand_made_stream(tmp_path: Path) -> None:
    shard = ShardInfo("svhn-train.tfrecord-00000-of-00001", 2, 100, "a" * 64)
    source = SourceInfo("mon", 3, 2, 1, "b" * 64, "c" * 64)
    manifest = Manifest("svhn", ImageInfo((54, 54, 3), "raw"), {"source": "svhn"}, 0, {"streetdigits": "1"}, [source],
                        {"train": SplitInfo(2, 2, [shard])}, {"unreadable": 1})  # fmt: skip
    data = manifest.to_json().encode()
    stream = Place(tmp_path)
    (tmp_path / directory_name(0)).mkdir(parents=True)
    (tmp_path / directory_name(0) / MANIFEST).write_bytes(data)
    part = Part(directory_name(0), hashlib.sha256(data).hexdigest())
    flat = flatten(stream, Snapshot(0, [part], {"train": Total(2, 2)}, {"unreadable": 1}, 1))
    assert flat.splits["train"].shards[0].file == "generations/00000000/svhn-train.tfrecord-00000-of-00001"
    assert flat.sources[0].annotations_sha256 == hashlib.sha256(b"mon " + b"b" * 64 + b"\n").hexdigest()
    assert flat.dead_letters == {"unreadable": 1} and flat.files == {}


def test_a_reader_next_to_a_writer_sees_whole_snapshots_and_never_goes_back(grown: Grown, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(grown.folder, tmp_path / "stream"))
    contents = [load_content(copy, number)[0] for number in (0, 1, 3)]
    sizes = [load_manifest(copy, number).splits["train"].examples for number in (0, 1, 3)]
    for path in (copy / "snapshots").iterdir():
        path.unlink()

    def write() -> None:
        for number, content in zip((0, 1, 3), contents, strict=True):
            assert snapshot_place(Place(copy), number).create(snapshot_place(grown.place, number).read_bytes())
            (Place(copy) / MANIFEST).write([content])
            time.sleep(0.05)

    (copy / MANIFEST).write_bytes(contents[0])
    writer = threading.Thread(target=write)
    writer.start()
    seen, numbers = [], []
    while writer.is_alive():
        examples = tfrecords.open(copy, "train")
        assert sum(1 for _ in examples) == len(examples)
        seen.append(len(examples))
        numbers.append(snapshot_numbers(Place(copy)))
    writer.join()
    assert seen == sorted(seen) and set(seen) <= set(sizes) and len(set(seen)) > 1
    assert all(before == after[: len(before)] for before, after in pairwise(numbers))
    assert len(tfrecords.open(copy, "train")) == sizes[-1]
