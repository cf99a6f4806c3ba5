"""Images of a stream from snapshot to snapshot: what is known of unchanged shards is kept, also at an address."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.growing import Growing
from tests.stores import Bucket
from tests.test_trainer_fit_follow import dealt as dealt
from tests.test_trainer_fit_follow import stream as stream
from tfrecords.dataset import snapshots
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.errors import UserError
from tfrecords.files import disk_cache
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from trainer.input.dataset import training_dataset
from trainer.input.records import Records
from trainer.run.cache_folder import CacheFolder
from trainer.run.config import TrainConfig

CONFIG = TrainConfig(global_batch_size=8)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of records parsed and of files opened, by name."""
    found: Counter[str] = Counter()
    parse, begin = ImageCache._parse, RecordFile.__init__

    def parsing(self: ImageCache, shard: int) -> list[bytes]:
        found[self.shards[shard].file] += 1
        return parse(self, shard)

    def opening(self: RecordFile, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        # Two threads may open a file at once, of which one goes.
        found[f"opened {given[0]}"] += 1

    monkeypatch.setattr(ImageCache, "_parse", parsing)
    monkeypatch.setattr(RecordFile, "__init__", opening)
    return found


def _assert_same(moved: ImageCache, fresh: ImageCache, epoch: int) -> None:
    assert (moved.shards, len(moved)) == (fresh.shards, len(fresh))
    for one, other in zip(training_dataset(moved, CONFIG, epoch), training_dataset(fresh, CONFIG, epoch), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())


def test_moved_images_are_those_of_the_snapshot_and_unchanged_shards_are_not_read_again(
    stream: Growing, parsed: Counter[str]
) -> None:
    records = Records.open(Place(stream.path), snapshot=0)
    images, _ = records.images("train"), list(training_dataset(records.images("train"), CONFIG, 0))
    list(training_dataset(images, CONFIG, 0))
    stream.grow(1, 2)
    stream.grow(2, 1)
    # One part goes, as where directories were merged or corrected, and the order is another one.
    stream.commit(3, [stream.parts[2], stream.parts[0]])
    for number in (1, 2, 3, 0):
        moved = records.at(number)
        before = set(images.shards)
        parsed.clear()
        moved.move(images, "train")
        list(training_dataset(images, CONFIG, number))
        new = set(images.shards) - before
        opened = {name for name in parsed if name.startswith("opened ")}
        assert set(parsed) - opened == {shard.file for shard in new}
        assert len(opened) == len(new)
        _assert_same(images, Records.open(Place(stream.path), snapshot=number).images("train"), 9)


def test_what_is_known_takes_no_more_memory_than_that_of_a_new_cache(stream: Growing) -> None:
    records = Records.open(Place(stream.path), snapshot=0)
    images = records.images("train")
    for number in range(1, 5):
        stream.grow(number)
        records = records.at(number)
        records.move(images, "train")
        list(training_dataset(images, CONFIG, number))
        assert set(images._parsed) == set(range(len(images.shards))) and len(images._starts) == len(images)
        assert set(records._known) == set(stream.parts)
    stream.commit(9, stream.parts[:1])
    records.at(9).move(images, "train")
    assert len(images._parsed) == len(images.shards) == 2


def test_manifests_of_unchanged_directories_are_not_read_again(
    stream: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = snapshots.part_manifest

    def reading(place: Place, part: snapshots.Part) -> Any:
        read.append(part.directory)
        return original(place, part)

    stream.grow(4)
    monkeypatch.setattr(snapshots, "part_manifest", reading)
    records = Records.open(Place(stream.path), snapshot=0)
    records.at(4)
    assert read == ["generations/00000000", "generations/00000004"]


def test_a_snapshot_that_cannot_be_used_changes_nothing(stream: Growing) -> None:
    records = Records.open(Place(stream.path), snapshot=0)
    images = records.images("train")
    stream.grow(1)
    (file,) = (stream.path / "generations" / "00000001").glob("*-train.tfrecord-*")
    file.write_bytes(b"half")
    with pytest.raises(UserError, match=r"must be of \d+ bytes, as the manifest states\. Received: 4$"):
        records.at(1).move(images, "train")
    stream.grow(2, train=0)
    stream.commit(3, stream.parts[-1:])
    for number in (3, 4):
        with pytest.raises(UserError, match=r"must hold at least one example|has the snapshots 0 to 3"):
            records.at(number).move(images, "train")
    assert len(images.take(np.arange(len(images))).keys) == len(images)
    _assert_same(images, Records.open(Place(stream.path), snapshot=0).images("train"), 1)


def test_shards_at_an_address_are_fetched_once_over_all_snapshots(
    stream: Growing, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: Counter[str] = Counter()
    fetch = disk_cache._fetch

    def counting(wanted: Any, *given: Any) -> Any:
        fetched[wanted.address.rpartition("/stream/")[2]] += 1
        return fetch(wanted, *given)

    bucket.put_folder(stream.path, "stream")
    monkeypatch.setattr(disk_cache, "_fetch", counting)
    place = Place(f"{bucket.address}/stream")
    records = Records.open(place, CacheFolder(tmp_path / "cache", 1 << 30), snapshot=0)
    images = records.images("train")
    list(training_dataset(images, CONFIG, 0))
    for number in (1, 2):
        stream.grow(number, 2)
        bucket.put_folder(stream.path, "stream")
        records = records.at(number)
        records.move(images, "train")
        list(training_dataset(images, CONFIG, number))
    _assert_same(images, Records.open(Place(stream.path), snapshot=2).images("train"), 3)
    assert fetched == dict.fromkeys((shard.file for shard in images.shards), 1) and len(fetched) == 6
    images.leave()  # type: ignore[attr-defined]
