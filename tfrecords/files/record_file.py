"""One TFRecord file as a sequence of records with random access."""

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.files.framing import HEADER_BYTES, RecordLocation, frame_size, try_unframe, unframe
from tfrecords.files.index import index_path, parse_index
from tfrecords.files.place import Place
from tfrecords.files.storage import Blob, open_blob, read_bytes

_COMPRESSED = (b"\x1f\x8b\x08", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""First bytes of gzip (RFC 1952) and zlib (RFC 1950) files."""


class RecordFile(Sequence[bytes]):
    """The serialized records of any uncompressed TFRecord file, in stored order.

    The index next to the file (`python -m tfrecords index`) gives the locations of the records. Without an index, the
    file is scanned once, from header to header.

    Attributes:
      path: Path of the file.
      size: Size of the file, bytes.
      version: Version of the file, which differs when the file was changed or replaced, as far as can be seen.
      index_file: Path of the index in use; None without an index.
      end: End of the last record, bytes from the beginning of the file.
      damage: Error at which the sequence ends before the file does, raised there by iteration; None for a complete
        file.
    """

    def __init__(self, path: Place | Path | str, verify: bool = True, copy: Blob | None = None) -> None:
        """Opens a file.

        Args:
          path: Local path, or an address that fsspec supports.
          verify: Whether to check the checksum of each record. Those of the lengths are always checked.
          copy: Complete content of a remote file, which is scanned, so that its index needs no request; None opens
            the file.

        Raises:
          UserError: The file is missing or compressed, or its index is invalid.
        """
        place = Place(path)
        self.path, self._verify = place.text, verify
        self._blob = copy or open_blob(place)
        self.size, self.version = self._blob.size, self._blob.version
        self.index_file: str | None = index_path(self.path)
        self.damage: UserError | None = None
        index = None if copy else read_bytes(Place(self.index_file))
        if index is None:
            self.index_file = None
            starts, self.damage = scan(self._blob, self.path)
        else:
            starts = parse_index(index, self.index_file)
        # A memoryview returns single integers faster than an array or a list of the same size in memory.
        self._starts = memoryview(starts.data)
        self.end: int = self._starts[-1]
        if self.index_file and self.end < self.size:
            rule = f"{self.index_file} must reach the end of {self.path}, {self.size} bytes."
            self.damage = UserError(rule, f"{len(self)} records in {self.end} bytes")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Returns a record, or a list of records for a slice.

        Raises:
          IndexError: The index is out of range.
          UserError: The record is damaged.
        """
        if isinstance(index, slice):
            return [self.read(each) for each in range(len(self))[index]]
        return self.read(range(len(self))[operator.index(index)])

    def __iter__(self) -> Iterator[bytes]:
        for index in range(len(self)):
            yield self.read(index)
        if self.damage:
            raise self.damage.with_traceback(None)

    def read(self, index: int) -> bytes:
        """Returns the record at an index of 0 or above.

        Raises:
          UserError: The record is damaged.
        """
        start, stop = self._starts[index], self._starts[index + 1]
        framed = self._blob.read(start, stop)
        record = try_unframe(framed, self._verify)
        return self._raise_damage(framed, index) if record is None else record

    def data_start(self, index: int) -> int:
        """Returns the offset of a record's own bytes in the file."""
        return self._starts[index] + HEADER_BYTES

    def view(self, start: int, stop: int) -> memoryview:
        """Returns the bytes of the file from `start` to `stop`, without a copy for a local file."""
        return self._blob.view(start, stop)

    def read_ahead(self) -> None:
        """Asks for the file to be read into memory in the background; for the beginning of a remote one."""
        self._blob.read_ahead()

    def is_far(self, index: int) -> bool:
        """Returns whether the record at an index of 0 or above is a request away."""
        return self._blob.is_far(self._starts[index], self._starts[index + 1])

    def location(self, index: int) -> RecordLocation:
        """Returns the location of a record."""
        return RecordLocation(self.path, index, self._starts[index])

    def _raise_damage(self, framed: bytes, index: int) -> bytes:
        """Raises the error of a damaged record.

        Raises:
          UserError: Always, unless the file was repaired in the meantime.
        """
        location, size = self.location(index), self._starts[index + 1] - self._starts[index]
        # The file has more bytes after the end that the index states for this record.
        if len(framed) == size < (true_size := frame_size(framed[:HEADER_BYTES], location)):
            raise UserError(f"{location}: the index must state the size of the record, {true_size} bytes.", size)
        return unframe(framed, location, self._verify)

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordFile, (self.path, self._verify)


def scan(blob: Blob, name: str) -> tuple[NDArray[np.int64], UserError | None]:
    """Scans a TFRecord file from header to header.

    Args:
      blob: Content of the file.
      name: Name of the file in error messages.

    Returns:
      The start of each record and the end of the last one, (records + 1,) int64, bytes; and the damage that ended the
      scan, or None.

    Raises:
      UserError: The file is compressed, so its records have no offsets.
    """
    starts = [0]
    try:
        while starts[-1] < blob.size:
            location = RecordLocation(name, len(starts) - 1, starts[-1])
            size = frame_size(blob.read(starts[-1], starts[-1] + HEADER_BYTES), location)
            if starts[-1] + size > blob.size:
                rest = blob.size - starts[-1]
                raise UserError(f"{location}: the file ends inside a record.", f"{rest} of {size} bytes")
            starts.append(starts[-1] + size)
    except UserError as error:
        if len(starts) == 1 and blob.read(0, 3).startswith(_COMPRESSED):
            raise UserError(f"{name} is compressed: only uncompressed TFRecords have random access.") from error
        return np.array(starts, np.int64), error
    return np.array(starts, np.int64), None
