"""Batches of a dataset in a bucket: those of a local one, from shards that arrive ahead of their use."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.failing_proxy import Proxy, Reset, Stall, Status
from tests.stores import Bucket
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from tfrecords.files.disk_cache import CacheFullError
from tfrecords.files.place import Place
from trainer.fit.errors import readable
from trainer.input import shuffle
from trainer.input.cached import CachedImages, Fetcher, leave_all
from trainer.input.dataset import split_dataset, training_dataset
from trainer.input.records import Records
from trainer.run.cache_folder import CacheFolder, default_folder
from trainer.run.config import TrainConfig

CONFIG = TrainConfig(global_batch_size=32)
LARGE = 1 << 30


@pytest.fixture(scope="module")
def records(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of nine training shards."""
    folder = tmp_path_factory.mktemp("cached") / "svhn"
    options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), "--jitters", "3", "--shards", "9"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options, "--validation-fraction", "0"]) == 0
    return folder


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two shards."""
    monkeypatch.setattr(shuffle, "WINDOW_BYTES", 1)


def _records(records: Path, bucket: Bucket, cache: Path, max_bytes: int = LARGE) -> Records:
    bucket.put_folder(records, "records")
    return Records.open(Place(f"{bucket.address}/records"), CacheFolder(cache, max_bytes))


def _least(records: Records, split: str) -> int:
    """Returns the smallest bound that is accepted: eight shards, four windows of two."""
    return 4 * sum(sorted((shard.bytes for shard in records.manifest.split(split).shards), reverse=True)[:2])


def _same(batches: tf.data.Dataset, others: tf.data.Dataset) -> int:
    count = 0
    for one, other in zip(batches, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())
        count += 1
    return count


def test_epochs_from_a_bucket_are_those_of_local_data_also_where_the_cache_is_too_small(
    records: Path, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Records.open(records).images("train")
    large = _records(records, bucket, tmp_path / "large")
    total = sum(shard.bytes for shard in large.manifest.split("train").shards)
    # As if the shards were smaller next to the dataset.
    monkeypatch.setattr("trainer.input.cached._WINDOWS", 2)
    bound = _least(large, "train") // 2
    assert bound < 0.7 * total
    small = Records.open(large.directory, CacheFolder(tmp_path / "small", bound))
    for each in (large, small):
        images = each.images("train")
        for epoch, start in ((0, 0), (1, 3), (2, 0)):
            expected = training_dataset(local, CONFIG, epoch, start)
            assert _same(training_dataset(images, CONFIG, epoch, start), expected) > 1
            kept = sum(path.stat().st_size for path in (tmp_path / "small").rglob("*") if path.is_file())
            assert kept <= bound
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1 and notes[0].startswith(f"note: the split train of {bucket.address}/records has ")
    assert notes[0].endswith(" GB: shards are fetched again in each epoch")
    assert _same(split_dataset(large.images("test"), 7), split_dataset(Records.open(records).images("test"), 7)) == 3


def test_a_second_epoch_and_a_second_process_fetch_nothing(
    records: Path, proxy: Proxy, s3_endpoint: str, tmp_path: Path
) -> None:
    found = _records(records, Bucket(s3_endpoint), tmp_path / "cache")
    images = found.images("train")
    list(training_dataset(images, CONFIG, 0))
    count = proxy.count("GET", "svhn-train.tfrecord")
    assert count >= len(images.shards)
    list(training_dataset(images, CONFIG, 1))
    # Another process of the host, as far as the folder is concerned.
    list(training_dataset(Records.open(found.directory, found.cache).images("train"), CONFIG, 0))
    assert proxy.count("GET", "svhn-train.tfrecord") == count


def test_the_first_batch_does_not_wait_for_the_last_shard(
    records: Path, proxy: Proxy, s3_endpoint: str, tmp_path: Path
) -> None:
    images = _records(records, Bucket(s3_endpoint), tmp_path / "cache").images("train")
    order = np.argsort([shard.file for shard in images.shards])
    last = images.shards[int(order[-1])]
    proxy.fail(Stall(3.0), method="GET", contains=last.file)
    began = time.monotonic()
    batches = iter(split_dataset(images, 8))
    next(batches)
    assert time.monotonic() - began < 2.5
    # It ends at once although a shard is being fetched: TensorFlow would wait for it, and it for TensorFlow.
    leave_all()
    del batches
    assert time.monotonic() - began < 2.8


def test_requests_that_fail_are_made_again(records: Path, proxy: Proxy, s3_endpoint: str, tmp_path: Path) -> None:
    found = _records(records, Bucket(s3_endpoint), tmp_path / "cache")
    for failure in (Status(503), Reset(), Status(500), Stall(0.5)):
        proxy.fail(failure, method="GET", contains="svhn-train.tfrecord")
    expected = training_dataset(Records.open(records).images("train"), CONFIG, 0)
    assert _same(training_dataset(found.images("train"), CONFIG, 0), expected) > 1
    assert not proxy.pending


def test_a_shard_that_cannot_be_fetched_is_named_with_its_place(records: Path, bucket: Bucket, tmp_path: Path) -> None:
    found = _records(records, bucket, tmp_path / "cache")
    shards = found.manifest.split("train").shards
    bucket.put(f"records/{shards[1].file}", (records / shards[2].file).read_bytes())
    with pytest.raises(UserError) as caught:
        list(readable(training_dataset(found.images("train"), CONFIG, 0), found.directory, "train"))
    message = str(caught.value)
    assert f"The shard {shards[1].file} of {bucket.address}/records cannot be fetched." in message
    assert "\n" not in message and f"python -m tfrecords validate {bucket.address}/records" in message
    bucket.client.delete_object(Bucket=bucket.name, Key=f"records/{shards[1].file}")
    with pytest.raises(UserError, match=f"records/{shards[1].file}: there is no such shard"):
        found.images("train")


def test_a_damaged_record_names_the_shard_at_its_address(records: Path, bucket: Bucket, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    found = Records.open(copy)
    shard = found.manifest.split("train").shards[0]
    data = bytearray((copy / shard.file).read_bytes())
    data[200] ^= 1
    (copy / shard.file).write_bytes(data)
    content = json.loads((copy / MANIFEST).read_bytes())
    content["splits"]["train"]["shards"][0]["sha256"] = Place(copy / shard.file).sha256()
    (copy / MANIFEST).write_text(json.dumps(content))
    images = _records(copy, bucket, tmp_path / "cache").images("train")
    with pytest.raises(UserError, match=f"{bucket.address}/records/{shard.file}"):
        images.take(np.arange(shard.examples))


def test_a_bound_without_room_for_some_windows_is_refused(
    records: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.input.cached._WINDOWS", 2)
    least = _least(_records(records, bucket, tmp_path), "train") // 2
    found = Records.open(Place(f"{bucket.address}/records"), CacheFolder(tmp_path, least - 1))
    with pytest.raises(UserError, match=r"--cache-size must be at least .* GB for s3://.*: 2 windows of its shuffled"):
        found.images("train")


def test_shards_arrive_in_the_order_of_their_use_and_no_further_ahead_than_allowed(
    records: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _records(records, bucket, tmp_path)
    shards = found.manifest.split("train").shards
    monkeypatch.setattr("trainer.input.cached._AT_ONCE", 1)
    monkeypatch.setattr("trainer.input.cached._AHEAD_BYTES", 1)
    fetcher = Fetcher(found.directory, shards, found.cache)
    asked: list[int] = []
    fetch = fetcher._fetch
    arrived = threading.Semaphore(0)

    def note(index: int) -> Any:
        asked.append(index)
        copy = fetch(index)
        arrived.release()
        return copy

    monkeypatch.setattr(fetcher, "_fetch", note)
    order = list(range(len(shards)))[::-1]
    fetcher.plan(order)
    # Two of the largest shards: as many as a window of the shuffled order has at least.
    assert all(arrived.acquire(timeout=20) for _ in range(2))
    assert asked == order[:2]
    for index in order:
        copy = fetcher.open(index)
        assert Path(copy.path).read_bytes() == (records / shards[index].file).read_bytes()
        copy.close()
    assert asked == order


def test_the_cache_is_in_the_user_s_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "streetdigits"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "streetdigits"
    for wrong in (0.0, -1.0, float("nan"), float("inf"), 1e-12):
        with pytest.raises(UserError, match=r"--cache-size must be above 0 GB and finite\."):
            CacheFolder.of(None, wrong)


def test_local_data_needs_no_cache(records: Path, tmp_path: Path) -> None:
    images = Records.open(records, CacheFolder(tmp_path / "cache", 1)).images("train")
    assert not isinstance(images, CachedImages) and not (tmp_path / "cache").exists()


def test_a_shard_waits_for_room_that_others_are_about_to_leave(
    records: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _records(records, bucket, tmp_path / "cache").images("train")
    assert isinstance(images, CachedImages)
    fetcher = images._fetcher
    refusals, real = [1, 2, 3], fetcher._cache.open

    def full_for_a_while(*arguments: Any) -> Any:
        if refusals:
            refusals.pop()
            raise CacheFullError("no room")
        return real(*arguments)

    monkeypatch.setattr(fetcher._cache, "open", full_for_a_while)
    fetcher.open(0).close()
    assert refusals == []
    refusals[:] = [1] * 100
    monkeypatch.setattr("trainer.input.cached._PATIENCE_S", 0.2)
    with pytest.raises(CacheFullError):
        fetcher.open(1)
