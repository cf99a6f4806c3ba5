"""TFRecord framing: length and masked CRC-32C around each record.

The layout is TensorFlow's (tensorflow/core/lib/io/record_writer.h): a
little-endian uint64 length, its masked CRC, the bytes, their masked CRC.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import google_crc32c

from tfrecords.errors import UserError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
FRAMING_BYTES = _HEADER.size + _FOOTER.size
"""Bytes that framing adds to a record."""
MAX_RECORD_BYTES = 1 << 30
"""Longest record that is read. A record here has some kilobytes, so a greater length means damage."""
_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Location of a record, as error messages print it.

    Attributes:
      file: Path of the file.
      index: Index of the record in the file, from 0.
      offset: Offset of the record's header in the file, bytes.
    """

    file: str
    index: int
    offset: int

    def __str__(self) -> str:
        return f"{self.file}: record {self.index} at byte {self.offset}"


class Record(NamedTuple):
    """One record and its location.

    Attributes:
      data: Serialized example.
      location: Location of the record.
    """

    data: bytes
    location: RecordLocation


def masked_crc32c(data: bytes) -> int:
    """Returns TensorFlow's masked CRC-32C of `data`, 0..2**32-1."""
    return _mask(google_crc32c.value(data))


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(*parts: bytes) -> bytes:
    """Returns the framed record of a TFRecord file; a record may come in several parts."""
    length = struct.pack("<Q", sum(map(len, parts)))
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return b"".join((length, _FOOTER.pack(masked_crc32c(length)), *parts, _FOOTER.pack(_mask(crc))))


def read_frames(stream: BinaryIO, name: str, verify: bool = True) -> Iterator[Record]:
    """Yields the records of an uncompressed TFRecord stream, in order.

    Args:
      stream: Binary stream, at its beginning.
      name: Name of the file in error messages.
      verify: Whether to check the checksums of the records. Those of the lengths are always checked.

    Raises:
      UserError: The file ends inside a record or a checksum is wrong. The message names the file, the record and its
        offset.
    """
    offset = index = 0
    while header := stream.read(HEADER_BYTES):
        location = RecordLocation(name, index, offset)
        framed = header + stream.read(frame_size(header, location) - HEADER_BYTES)
        yield Record(unframe(framed, location, verify), location)
        offset += len(framed)
        index += 1


def frame_size(header: bytes, location: object) -> int:
    """Returns the size of a framed record, bytes.

    Args:
      header: First bytes of the framed record.
      location: Location of the record in error messages.

    Raises:
      UserError: The header is too short, or its checksum is wrong.
    """
    if len(header) < HEADER_BYTES:
        raise UserError(f"{location}: the file ends inside a header of {HEADER_BYTES} bytes.", f"{len(header)} bytes")
    size = _data_size(header)
    if size is None:
        rule = f"{location}: the length's checksum is wrong: not a TFRecord file, or damaged."
        raise UserError(rule, _HEADER.unpack(header)[0])
    return size + FRAMING_BYTES


@lru_cache(1024)
def _data_size(header: bytes) -> int | None:
    """Returns the length of a record, or None for an invalid header. Records of equal length have equal headers."""
    if len(header) < HEADER_BYTES:
        return None
    length, crc = _HEADER.unpack(header)
    return int(length) if masked_crc32c(header[:8]) == crc and length <= MAX_RECORD_BYTES else None


def try_unframe(framed: bytes, verify: bool = True) -> bytes | None:
    """Returns what `unframe` returns, or None where it raises."""
    if _data_size(framed[:HEADER_BYTES]) != len(framed) - FRAMING_BYTES:
        return None
    data = framed[HEADER_BYTES : -_FOOTER.size]
    if verify and masked_crc32c(data) != _FOOTER.unpack_from(framed, len(framed) - _FOOTER.size)[0]:
        return None
    return data


def unframe(framed: bytes, location: object, verify: bool = True) -> bytes:
    """Returns the bytes of a record without their framing.

    Args:
      framed: Header, record and footer.
      location: Location of the record in error messages.
      verify: Whether to check the checksum of the record. That of its length is always checked.

    Raises:
      UserError: There are too few or too many bytes, or a checksum is wrong.
    """
    data = try_unframe(framed, verify)
    if data is not None:
        return data
    size = frame_size(framed[:HEADER_BYTES], location)
    if len(framed) < size:
        rule = f"{location}: the file ends inside a record of {size - FRAMING_BYTES} bytes."
        raise UserError(rule, f"{len(framed) - HEADER_BYTES} bytes")
    if len(framed) > size:
        raise UserError(f"{location}: the index must state the size of the record, {size} bytes.", len(framed))
    received = f"crc {_FOOTER.unpack_from(framed, len(framed) - _FOOTER.size)[0]:#x}"
    raise UserError(f"{location}: the record's checksum is wrong: damaged.", received)
