"""TFRecord framing: length and masked CRC-32C around each record.

The layout is TensorFlow's (tensorflow/core/lib/io/record_writer.h): a
little-endian uint64 length, its masked CRC, the bytes, their masked CRC.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

from tfrecords.errors import UserError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
FRAMING_BYTES = _HEADER.size + _FOOTER.size
"""What framing adds to a record, in bytes."""
MAX_RECORD_BYTES = 1 << 30
"""A longer length is taken for damage rather than allocated: a record here is some kilobytes."""
_MASK_DELTA = 0xA282EAD8


class Record(NamedTuple):
    """One record and where it stands.

    Attributes:
      data: the serialized example.
      number: in the file, from 0.
      offset: of its header in the file, in bytes.
    """

    data: bytes
    number: int
    offset: int


def masked_crc32c(data: bytes) -> int:
    """Returns TensorFlow's masked CRC-32C of `data`, 0..2**32-1."""
    return _mask(google_crc32c.value(data))


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(*parts: bytes) -> bytes:
    """Returns a record, given whole or in parts, as it stands in a TFRecord file."""
    length = struct.pack("<Q", sum(map(len, parts)))
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return b"".join((length, _FOOTER.pack(masked_crc32c(length)), *parts, _FOOTER.pack(_mask(crc))))


def read_frames(stream: BinaryIO, name: str, verify: bool = True) -> Iterator[Record]:
    """Yields the records of an uncompressed TFRecord stream, in order.

    Args:
      stream: opened for binary reading, at its beginning.
      name: what errors call the file.
      verify: check the records' own checksums; lengths are always checked.

    Raises:
      UserError: the file ends inside a record or a checksum is wrong; the message
        names the file, the record and its offset.
    """
    offset = 0
    number = 0
    while header := stream.read(_HEADER.size):
        where = f"{name}: record {number} at byte {offset}"
        if len(header) < _HEADER.size:
            raise UserError(f"{where}: the file ends inside a header of {_HEADER.size} bytes.", f"{len(header)} bytes")
        length, length_crc = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != length_crc or length > MAX_RECORD_BYTES:
            raise UserError(f"{where}: the length's checksum is wrong: not a TFRecord file, or damaged.", length)
        data = stream.read(length)
        footer = stream.read(_FOOTER.size)
        if len(data) < length or len(footer) < _FOOTER.size:
            raise UserError(
                f"{where}: the file ends inside a record of {length} bytes.", f"{len(data) + len(footer)} bytes"
            )
        if verify and masked_crc32c(data) != _FOOTER.unpack(footer)[0]:
            raise UserError(f"{where}: the record's checksum is wrong: damaged.", f"crc {_FOOTER.unpack(footer)[0]:#x}")
        yield Record(data, number, offset)
        offset += length + FRAMING_BYTES
        number += 1
