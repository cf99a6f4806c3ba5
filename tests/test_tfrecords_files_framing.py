"""TFRecord framing, against TensorFlow's own writer."""

import io
from pathlib import Path

import pytest
import tensorflow as tf

from tfrecords.dataset.reader import read_records
from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES, Record, frame, masked_crc32c, read_frames

RECORDS = [b"", b"a", b"house number", bytes(range(256)) * 40]


def test_frames_are_the_bytes_that_tensorflow_writes(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert b"".join(map(frame, RECORDS)) == (tmp_path / "theirs").read_bytes()


def test_records_are_read_with_their_numbers_and_offsets(tmp_path: Path) -> None:
    (tmp_path / "ours").write_bytes(b"".join(map(frame, RECORDS)))
    found = list(read_records(tmp_path / "ours"))
    assert [record.data for record in found] == RECORDS
    assert [record.location.index for record in found] == [0, 1, 2, 3]
    assert [record.location.offset for record in found[:3]] == [0, FRAMING_BYTES, 2 * FRAMING_BYTES + 1]


def test_the_masked_checksum_is_the_one_published_for_crc32c() -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720 and every catalogue); masked as TensorFlow does.
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("position", range(len(frame(b"house"))))
def test_one_flipped_bit_anywhere_is_found_and_named(position: int) -> None:
    data = bytearray(frame(b"first") + frame(b"house"))
    offset = len(frame(b"first"))
    data[offset + position] ^= 1
    with pytest.raises(UserError, match=rf"^shard: record 1 at byte {offset}: .*Received: "):
        list(read_frames(io.BytesIO(bytes(data)), "shard"))


@pytest.mark.parametrize("size", range(1, len(frame(b"house"))))
def test_a_file_cut_anywhere_inside_a_record_is_never_a_silent_end(size: int) -> None:
    data = frame(b"first") + frame(b"house")[:size]
    found: list[Record] = []
    with pytest.raises(UserError, match=r"the file ends inside a (header|record) of \d+ bytes\. Received: \d+ bytes"):
        found.extend(read_frames(io.BytesIO(data), "shard"))


def test_a_damaged_record_can_be_read_without_its_checksum() -> None:
    data = bytearray(frame(b"house"))
    data[13] ^= 1
    assert len(next(iter(read_frames(io.BytesIO(bytes(data)), "shard", verify=False))).data) == 5


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone: there is no such shard"):
        list(read_records(tmp_path / "gone"))
