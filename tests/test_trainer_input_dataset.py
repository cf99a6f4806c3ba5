"""Shards to batches, and what is done to pictures on the device."""

import gc
import json
import logging
import shutil
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfrecords
from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.examples import make_example
from tfrecords.cli import main
from tfrecords.dataset.manifest import Manifest, ShardInfo
from tfrecords.errors import UserError
from tfrecords.files.framing import frame
from tfrecords.files.record_file import RecordFile
from trainer.fit.errors import readable
from trainer.input import dataset
from trainer.input import shuffle as order
from trainer.input.augment import augment, centre_window, random_window, recolour, uniforms_needed
from trainer.input.dataset import open_images, split_dataset, training_dataset
from trainer.run.config import AugmentConfig, TrainConfig

STILL = AugmentConfig(contrast=0.0, brightness=0.0, invert=0.0)


CONFIG = TrainConfig(global_batch_size=32)


def _keys(batches: Iterable[dict[str, tf.Tensor]]) -> list[str]:
    return [key.decode() for batch in batches for key in batch["key"].numpy()]


@pytest.fixture(scope="module")
def many_shards(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine training shards of 14 to 30 whole crops or so: several windows."""
    folder = tmp_path_factory.mktemp("many") / "svhn"
    options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), "--jitters", "3", "--shards", "9"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    return folder


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two shards, or of three small ones."""
    monkeypatch.setattr(order, "WINDOW_FILES", 2)
    monkeypatch.setattr(order, "WINDOW_BYTES", 500_000)


def _same(first: dict[str, tf.Tensor], second: dict[str, tf.Tensor]) -> bool:
    assert first.keys() == second.keys() == {"image", "length", "digits", "key", "uniform"}
    return all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name].numpy(), second[name].numpy())
        for name in first
    )


def test_batches_hold_the_records_in_stored_order_each_once(records: Path) -> None:
    batches = list(split_dataset(open_images(records, "test"), batch_size=7))
    assert [len(batch["length"]) for batch in batches] == [7, 7, 6]
    examples = list(tfrecords.open(records, "test"))
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, [example.image for example in examples])
    assert _keys(batches) == [example.key for example in examples]
    np.testing.assert_array_equal(
        np.concatenate([batch["digits"].numpy() for batch in batches]), [example.digits for example in examples]
    )


def test_an_epoch_holds_every_training_record_once_in_an_order_of_its_own(records: Path) -> None:
    stored = [example.key for example in tfrecords.open(records, "train")]
    first, again, second = (
        _keys(training_dataset(open_images(records, "train"), CONFIG, epoch)) for epoch in (0, 0, 1)
    )
    assert first == again
    assert first != second != stored
    assert sorted(first) == sorted(second) == sorted(stored)
    assert _keys(training_dataset(open_images(records, "train"), TrainConfig(global_batch_size=32, seed=1), 0)) != first


def test_training_batches_hold_what_the_records_hold(records: Path) -> None:
    stored = {example.key: example for example in tfrecords.open(records, "train")}
    for batch in training_dataset(open_images(records, "train"), CONFIG, 0):
        examples = [stored[key.decode()] for key in batch["key"].numpy()]
        assert batch["image"].dtype == tf.uint8
        for name in ("image", "digits", "length"):
            np.testing.assert_array_equal(batch[name], [getattr(example, name) for example in examples])


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("hosts", [1, 2])
def test_from_any_step_on_an_epoch_gives_the_same_bytes(many_shards: Path, hosts: int) -> None:
    steps = order.steps_per_epoch(tuple(Manifest.load(many_shards).split("train").shards), CONFIG, hosts)
    whole = list(training_dataset(open_images(many_shards, "train"), CONFIG, 3, host=hosts - 1, hosts=hosts))
    assert len(whole) == steps > 4
    for start in range(steps + 1):
        rest = list(training_dataset(open_images(many_shards, "train"), CONFIG, 3, start, hosts - 1, hosts))
        assert len(rest) == steps - start
        assert all(map(_same, rest, whole[start:]))


@pytest.mark.usefixtures("small_windows")
def test_the_windows_before_a_step_are_not_read(many_shards: Path, tmp_path: Path) -> None:
    shards = Manifest.load(many_shards).split("train").shards
    starts = np.cumsum([0] + [shard.examples for shard in shards])
    files = np.searchsorted(starts, order.epoch_indices(tuple(shards), CONFIG.seed, 0), "right") - 1
    # The ninth shard is a window of its own.
    last = files[-1]
    before = int(np.argmax(files == last))
    assert (files[before:] == last).all() and before == len(files) - shards[last].examples > 0
    copy = shutil.copytree(many_shards, tmp_path / "copy")
    for shard in (*shards[:last], *shards[last + 1 :]):
        (copy / shard.file).write_bytes(bytes(shard.bytes))
    config = TrainConfig(global_batch_size=1)
    found = _keys(training_dataset(open_images(copy, "train"), config, 0, before))
    assert found == _keys(training_dataset(open_images(many_shards, "train"), config, 0))[before:]
    with pytest.raises(tf.errors.OpError, match=shards[files[before - 1]].file):
        next(iter(training_dataset(open_images(copy, "train"), config, 0, before - 1)))


def test_windows_are_of_two_files_at_least_and_else_of_128_mib() -> None:
    def sizes(count: int, size: int) -> list[int]:
        return [len(window) for window in order.windows([ShardInfo(f"{n}", 10, size, "") for n in range(count)])]

    assert sizes(7, 200 << 20) == [2, 2, 2, 1]
    assert sizes(7, 40 << 20) == [3, 3, 1]
    assert sizes(12, 90_000) == [12]
    assert sizes(0, 1) == []


def test_an_epoch_s_numbers_are_those_of_one_window_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW_BYTES", 1)
    shards = tuple(ShardInfo(f"numbers-{n}", 10 + n, 1000, "") for n in range(12))
    first, second, other = (order.epoch_indices(shards, seed, epoch) for seed, epoch in ((5, 0), (5, 1), (6, 0)))
    total = sum(shard.examples for shard in shards)
    for numbers in (first, second, other):
        assert numbers.dtype == np.int64 and sorted(numbers.tolist()) == list(range(total))
        files = np.searchsorted(np.cumsum([shard.examples for shard in shards]), numbers, "right")
        windows = [set(files[start:stop].tolist()) for start, stop in _runs(files)]
        assert len(windows) == 6 and all(len(window) == 2 for window in windows)
    assert not np.array_equal(first, second) and not np.array_equal(first, other)
    np.testing.assert_array_equal(first, order.epoch_indices(shards, 5, 0))
    parts = [order.epoch_indices(shards, 5, 0, host, 3) for host in range(3)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(total))


def _runs(files: np.ndarray) -> list[tuple[int, int]]:
    """Returns where the examples of two files begin and end that are mixed with each other."""
    runs, start = [], 0
    while start < len(files):
        pair = list(dict.fromkeys(files[start:].tolist()))[:2]
        stop = start + int(np.isin(files[start:], pair).sum())
        assert np.isin(files[start:stop], pair).all() and len(set(files[start : start + 8].tolist())) == 2
        runs.append((start, stop))
        start = stop
    return runs


@pytest.mark.usefixtures("small_windows")
def test_shuffling_mixes_shards_and_the_places_within_them(many_shards: Path) -> None:
    place = {}
    for shard in Manifest.load(many_shards).split("train").shards:
        for record in tf.data.TFRecordDataset(str(many_shards / shard.file)).enumerate():
            key = tfrecords.decode(record[1].numpy()).key
            place[key] = shard.file, int(record[0]) / shard.examples
    batches = list(training_dataset(open_images(many_shards, "train"), TrainConfig(global_batch_size=10), 0))
    # The ninth shard is a window of its own.
    mixed = [len({place[key][0] for key in _keys([batch])}) > 1 for batch in batches]
    assert all(mixed[:-3])
    # Of batches of ten places 0..1 drawn at random, the means lie 0.09 apart; of records in stored order, 0.29.
    means = [np.mean([place[key][1] for key in _keys([batch])]) for batch in batches[:-1]]
    assert np.std(means) < 0.15
    assert abs(np.corrcoef(range(len(place)), [place[key][1] for key in _keys(batches)])[0, 1]) < 0.2


def test_the_order_does_not_depend_on_the_seed_of_the_process(records: Path) -> None:
    first = _keys(training_dataset(open_images(records, "train"), CONFIG, 0))
    tf.random.set_seed(123)
    try:
        assert _keys(training_dataset(open_images(records, "train"), CONFIG, 0)) == first
    finally:
        tf.random.set_seed(None)


def test_the_augmentation_s_numbers_are_of_epoch_step_and_place_alone(records: Path) -> None:
    first, again, second = (
        np.concatenate(
            [batch["uniform"].numpy() for batch in training_dataset(open_images(records, "train"), CONFIG, epoch)]
        )
        for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (len(tfrecords.open(records, "train")), uniforms_needed(3))
    assert (first != second).all() and 0 <= first.min() < first.max() < 1
    assert len(np.unique(first[:, 0])) > 0.95 * len(first)
    parts = [
        next(iter(training_dataset(open_images(records, "train"), CONFIG, 0, host=host, hosts=2)))["uniform"]
        for host in (0, 1)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), first[:32])


@pytest.mark.parametrize("hosts", [2, 4, 16])
def test_hosts_share_every_example_once_in_as_many_steps(many_shards: Path, hosts: int) -> None:
    steps = order.steps_per_epoch(tuple(Manifest.load(many_shards).split("train").shards), CONFIG, hosts)
    parts = [
        list(training_dataset(open_images(many_shards, "train"), CONFIG, 1, host=host, hosts=hosts))
        for host in range(hosts)
    ]
    assert {len(part) for part in parts} == {steps}
    stored = [example.key for example in tfrecords.open(many_shards, "train")]
    assert sorted(key for part in parts for key in _keys(part)) == sorted(stored)
    for part in parts:
        sizes = [len(batch["length"]) for batch in part]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] <= 32 // hosts
        # Full batches, one short one, empty ones.
        assert sum(0 < size < 32 // hosts for size in sizes) <= 1
        assert {batch["image"].shape[1:] for batch in part} == {(54, 54, 3)}
        assert all(len(batch[name]) == len(batch["length"]) for batch in part for name in batch)
    if hosts == 16:
        assert all(len(batch["key"]) == 0 for batch in parts[-1])


def test_hosts_with_unequal_work_are_told_so_once(caplog: pytest.LogCaptureFixture) -> None:
    shards = tuple(ShardInfo(f"told-{n}", count, 100, "") for n, count in enumerate((50, 40, 30, 30, 20, 10)))
    with caplog.at_level(logging.WARNING):
        parts = order.host_shards(shards, 2)
        assert [sum(shard.examples for shard in part) for part in parts] == [90, 90]
        assert not caplog.records
        order.host_shards(shards, 8)
        order.host_shards(shards, 8)
    (record,) = caplog.records
    assert record.getMessage() == (
        "8 hosts share 6 training shards unevenly: 0 to 50 examples per host, and all wait for the fullest. "
        "Prepare the dataset with more shards (--examples-per-shard or --shards)."
    )


def test_a_batch_that_hosts_cannot_divide_is_refused(records: Path) -> None:
    with pytest.raises(UserError, match=r"a multiple of the 3 hosts\. Received: 32"):
        training_dataset(open_images(records, "train"), CONFIG, 0, hosts=3)


@pytest.mark.parametrize(
    "options", [["--jitters", "0"], ["--encoding", "png"], ["--jitters", "0", "--encoding", "png"]]
)
def test_whole_crops_and_png_are_read_as_well(drawn: Path, tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "other"
    given = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), *options]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *given]) == 0
    stored = {example.key: example.image for example in tfrecords.open(folder, "train")}
    size = 64 if "--jitters" in options else 54
    seen = 0
    # The second of two hosts runs out of examples: there is one shard.
    for batch in (
        *training_dataset(open_images(folder, "train"), CONFIG, 0, host=0, hosts=2),
        *training_dataset(open_images(folder, "train"), CONFIG, 0, 0, 1, 2),
    ):
        assert batch["image"].shape[1:] == (size, size, 3)
        for key, image in zip(batch["key"].numpy(), batch["image"].numpy(), strict=True):
            np.testing.assert_array_equal(image, stored[key.decode()])
            seen += 1
    assert seen == len(stored)
    (batch,) = split_dataset(open_images(folder, "test"), 20)
    np.testing.assert_array_equal(batch["image"], [example.image for example in tfrecords.open(folder, "test")])


def test_missing_and_cut_shards_are_told_before_training(records: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(records, tmp_path / "copy")
    path = next(copy.glob("*-train.tfrecord-00001-*"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match=f"{path.name} must be of {len(data)} bytes.*Received: {len(data) - 1}"):
        training_dataset(open_images(copy, "train"), CONFIG, 0)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}: there is no such shard"):
        training_dataset(open_images(copy, "train"), CONFIG, 0)


def test_a_flipped_bit_stops_the_epoch_and_is_named(records: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(records, tmp_path / "copy")
    path = next(copy.glob("*-train.tfrecord-00001-*"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    batches = training_dataset(open_images(copy, "train"), CONFIG, 0)
    rule = f"^The split train cannot be read: `python -m tfrecords validate {copy}` lists all errors. Received: "
    fault = f"{path}: record 0 at byte 0: the record's checksum is wrong: damaged. Received: crc 0x[0-9a-f]+$"
    with pytest.raises(UserError, match=rule + fault):
        list(readable(batches, copy, "train"))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            b"\x89PNG",
            b"\x89GIF",
            r"/svhn-train\S+: record 0 at byte 0 .*must be png of shape \(54, 54, 3\).* Received: png of",
        ),
        (b"IDAT", b"IDAU", r"Invalid PNG"),
    ],
)
def test_a_png_that_cannot_be_read_stops_the_epoch(
    old: bytes, new: bytes, fault: str, drawn: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "png"
    given = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), "--encoding", "png"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *given]) == 0
    path = next(folder.glob("*-train.tfrecord-00000-*"))
    records = [record.replace(old, new) for record in RecordFile(str(path))]
    path.write_bytes(b"".join(map(frame, records)))
    batches = training_dataset(open_images(folder, "train"), CONFIG, 0)
    with pytest.raises(UserError, match=rf"^The split train cannot be read: .* Received: .*{fault}"):
        list(readable(batches, folder, "train"))


def test_passes_leave_nothing_in_memory(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[np.ndarray]] = []
    epoch_indices = order.epoch_indices

    def remembered(*arguments: Any) -> np.ndarray:
        numbers = epoch_indices(*arguments)
        made.append(weakref.ref(numbers))
        return numbers

    monkeypatch.setattr(dataset, "epoch_indices", remembered)
    pictures = open_images(records, "train")
    for epoch in range(3):
        assert sum(len(batch["key"]) for batch in training_dataset(pictures, CONFIG, epoch)) == len(pictures)
    gc.collect()
    assert [reference() is None for reference in made] == [True] * 3


def test_a_split_that_is_not_there_or_empty_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the splits"):
        split_dataset(open_images(records, "extra"), 8)
    content = json.loads((records / "manifest.json").read_text())
    content["splits"]["train"].update(examples=0, shards=[])
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"must hold at least one example\. Received: 0"):
        training_dataset(open_images(tmp_path, "train"), CONFIG, 0)


def test_windows_are_taken_at_every_place_and_nowhere_else() -> None:
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    places = np.array([[0.0, 0.999], [0.5, 0.34]], np.float32)
    windows = random_window(tf.constant(images), (6, 6), tf.constant(places)).numpy()
    np.testing.assert_array_equal(windows[0], images[0, 0:6, 2:8])
    np.testing.assert_array_equal(windows[1], images[1, 1:7, 1:7])


def test_the_centre_is_that_of_the_stored_crops() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(centre_window(tf.constant(images), (54, 54))[0], images[0, 5:59, 5:59])


def test_without_augmentation_the_pictures_stay_as_they_are() -> None:
    image = make_example(size=54).image[None]
    uniform = np.random.default_rng(0).random((1, uniforms_needed(3)), np.float32)
    np.testing.assert_allclose(augment(tf.constant(image), (54, 54), STILL, tf.constant(uniform)), image, atol=1e-3)


def test_inverted_pictures_are_255_minus_themselves() -> None:
    images = tf.constant(np.random.default_rng(0).random((4, 5, 5, 3), np.float32) * 255)
    uniform = tf.constant(np.full((4, uniforms_needed(3) - 6), 0.5, np.float32))
    changed = recolour(images, AugmentConfig(contrast=0.0, brightness=0.0, invert=1.0), uniform)
    np.testing.assert_allclose(changed, 255 - images, atol=1e-3)


def test_contrast_and_brightness_stay_within_what_was_asked_for() -> None:
    images = np.random.default_rng(0).random((200, 6, 6, 3), np.float32) * 255
    uniform = np.random.default_rng(1).random((200, uniforms_needed(3) - 6), np.float32)
    config = AugmentConfig(contrast=0.5, brightness=30.0, invert=0.0)
    changed = recolour(tf.constant(images), config, tf.constant(uniform)).numpy()
    shift = changed.mean(axis=(1, 2)) - images.mean(axis=(1, 2))
    gain = changed.std(axis=(1, 2)) / images.std(axis=(1, 2))
    assert np.abs(shift).max() <= 30.01 and shift.max() > 25 and shift.min() < -25
    # The picture's own factor times half of a channel's.
    assert gain.max() <= 1.5**1.5 + 1e-3 and gain.min() >= 1.5**-1.5 - 1e-3
