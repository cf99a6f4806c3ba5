"""python -m tfrecords index, against TensorFlow's writer and lengths read with struct."""

import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrecords import RecordFile, UserError
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.files.framing import frame
from tfrecords.files.index import format_index, index_path, parse_index


def _write(path: Path, seed: int, options: str = "") -> list[bytes]:
    """Writes records of random sizes, none and one byte among them, with TensorFlow."""
    random = np.random.default_rng(seed)
    data = [random.bytes(size) for size in (0, 1, *random.integers(2, 3000, 20))]
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in data:
            writer.write(record)
    return data


def _offsets(path: Path) -> str:
    """Returns the index as the file's lengths alone say it: offset and size, framing included."""
    data, lines, offset = path.read_bytes(), [], 0
    while offset < len(data):
        size = struct.unpack_from("<Q", data, offset)[0] + 16
        lines.append(f"{offset} {size}\n")
        offset += size
    return "".join(lines)


def _index(*arguments: object) -> int:
    return main("tfrecords", "", COMMANDS, ["index", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two TFRecord files and two that are none."""
    for number in range(2):
        _write(tmp_path / f"some-train.tfrecord-0000{number}-of-00002", number)
    (tmp_path / "notes.txt").write_text("no TFRecords")
    (tmp_path / ".some.tfrecord.partial").write_bytes(b"unfinished")
    return tmp_path


def test_indexes_are_those_that_the_lengths_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _index(folder) == 0
    assert capsys.readouterr().out.startswith(
        "2 indexes written, 0 existing indexes are correct, 0 files have no index"
    )
    for number in range(2):
        index = folder / f"some-train.idx-0000{number}-of-00002"
        assert index.read_text() == _offsets(folder / f"some-train.tfrecord-0000{number}-of-00002")
    assert len(list(folder.iterdir())) == 6


def test_a_file_reads_the_same_through_its_index(tmp_path: Path) -> None:
    data = _write(tmp_path / "some.tfrecord", 5)
    assert list(RecordFile(str(tmp_path / "some.tfrecord"))) == data
    assert _index(tmp_path / "some.tfrecord") == 0
    file = RecordFile(str(tmp_path / "some.tfrecord"))
    assert file.index_file == str(tmp_path / "some.idx") and list(file) == data


def test_prepare_writes_the_same_indexes(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    assert _index(copy) == 0
    assert capsys.readouterr().out.startswith(
        "0 indexes written, 5 existing indexes are correct, 0 files have no index"
    )
    shards = sorted(copy.glob("*.tfrecord-*"))
    assert len(shards) == len(list(copy.glob("*.idx-*"))) == 5
    for shard in shards:
        assert (copy / shard.name.replace(".tfrecord-", ".idx-")).read_text() == _offsets(shard)


def test_a_second_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _index(folder) == 0
    for path in folder.glob("*.idx*"):
        os.utime(path, (1, 1))
    capsys.readouterr()
    assert _index(folder, "--overwrite") == 0
    assert "0 indexes written, 2 existing indexes are correct" in capsys.readouterr().out
    assert {path.stat().st_mtime for path in folder.glob("*.idx*")} == {1}


def test_another_files_index_is_replaced_only_with_overwrite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard, index = folder / "some-train.tfrecord-00001-of-00002", folder / "some-train.idx-00001-of-00002"
    index.write_text(_offsets(folder / "some-train.tfrecord-00000-of-00002"))
    before = index.read_bytes()
    assert _index(folder) == 1
    captured = capsys.readouterr()
    assert f"error: {index} is not the index of {shard}: give --overwrite to replace it." in captured.err
    assert "1 indexes written, 0 existing indexes are correct, 1 files have no index" in captured.out
    assert index.read_bytes() == before
    assert _index(folder, "--overwrite") == 0
    assert index.read_text() == _offsets(shard)


def test_a_damaged_file_is_named_and_the_others_indexed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = sorted(folder.glob("*.tfrecord-*"))
    start = int(_offsets(first).splitlines()[7].split()[0])
    os.truncate(first, start + 14)
    assert _index(folder) == 1
    captured = capsys.readouterr()
    assert f"error: {first}: record 7 at byte {start}: the file ends inside a record. Received: 14 of " in captured.err
    assert "1 indexes written, 0 existing indexes are correct, 1 files have no index" in captured.out
    assert not Path(index_path(str(first))).exists()
    assert Path(index_path(str(second))).read_text() == _offsets(second)


def test_a_file_that_is_no_tfrecord_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and more of them than a header is long.")
    assert _index(tmp_path / "notes.txt") == 1
    assert "notes.txt: record 0 at byte 0: the length's checksum is wrong: not a TFRecord" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB", "gzip of Python"])
def test_a_compressed_file_is_named_as_such(
    tmp_path: Path, compression: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.tfrecord"
    if compression in ("GZIP", "ZLIB"):
        _write(path, 1, compression)
    else:
        path.write_bytes(gzip.compress(frame(b"record")))
    assert _index(path) == 1
    assert f"error: {path} is compressed: only uncompressed TFRecords have random access" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"some\.tfrecord is compressed"):
        RecordFile(str(path))


def test_an_empty_file_has_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "none.tfrecord").touch()
    assert _index(tmp_path) == 0
    assert (tmp_path / "none.idx").read_bytes() == b""
    assert list(RecordFile(str(tmp_path / "none.tfrecord"))) == []


def test_a_folder_without_tfrecords_and_no_path_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _index(tmp_path) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} must hold files with .tfrecord in their names.\n"
    assert _index(tmp_path / "gone") == 1
    message = f"error: PATH must be a TFRecord file or a folder of TFRecord files. Received: {tmp_path / 'gone'}\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("shard", "index"),
    [
        ("svhn-train.tfrecord-00000-of-00064", "svhn-train.idx-00000-of-00064"),
        ("a/b.tfrecord", "a/b.idx"),
        ("a.tfrecords/b.tfrecords", "a.tfrecords/b.idx"),
        ("gs://bucket.tfrecord/x.tfrecord-3", "gs://bucket.tfrecord/x.idx-3"),
        ("a.tfrecord.tfrecord", "a.idx.tfrecord"),
        ("b.tfrecording", "b.tfrecording.idx"),
        ("records", "records.idx"),
    ],
)
def test_an_index_is_named_after_its_file_and_is_never_taken_for_one(shard: str, index: str) -> None:
    assert index_path(shard) == index


def test_an_index_comes_back_as_where_records_start_and_end() -> None:
    sizes = [16, 17, 9000]
    assert parse_index(format_index(sizes), "x").tolist() == [0, 16, 33, 9033]
    assert parse_index(b"", "x").tolist() == [0]
    assert parse_index(b"0 16\r\n16\t20", "x").tolist() == [0, 16, 36]
    assert parse_index(format_index([2**40, 2**41]), "x").tolist() == [0, 2**40, 2**40 + 2**41]


@pytest.mark.parametrize(
    "text",
    [
        "0 15\n",
        "0 16\n17 16\n",
        "0 16\n0 16\n",
        "1 16\n",
        "0\n",
        "0 0x10\n",
        "0 16.0\n",
        f"0 {2**63 - 1}\n{2**63 - 1} 16\n",
    ],
)
def test_what_is_no_index_of_a_whole_file_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^some\.idx: .*Received: "):
        parse_index(text.encode(), "some.idx")
