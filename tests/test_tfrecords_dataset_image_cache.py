"""Pictures by number: what `Examples` gives, but looked through once."""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tensorflow as tf

import tfrecords
from beam_jobs.__main__ import COMMANDS
from tests.examples import make_example
from tfrecords import UserError
from tfrecords.cli import main
from tfrecords.dataset import reader
from tfrecords.dataset.image_cache import ImageCache, LabelledImages
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.dataset.reader import Examples
from tfrecords.files.framing import frame
from tfrecords.files.index import format_index, index_path
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from tfrecords.record.codec import encode


@pytest.fixture(scope="module", params=["raw", "raw, two sizes", "png", "png, two sizes"])
def dataset(request: pytest.FixtureRequest, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "svhn"
    options = ["--jitters", "0"] if "sizes" in request.param else ["--jitters", "2"]
    options += ["--encoding", request.param[:3], "--examples-per-shard", "17"]
    given = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), *options]
    assert main("beam_jobs", "", COMMANDS, ["prepare", *given]) == 0
    return folder


def _assert_same(taken: LabelledImages, examples: Iterable[tfrecords.DigitExample], is_raw: bool) -> None:
    images = taken.images if is_raw else [tf.io.decode_png(data).numpy() for data in taken.images]
    keys = [key.decode() for key in taken.keys]
    for row, example in enumerate(examples):
        np.testing.assert_array_equal(images[row], example.image)
        np.testing.assert_array_equal(taken.digits[row], example.digits)
        assert (keys[row], taken.length[row]) == (example.key, example.length)


def test_pictures_are_those_of_the_examples_in_any_order(dataset: Path) -> None:
    for split in ("train", "test"):
        examples, pictures = tfrecords.open(dataset, split), ImageCache(dataset, split)
        assert len(pictures) == len(examples) and pictures.shape == examples[0].image.shape
        for seed in (0, 1):
            numbers = np.random.default_rng(seed).integers(0, len(examples), 3 * len(examples))
            taken = pictures.take(numbers)
            assert [array.dtype for array in taken[1:]] == [np.int64, np.int64, object]
            assert taken.images.dtype == (np.uint8 if pictures.is_raw else object)
            _assert_same(taken, (examples[number] for number in numbers.tolist()), pictures.is_raw)


def test_no_pictures_are_taken_as_empty_arrays(dataset: Path) -> None:
    pictures = ImageCache(dataset, "train")
    images, length, digits, keys = pictures.take(np.array([], np.int64))
    assert images.shape == ((0, *pictures.shape) if pictures.is_raw else (0,))
    assert (length.shape, digits.shape, keys.shape) == ((0,), (0, 5), (0,))


def test_a_record_is_read_once_whoever_asks_and_no_others_than_its_shard_s(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[int] = Counter()
    record = Examples.record

    def counted(examples: Examples, number: int) -> tuple[bytes, RecordFile, int]:
        read[number] += 1
        return record(examples, number)

    monkeypatch.setattr(Examples, "record", counted)
    pictures = ImageCache(records, "train")
    first = pictures.shards[0].examples
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pictures.take, [np.arange(first)[::step] for step in (1, -1, 2, 3)]))
    assert read == Counter(range(first))


def test_pictures_begin_where_tensorflow_takes_them_without_a_copy(records: Path) -> None:
    pictures = ImageCache(records, "train")
    for count in (1, 2, 5, 32):
        assert pictures.take(np.arange(count)).images.ctypes.data % 64 == 0


def test_a_remote_dataset_gives_the_same(records: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(records), "/pictures/svhn", recursive=True)
    try:
        numbers = np.array([100, 3, 99])
        here, there = (ImageCache(place, "train").take(numbers) for place in (records, "memory://pictures/svhn"))
        for ours, theirs in zip(here, there, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    finally:
        memory.rm("/pictures", recursive=True)


def _rewrite(records: Path, folder: Path, change: dict[int, bytes]) -> Path:
    """Returns a copy of a dataset in whose first training shard some records are replaced, and the index is right."""
    copy = Path(shutil.copytree(records, folder / "copy"))
    shard = next(copy.glob("*-train.tfrecord-00000-*"))
    framed = [frame(change.get(number, data)) for number, data in enumerate(RecordFile(str(shard)))]
    size = shard.stat().st_size
    shard.write_bytes(b"".join(framed))
    Path(index_path(str(shard))).write_bytes(format_index(map(len, framed)))
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"bytes": {size}', f'"bytes": {shard.stat().st_size}', 1))
    return copy


def test_records_of_another_writer_are_read_too(records: Path, tmp_path: Path) -> None:
    examples = tfrecords.open(records, "train")
    change = {}
    for number in (0, 5):
        foreign = tf.train.Example.FromString(examples.record(number)[0])
        foreign.features.feature["another"].bytes_list.value.append(b"\x0a\x03key\x12")
        change[number] = foreign.SerializeToString()
    copy = _rewrite(records, tmp_path, change)
    numbers = np.arange(10)
    _assert_same(ImageCache(copy, "train").take(numbers), examples[:10], is_raw=True)


def _labelled(digits: tuple[int, ...], length: int) -> bytes:
    return encode(replace(make_example(size=54), digits=np.array(digits), length=length))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (
            encode(make_example(size=54), "png"),
            r"image must be raw of shape \(54, 54, 3\).*Received: png of shape \(54",
        ),
        (
            encode(make_example(size=53)),
            r"image must be raw of shape \(54, 54, 3\).*Received: raw of shape \(53, 53, 3\)",
        ),
        (
            _labelled((263, 10, 10, 10, 10), 1),
            "train/1.png#0: digits must be 5 values, 0..9 for the first 1 and 10 for the rest",
        ),
        (_labelled((1, 9, 10, 10, 10), 261), r"train/1\.png#0: length must be 0\.\.5\. Received: 261"),
        (b"", r"feature key must hold 1 bytes values\. Received: 0"),
        (b"no record at all", r"not a tf\.train\.Example\."),
    ],
)
def test_a_record_that_is_not_as_the_others_is_named(records: Path, tmp_path: Path, record: bytes, fault: str) -> None:
    copy = _rewrite(records, tmp_path, {3: record})
    place = re.escape(str(next(copy.glob("*-train.tfrecord-00000-*"))))
    pictures = ImageCache(copy, "train")
    for _ in range(2):
        with pytest.raises(UserError, match=rf"^{place}: record 3 at byte \d+.*: {fault}"):
            pictures.take(np.array([0]))
    # Other shards can be read still.
    pictures.take(np.array([len(pictures) - 1]))


def _few_open_files(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(reader, "_OPEN_FILES", most)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the process's open files")
def test_a_batch_of_many_shards_opens_few_files_at_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _few_open_files(monkeypatch, 1)
    counts = []
    open_shard = reader.open_shard

    def counted(directory: Place, shard: ShardInfo, *options: Any) -> RecordFile:
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
        return open_shard(directory, shard, *options)

    monkeypatch.setattr(reader, "open_shard", counted)
    pictures = ImageCache(dataset, "train")
    for _ in range(2):
        pictures.take(np.arange(len(pictures)))
    assert len(counts) >= 2 * len(pictures.shards) > 4 and max(counts) - counts[0] <= 2


def test_a_shard_that_is_replaced_meanwhile_is_told(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _few_open_files(monkeypatch, 1)
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    pictures = ImageCache(copy, "train")
    first, last = np.array([0]), np.array([len(pictures) - 1])
    pictures.take(first)
    pictures.take(last)
    shard = copy / pictures.shards[0].file
    shutil.copyfile(shard, tmp_path / "another")
    (tmp_path / "another").replace(shard)
    with pytest.raises(UserError, match=f"^{re.escape(str(shard))} must not change while it is read"):
        pictures.take(first)


def test_what_leaves_the_system_s_memory_is_read_ahead_in_every_pass(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(RecordFile, "read_ahead", lambda file: asked.append(file.path))
    pictures = ImageCache(records, "train")
    for passes in (1, 2):
        pictures.start_epoch()
        for number in range(len(pictures)):
            pictures.take(np.array([number]))
        assert len(asked) == passes * len(pictures.shards)


def test_a_split_that_is_empty_or_missing_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the splits"):
        ImageCache(records, "extra")
    with pytest.raises(UserError, match="is not a dataset directory"):
        ImageCache(tmp_path, "train")
