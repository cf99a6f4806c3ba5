"""TFRecord framing: length and masked CRC-32C around each record.

The layout is TensorFlow's (tensorflow/core/lib/io/record_writer.h): a
little-endian uint64 length, its masked CRC, the bytes, their masked CRC.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import google_crc32c

from tfrecords.errors import UserError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
FRAMING_BYTES = _HEADER.size + _FOOTER.size
"""What framing adds to a record, in bytes."""
MAX_RECORD_BYTES = 1 << 30
"""A longer length is taken for damage rather than allocated: a record here is some kilobytes."""
_MASK_DELTA = 0xA282EAD8


class Place(NamedTuple):
    """Where a record stands, as errors say it: the file's name, its number there, its header's offset in bytes."""

    name: str
    number: int
    offset: int

    def __str__(self) -> str:
        return f"{self.name}: record {self.number} at byte {self.offset}"


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
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


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
    offset = number = 0
    while header := stream.read(HEADER_BYTES):
        place = Place(name, number, offset)
        framed = header + stream.read(frame_size(header, place) - HEADER_BYTES)
        yield Record(unframe(framed, place, verify), number, offset)
        offset += len(framed)
        number += 1


def frame_size(header: bytes, place: object) -> int:
    """Returns how many bytes a record takes in its file.

    Args:
      header: its first bytes.
      place: what errors call the record.

    Raises:
      UserError: they are too few, or no header.
    """
    if len(header) < HEADER_BYTES:
        raise UserError(f"{place}: the file ends inside a header of {HEADER_BYTES} bytes.", f"{len(header)} bytes")
    size = _data_size(header)
    if size is None:
        rule = f"{place}: the length's checksum is wrong: not a TFRecord file, or damaged."
        raise UserError(rule, _HEADER.unpack(header)[0])
    return size + FRAMING_BYTES


@lru_cache(1024)
def _data_size(header: bytes) -> int | None:
    """Returns a record's length; None where it is no header. Records of equal length have equal headers."""
    if len(header) < HEADER_BYTES:
        return None
    length, crc = _HEADER.unpack(header)
    return int(length) if masked_crc32c(header[:8]) == crc and length <= MAX_RECORD_BYTES else None


def unframe_whole(framed: bytes, verify: bool = True) -> bytes | None:
    """Returns the record that stands in a file as `framed`; None where `unframe` has an error to raise."""
    if _data_size(framed[:HEADER_BYTES]) != len(framed) - FRAMING_BYTES:
        return None
    data = framed[HEADER_BYTES : -_FOOTER.size]
    if verify and masked_crc32c(data) != _FOOTER.unpack_from(framed, len(framed) - _FOOTER.size)[0]:
        return None
    return data


def unframe(framed: bytes, place: object, verify: bool = True) -> bytes:
    """Returns the record that stands in a file as `framed`.

    Args:
      framed: header, record and footer.
      place: what errors call the record.
      verify: check the record's own checksum; its length is always checked.

    Raises:
      UserError: they are too few or too many, or a checksum is wrong.
    """
    data = unframe_whole(framed, verify)
    if data is not None:
        return data
    size = frame_size(framed[:HEADER_BYTES], place)
    if len(framed) < size:
        rule = f"{place}: the file ends inside a record of {size - FRAMING_BYTES} bytes."
        raise UserError(rule, f"{len(framed) - HEADER_BYTES} bytes")
    if len(framed) > size:
        raise UserError(f"{place}: the index must state the size that the record has, {size} bytes.", len(framed))
    received = f"crc {_FOOTER.unpack_from(framed, len(framed) - _FOOTER.size)[0]:#x}"
    raise UserError(f"{place}: the record's checksum is wrong: damaged.", received)
