"""A split as a sequence: every way to ask for an example, from every place, and every damage that files can have."""

import gzip
import itertools
import json
import os
import pickle
import random
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, cast

import fsspec
import numpy as np
import pytest
import tensorflow as tf
from fsspec.implementations.memory import MemoryFileSystem

import tfrecords
from tests.examples import assert_equal_examples, make_example
from tfrecords import Examples, Manifest, RecordFile, UserError, encode
from tfrecords.dataset import reader
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import MANIFEST, ImageInfo, ShardInfo, SourceInfo, SplitInfo
from tfrecords.files import blocks, storage
from tfrecords.files.disk_cache import DiskCache
from tfrecords.files.framing import frame
from tfrecords.files.place import Place

SPLIT, SHARD = "train", 1
"""What is damaged: a shard in the middle, so that readers must come back to what is behind it."""
RECORD = 20
"""Which of its records."""


@pytest.fixture(params=["indexed", "scanned"])
def copy(request: pytest.FixtureRequest, records: Path, tmp_path: Path) -> Path:
    """A dataset with its index files, and without."""
    folder = Path(shutil.copytree(records, tmp_path / "copy"))
    if request.param == "scanned":
        for index in folder.glob("*.idx-*"):
            index.unlink()
    return folder


@pytest.fixture(scope="module")
def keys(records: Path) -> list[str]:
    """The keys of the split in order, as TensorFlow reads them."""
    paths = [str(records / shard.file) for shard in Manifest.load(records).split(SPLIT).shards]
    found = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(paths)]
    return [example.features.feature["key"].bytes_list.value[0].decode() for example in found]


def _keys(examples: Examples) -> list[str]:
    return [example.key for example in examples]


def _frames(shard: Path) -> list[tuple[int, int]]:
    """Returns offset and size of each record in its file, from the lengths alone."""
    data, frames, offset = shard.read_bytes(), [], 0
    while offset < len(data):
        size = struct.unpack_from("<Q", data, offset)[0] + 16
        frames.append((offset, size))
        offset += size
    return frames


def test_an_example_is_found_by_every_kind_of_number(copy: Path, keys: list[str]) -> None:
    examples = tfrecords.open(copy, SPLIT)
    assert len(examples) == len(keys) == 240
    assert [examples[number].key for number in range(len(keys))] == keys
    assert [examples[number].key for number in range(-1, -len(keys) - 1, -1)] == keys[::-1]
    assert [examples[cast(int, index)].key for index in (np.int64(7), np.uint8(7))] == [keys[7], keys[7]]
    assert _keys(examples) == keys == [example.key for example in reversed(examples)][::-1]
    assert isinstance(examples[3], tfrecords.DigitExample) and not examples[3].image.flags.writeable


@pytest.mark.parametrize("number", [240, -241, 10**12, np.int64(240)])
def test_a_number_that_there_is_none_of_is_an_index_error(records: Path, number: int) -> None:
    examples = tfrecords.open(records, SPLIT)
    with pytest.raises(IndexError):
        examples[number]
    with pytest.raises(IndexError):
        examples[:0][0]


@pytest.mark.parametrize("number", [1.0, "1", None])
def test_what_is_no_number_is_a_type_error(records: Path, number: object) -> None:
    with pytest.raises(TypeError):
        tfrecords.open(records, SPLIT)[number]  # type: ignore[call-overload]


def test_slices_and_slices_of_slices_are_those_of_a_list(copy: Path, keys: list[str]) -> None:
    examples = tfrecords.open(copy, SPLIT)
    parts = [slice(None), slice(5), slice(-5, None), slice(100, 20, -7), slice(None, None, -1), slice(3, 900, 50)]
    for first, second in itertools.product(parts, [slice(1, None, 2), slice(None, None, -3), slice(0, 0)]):
        part = examples[first]
        assert isinstance(part, Examples) and len(part) == len(keys[first])
        assert _keys(part[second]) == keys[first][second]
    assert examples[10:20][-1].key == keys[19]


def test_opening_and_slicing_read_no_shard(records: Path, tmp_path: Path) -> None:
    shutil.copy(records / MANIFEST, tmp_path / MANIFEST)
    assert len(tfrecords.open(tmp_path, SPLIT)[10:]) == 230


def test_a_pickled_copy_goes_on_where_files_were_open(copy: Path, keys: list[str]) -> None:
    examples = tfrecords.open(copy, SPLIT, verify=False, on_error="skip")[10:]
    assert examples[0].key == keys[10]
    again = pickle.loads(pickle.dumps(examples))
    assert _keys(again) == keys[10:] and again[0].key == keys[10]
    file = RecordFile(str(copy / again.manifest.split(SPLIT).shards[0].file))
    assert pickle.loads(pickle.dumps(file))[3] == file[3]


def test_a_fork_reads_after_its_parent_has_read(copy: Path, keys: list[str]) -> None:
    # In a process of its own: a fork of one with TensorFlow's threads would be no fair test.
    program = f"""
import os, sys, tfrecords
examples = tfrecords.open({str(copy)!r}, {SPLIT!r})
ours = [example.key for example in examples]
child = os.fork()
if not child:
    os._exit([example.key for example in examples] != ours)
assert [examples[number].key for number in range(len(examples))] == ours
assert os.waitpid(child, 0)[1] == 0
print(*ours, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == keys


def test_threads_read_at_once_while_files_are_opened_and_closed(
    copy: Path, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_OPEN_FILES", 1)
    examples = tfrecords.open(copy, SPLIT)
    numbers = random.Random(0).sample(range(len(keys)), len(keys))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: examples[number].key, numbers * 3))
    assert found == [keys[number] for number in numbers * 3]


def _make_dataset(folder: Path, shards: int) -> list[str]:
    """Writes a dataset of one example a shard without Beam, and returns the keys."""
    keys, infos = [f"train/{number}.png#0" for number in range(shards)], []
    for number, key in enumerate(keys):
        data = frame(encode(make_example(key)))
        (folder / f"hand-train.tfrecord-{number:05d}-of-{shards:05d}").write_bytes(data)
        infos.append(ShardInfo(f"hand-train.tfrecord-{number:05d}-of-{shards:05d}", 1, len(data), "0" * 64))
    source = SourceInfo("train", shards, shards, 0, "0" * 64, "0" * 64)
    splits = {"train": SplitInfo(shards, shards, infos)}
    manifest = Manifest("hand", ImageInfo((6, 6, 3), "raw"), {}, 0, {}, [source], splits, {})
    (folder / MANIFEST).write_text(manifest.to_json())
    return keys


def test_a_split_may_have_more_shards_than_a_process_may_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _make_dataset(tmp_path, 60)
    monkeypatch.setattr(reader, "_OPEN_FILES", 5)
    examples = tfrecords.open(tmp_path, "train")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A dozen that are free, wherever they lie among those that other tests left open.
    used = {int(path.name) for path in Path("/dev/fd").iterdir()}
    free = itertools.islice((number for number in itertools.count() if number not in used), 12)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    try:
        assert _keys(examples) == _keys(examples) == keys
        monkeypatch.setattr(reader, "_OPEN_FILES", 500)
        with pytest.raises(OSError, match="Too many open files"):
            _keys(tfrecords.open(tmp_path, "train"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- from elsewhere


@pytest.fixture
def remote(copy: Path) -> Iterator[str]:
    """The dataset where fsspec reaches."""
    system = fsspec.filesystem("memory")
    for path in copy.iterdir():
        system.pipe_file(f"/bucket/svhn/{path.name}", path.read_bytes())
    yield "memory://bucket/svhn"
    system.rm("/bucket", recursive=True)


def test_a_remote_dataset_gives_the_same_examples(remote: str, records: Path, keys: list[str]) -> None:
    examples = tfrecords.open(remote, SPLIT)
    for ours, theirs in zip(tfrecords.open(records, SPLIT), examples, strict=True):
        assert_equal_examples(ours, theirs)
    assert [examples[number].key for number in (200, 3, -1)] == [keys[200], keys[3], keys[-1]]
    assert _keys(pickle.loads(pickle.dumps(examples))[::-20]) == keys[::-20]


def test_remote_damage_is_named_with_its_address(remote: str, keys: list[str]) -> None:
    name = Manifest.load(remote).split(SPLIT).shards[0].file
    fsspec.filesystem("memory").rm(f"/bucket/svhn/{name}")
    with pytest.raises(UserError, match=rf"^{remote}/{name}: there is no such file"):
        next(iter(tfrecords.open(remote, SPLIT)))
    examples = tfrecords.open(remote, SPLIT, on_error="skip")
    assert _keys(examples) == keys[110:] and examples.skipped == 110
    with pytest.raises(UserError, match=r"^memory://bucket/nothing is not a dataset directory"):
        tfrecords.open("memory://bucket/nothing", SPLIT)


def test_a_remote_file_is_walked_through_in_few_requests(
    remote: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, cat_file = [], MemoryFileSystem.cat_file

    def count(self: MemoryFileSystem, path: str, *args: object, **options: object) -> bytes:
        requests.append(path)
        return cat_file(self, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", count)
    for module in (blocks, storage):
        monkeypatch.setattr(module, "BLOCK_BYTES", 100_000)
    examples = tfrecords.open(remote, SPLIT)
    requests.clear()
    assert _keys(examples) == keys
    # 2.2 MB in 100 kB and an index each.
    assert len(requests) < 30
    requests.clear()
    assert [examples[number].key for number in (50, 30, 5)] == [keys[50], keys[30], keys[5]]
    assert len(tfrecords.Batches(examples, 32, seed=0)[0]["key"]) == 32
    assert requests == []


def test_an_unknown_protocol_is_one_clear_error() -> None:
    with pytest.raises(UserError, match=r"^fsspec cannot reach nowhere://bucket/manifest\.json\. Received: "):
        tfrecords.open("nowhere://bucket", SPLIT)


# --- damage


class Damage(NamedTuple):
    """What happens to the shard, and what is lost then, with an index and without.

    Attributes:
      change: of the shard's path, and of offset and size of the record that is hit.
      lost: numbers of the shard's records that cannot be read any more, from and up to.
      error: what the first of them is refused with; `{place}` stands for file, record and byte.
      lost_scanned, error_scanned: the same without an index, where it differs.
    """

    change: Callable[[Path, int, int], object]
    lost: tuple[int, int | None]
    error: str
    lost_scanned: tuple[int, int | None] | None = None
    error_scanned: str = ""


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 8
    path.write_bytes(data)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def _replace(path: Path, start: int, size: int, data: bytes) -> None:
    whole = path.read_bytes()
    assert len(data) == size
    path.write_bytes(whole[:start] + data + whole[start + size :])


HERE, BEHIND, ALL = (RECORD, RECORD + 1), (RECORD, None), (0, None)
BAD_LENGTH = r"{place}: the length's checksum is wrong: not a TFRecord file, or damaged\. Received: \d+"
BAD_DATA = r"{place}: the record's checksum is wrong: damaged\. Received: crc 0x"
CUT_HEADER = r"{place}: the file ends inside a header of 12 bytes\. Received: \d+ bytes"
CUT_RECORD = r"{place}: the file ends inside a record.*\. Received: \d+ (of \d+ )?bytes"
NOT_STATED = r"{file} must hold \d+ records in \d+ bytes, as the manifest states\. Received: \d+ records in \d+ bytes"


def _make_folder(path: Path) -> None:
    """Puts a folder in a file's place."""
    path.unlink()
    path.mkdir()


DAMAGES = {
    "cut in a record": Damage(lambda p, at, size: os.truncate(p, at + 999), BEHIND, CUT_RECORD),
    "cut in a footer": Damage(lambda p, at, size: os.truncate(p, at + size - 1), BEHIND, CUT_RECORD),
    "cut in a header": Damage(lambda p, at, size: os.truncate(p, at + 5), BEHIND, CUT_HEADER),
    "cut between records": Damage(
        lambda p, at, size: os.truncate(p, at), BEHIND, CUT_HEADER, None, "{place}: the file ends before its last"
    ),
    "no bytes": Damage(lambda p, at, size: os.truncate(p, 0), ALL, "record 0 at byte 0: the file ends "),
    "missing": Damage(lambda p, at, size: p.unlink(), ALL, r"{file}: there is no such file\."),
    "a folder": Damage(lambda p, at, size: _make_folder(p), ALL, r"{file}: there is no such file\."),
    "longer by some bytes": Damage(lambda p, at, size: _append(p, b"more"), ALL, NOT_STATED),
    "longer by a record": Damage(lambda p, at, size: _append(p, frame(b"more")), ALL, NOT_STATED),
    "length": Damage(lambda p, at, size: _flip(p, at + 1), HERE, BAD_LENGTH, BEHIND),
    "length's checksum": Damage(lambda p, at, size: _flip(p, at + 9), HERE, BAD_LENGTH, BEHIND),
    "first byte": Damage(lambda p, at, size: _flip(p, at + 12), HERE, BAD_DATA),
    "a pixel": Damage(lambda p, at, size: _flip(p, at + size // 2), HERE, BAD_DATA),
    "checksum": Damage(lambda p, at, size: _flip(p, at + size - 1), HERE, BAD_DATA),
    "compressed": Damage(
        lambda p, at, size: p.write_bytes(gzip.compress(p.read_bytes())),
        ALL,
        "{file}: record 0 at byte 0: the length's checksum is wrong: not a TFRecord file",
        ALL,
        r"{file} is compressed: only uncompressed TFRecords have random access",
    ),
    "no tf.train.Example": Damage(
        lambda p, at, size: _replace(p, at, size, frame(b"\xff" * (size - 16))),
        HERE,
        r"{place}: not a tf\.train\.Example\. Received: \d+ bytes",
    ),
    "another tf.train.Example": Damage(
        lambda p, at, size: _replace(p, at, size, frame(_other_example(size - 16))),
        HERE,
        r"{place}: feature key must hold 1 bytes values\. Received: 0",
    ),
}


def _other_example(size: int) -> bytes:
    """Returns the bytes of an example of another dataset, as many as asked for."""
    for count in range(size, 0, -1):
        value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(count)]))
        data = tf.train.Example(features=tf.train.Features(feature={"audio": value})).SerializeToString()
        if len(data) == size:
            return data
    raise AssertionError(size)


def _check_damage(folder: Path, keys: list[str], lost: range, message: str) -> None:
    """Asserts that reading raises where the first lost example would be, or skips just the lost ones."""
    whole = [key for number, key in enumerate(keys) if number not in lost]
    before: list[str] = []
    with pytest.raises(UserError, match=message):
        before.extend(example.key for example in tfrecords.open(folder, SPLIT))
        # Were it a silent end, this would tell how many were missed.
        before.append(f"ended after {len(before)}")
    assert before or lost.start == 0
    examples = tfrecords.open(folder, SPLIT, on_error="skip")
    assert (_keys(examples), examples.skipped) == (whole, len(lost))
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            examples[lost.start]
    assert _keys(examples[lost.stop :]) == keys[lost.stop :], "what is behind the damage"
    assert _keys(examples[lost.start : lost.stop]) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_an_error_with_its_place_or_skipped_and_counted(copy: Path, keys: list[str], name: str) -> None:
    damage, scanned = DAMAGES[name], not list(copy.glob("*.idx-*"))
    shards = Manifest.load(copy).split(SPLIT).shards
    shard, start = copy / shards[SHARD].file, shards[0].examples
    offset, size = _frames(shard)[RECORD]
    damage.change(shard, offset, size)
    first, last = (scanned and damage.lost_scanned) or damage.lost
    error = (scanned and damage.error_scanned) or damage.error
    place = f"{shard}: record {RECORD} at byte {offset}"
    message = error.format(place=place, file=shard)
    _check_damage(copy, keys, range(start + first, start + (shards[SHARD].examples if last is None else last)), message)


@pytest.mark.parametrize("size", [0, 30])
def test_a_shard_is_opened_once_also_where_nothing_in_it_can_be_read(
    copy: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(copy / Manifest.load(copy).split(SPLIT).shards[SHARD].file, size)
    opened, open_shard = [], reader.open_shard

    def count(directory: Place, shard: ShardInfo, *options: Any) -> RecordFile:
        opened.append(shard.file)
        return open_shard(directory, shard, *options)

    monkeypatch.setattr(reader, "open_shard", count)
    assert len(_keys(tfrecords.open(copy, SPLIT, on_error="skip"))) == 165
    assert len(opened) == len(set(opened)) == 3


def _indexes(folder: Path) -> tuple[Path, list[list[int]]]:
    """Returns the index of the shard that is damaged, and its lines."""
    index = folder / Manifest.load(folder).split(SPLIT).shards[SHARD].file.replace(".tfrecord-", ".idx-")
    return index, [[int(word) for word in line.split()] for line in index.read_text().splitlines()]


def _text(lines: list[list[int]]) -> str:
    return "".join(f"{offset} {size}\n" for offset, size in lines)


INDEXES: dict[str, tuple[Callable[[list[list[int]]], str], str]] = {
    "fewer lines": (
        lambda lines: _text(lines[:-1]),
        r"must describe 75 records .*`python -m tfrecords index --overwrite`",
    ),
    "more lines": (
        lambda lines: _text([*lines, [sum(lines[-1]), 99]]),
        "must describe 75 records .*Received: 76 records",
    ),
    "no line": (lambda lines: "", r"must describe 75 records in \d+ bytes.*Received: 0 records in 0 bytes"),
    "garbage": (lambda lines: "once upon a time\n", "an index must have two numbers per line, offset and size"),
    "binary": (lambda lines: "\0\1\2", "an index must have two numbers per line, offset and size"),
    "three numbers": (lambda lines: "0 1 2\n", "an index must have two numbers per line, offset and size"),
    "huge numbers": (lambda lines: f"0 {10**30}\n", "an index must have two numbers per line, offset and size"),
    "negative offset": (lambda lines: _text([[-5, 20], *lines[1:]]), r"line 1 must begin .*Received: -5 20"),
    "negative size": (lambda lines: _text([*lines[:7], [lines[7][0], -20], *lines[8:]]), r"line 8 must .*-20"),
    "a gap": (
        lambda lines: _text([*lines[:9], *lines[10:]]),
        r"line 10 must begin where the record before it ends, at",
    ),
    "out of order": (lambda lines: _text(lines[::-1]), "line 1 must begin where the record before it ends, at 0"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_wrong_index_is_named_and_its_shard_skipped(
    records: Path, tmp_path: Path, keys: list[str], name: str
) -> None:
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    change, message = INDEXES[name]
    index, lines = _indexes(copy)
    index.write_text(change(lines))
    _check_damage(copy, keys, range(110, 185), f"^{index}:? {message}")
    # Without it, the shard is as good as ever.
    index.unlink()
    assert _keys(tfrecords.open(copy, SPLIT)) == keys


def test_another_shards_index_is_refused(records: Path, tmp_path: Path, keys: list[str]) -> None:
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    index, _ = _indexes(copy)
    shutil.copy(next(copy.glob("*-train.idx-00000-*")), index)
    _check_damage(copy, keys, range(110, 185), rf"^{index} must describe 75 records in .*Received: 110 records in ")


@pytest.mark.parametrize("moved", [1, -1])
def test_an_index_that_is_wrong_between_two_records_loses_those_two(
    records: Path, tmp_path: Path, keys: list[str], moved: int
) -> None:
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    index, lines = _indexes(copy)
    (offset, size), behind = lines[RECORD], lines[RECORD + 1]
    lines[RECORD : RECORD + 2] = [[offset, size + moved], [behind[0] + moved, behind[1] - moved]]
    index.write_text(_text(lines))
    message = rf"record {RECORD} at byte {offset}: the index must state the size of the record, {size} bytes\. "
    _check_damage(copy, keys, range(110 + RECORD, 110 + RECORD + 2), message + rf"Received: {size + moved}")


def test_without_verifying_a_flipped_pixel_passes_and_nothing_else(copy: Path, records: Path) -> None:
    shard = copy / Manifest.load(copy).split(SPLIT).shards[0].file
    whole = tfrecords.open(records, SPLIT)[RECORD]
    position = shard.read_bytes().index(whole.image.tobytes()) + 1000
    _flip(shard, position)
    examples = tfrecords.open(copy, SPLIT, verify=False)
    assert len(list(examples)) == 240
    difference = examples[RECORD].image.ravel() ^ whole.image.ravel()
    assert np.flatnonzero(difference).tolist() == [1000] and difference[1000] == 8
    _flip(shard, _frames(shard)[RECORD][0] + 1)
    with pytest.raises(UserError, match="the length's checksum is wrong"):
        examples[RECORD]


def _change_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content["splits"][SPLIT])
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_split_whose_shards_do_not_add_up_is_refused(copy: Path, on_error: reader.OnError) -> None:
    _change_manifest(copy, lambda split: split["shards"].pop())
    message = rf"^{copy / MANIFEST}: the shards of train must hold its 240 examples\. Received: 185$"
    with pytest.raises(UserError, match=message):
        tfrecords.open(copy, SPLIT, on_error=on_error)


@pytest.mark.parametrize(("field", "by"), [("examples", 1), ("examples", -1), ("bytes", 1), ("bytes", -1)])
def test_a_shard_that_is_not_as_the_manifest_counts_is_refused(
    copy: Path, keys: list[str], field: str, by: int
) -> None:
    def change(split: dict) -> None:
        split["shards"][SHARD][field] += by
        split["examples"] += by * (field == "examples")

    _change_manifest(copy, change)
    examples = tfrecords.open(copy, SPLIT, on_error="skip")
    assert _keys(examples) == keys[:110] + keys[185:]
    assert examples.skipped == 75 + by * (field == "examples")
    with pytest.raises(UserError, match=r"records in \d+ bytes, as the manifest states.*Received: 75 records in \d+"):
        list(tfrecords.open(copy, SPLIT))


@pytest.mark.parametrize("value", ["75", 75.0, -1, None, True])
def test_a_count_that_is_no_whole_number_is_refused(copy: Path, value: object) -> None:
    _change_manifest(copy, lambda split: split["shards"][SHARD].update(examples=value))
    with pytest.raises(UserError, match=r"manifest\.json: splits\.train\.shards\[1\]\.examples must be an int"):
        tfrecords.open(copy, SPLIT)


def test_wrong_options_are_named(records: Path) -> None:
    with pytest.raises(UserError, match=r"on_error must be 'raise' or 'skip'\. Received: 'ignore'"):
        tfrecords.open(records, SPLIT, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"has the splits train, validation, test\. Received: dev"):
        tfrecords.open(records, "dev")


# --- any TFRecord file


def test_any_tfrecord_file_is_a_sequence_of_records(tmp_path: Path) -> None:
    path, data = str(tmp_path / "any.tfrecord"), [bytes([number]) * number for number in range(9)]
    with tf.io.TFRecordWriter(path) as writer:
        for record in data:
            writer.write(record)
    file = RecordFile(path)
    assert list(file) == data and file[-1] == data[-1] and file[2:7:2] == data[2:7:2] and len(file) == 9
    assert file.index_file is None and file.damage is None and file.end == file.size
    with pytest.raises(IndexError):
        file[9]


def test_a_tfrecord_file_that_is_cut_never_ends_silently(tmp_path: Path) -> None:
    path = tmp_path / "any.tfrecord"
    path.write_bytes(frame(b"first") + frame(b"second")[:-1])
    found: list[bytes] = []
    with pytest.raises(UserError, match=r"any\.tfrecord: record 1 at byte 21: the file ends inside a record"):
        found.extend(RecordFile(str(path)))
    assert len(RecordFile(str(path))) == 1 and RecordFile(str(path))[0] == b"first"


def test_an_index_that_ends_before_its_file_never_ends_silently(tmp_path: Path) -> None:
    path = tmp_path / "any.tfrecord"
    path.write_bytes(frame(b"first") + frame(b"second"))
    (tmp_path / "any.idx").write_text("0 21\n")
    file = RecordFile(str(path))
    assert file[0] == b"first"
    with pytest.raises(UserError, match=r"any\.idx must reach the end of .*any\.tfrecord, 43 bytes\. Received: 1 r"):
        list(file)


# --- copies on the disk


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    """An empty cache."""
    return DiskCache(tmp_path / "cache")


def test_shards_are_copied_to_the_disk_once_and_read_from_there(
    remote: str, keys: list[str], cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.load(remote)
    for epoch in range(2):
        examples = tfrecords.open(remote, SPLIT, manifest=manifest, cache=cache)
        assert _keys(examples) == keys
        assert _keys(pickle.loads(pickle.dumps(examples))[::-20]) == keys[::-20]
        assert cache.downloads == len(manifest.split(SPLIT).shards), epoch
    fsspec.filesystem("memory").rm("/bucket/svhn", recursive=True)
    fsspec.filesystem("memory").pipe_file("/bucket/svhn/other", b"")
    again = tfrecords.open(remote, SPLIT, manifest=manifest, cache=cache.folder)
    assert [again[number].key for number in (200, 3, -1)] == [keys[200], keys[3], keys[-1]]


def test_shards_without_room_on_the_disk_are_read_from_their_addresses(
    remote: str, keys: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = Manifest.load(remote).split(SPLIT).shards
    cache = DiskCache(tmp_path / "cache", shards[0].bytes + shards[1].bytes)
    examples = tfrecords.open(remote, SPLIT, cache=cache)
    total = sum(shard.bytes for shard in shards)
    assert f"the split {SPLIT} of {remote} has {total} bytes, and the cache {cache.folder} room for" in caplog.text
    order = random.Random(0).sample(range(len(keys)), len(keys))
    assert [examples[number].key for number in order] == [keys[number] for number in order]
    # Open shards are in use: none of them pushed another out.
    assert cache.downloads == len(list(cache.folder.glob("*.tfrecord*"))) <= 2


def test_a_copy_of_a_shard_that_differs_from_the_manifest_is_refused(remote: str, cache: DiskCache) -> None:
    name = Manifest.load(remote).split(SPLIT).shards[0].file
    memory = fsspec.filesystem("memory")
    data = memory.cat_file(f"/bucket/svhn/{name}")
    memory.pipe_file(f"/bucket/svhn/{name}", data[:3000] + b"!" + data[3001:])
    with pytest.raises(UserError, match=rf"^{remote}/{name} must have the SHA-256 \w+\. Received: \w+$"):
        tfrecords.open(remote, SPLIT, cache=cache)[0]
    memory.pipe_file(f"/bucket/svhn/{name}", data[:-100])
    with pytest.raises(UserError, match=rf"^{remote}/{name} must have {len(data)} bytes\."):
        tfrecords.open(remote, SPLIT, cache=cache)[0]
    memory.rm(f"/bucket/svhn/{name}")
    with pytest.raises(UserError, match=rf"^{remote}/{name}: there is no such file\.$"):
        tfrecords.open(remote, SPLIT, cache=cache)[0]


def test_a_cache_is_not_used_for_a_local_dataset(records: Path, keys: list[str], cache: DiskCache) -> None:
    assert _keys(tfrecords.open(records, SPLIT, cache=cache)) == keys
    assert list(cache.folder.iterdir()) == []


def test_images_come_from_copies_too_also_where_only_some_have_room(remote: str, records: Path, tmp_path: Path) -> None:
    largest = max(shard.bytes for shard in Manifest.load(remote).split(SPLIT).shards)
    expected = ImageCache(records, SPLIT)
    indices = np.random.default_rng(0).permutation(len(expected))
    for bound in (1 << 30, largest):
        images = ImageCache(remote, SPLIT, cache=DiskCache(tmp_path / str(bound), bound))
        for _ in range(2):
            found, wanted = images.take(indices), expected.take(indices)
            assert np.array_equal(found.images, wanted.images) and found.keys.tolist() == wanted.keys.tolist()
