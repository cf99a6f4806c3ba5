"""One TFRecord file as a sequence of records: any of them at once, by its number."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import ShardInfo
from tfrecords.errors import UserError
from tfrecords.files.framing import HEADER_BYTES, Place, frame_size, unframe, unframe_whole
from tfrecords.files.index import index_path, parse_index
from tfrecords.files.storage import Blob, join, open_blob, read_bytes

_COMPRESSED = (b"\x1f\x8b\x08", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How gzip (RFC 1952) and zlib (RFC 1950) files begin."""


class RecordFile(Sequence[bytes]):
    """The serialized records of any uncompressed TFRecord file, in stored order.

    Where they stand, the index beside the file tells (`python -m tfrecords index`); without one, the
    file is walked through once, from header to header.

    Attributes:
      path: of the file.
      size: of the file, bytes.
      version: another one when the file is changed or replaced, as far as can be seen.
      index_file: path of the index that was used; None where there is none.
      end: where the last record stops, bytes from the file's beginning.
      damage: that the sequence ends at, before the file does; None where it comes to the file's end. Iterating
        raises it there.
    """

    def __init__(self, path: str, verify: bool = True) -> None:
        """Opens a file.

        Args:
          path: local, or a URL that fsspec knows.
          verify: check each record's own checksum; its length is always checked.

        Raises:
          UserError: there is no such file, it is compressed, or its index cannot be one.
        """
        self.path, self._verify = path, verify
        self._blob = open_blob(path)
        self.size, self.version = self._blob.size, self._blob.version
        self.index_file: str | None = index_path(path)
        self.damage: UserError | None = None
        index = read_bytes(index_path(path))
        if index is None:
            self.index_file = None
            starts, self.damage = scan(self._blob, path)
        else:
            starts = parse_index(index, index_path(path))
        # Of all that holds many integers, this gives out single ones the fastest.
        self._starts = memoryview(starts.data)
        self.end: int = self._starts[-1]
        if self.index_file and self.end < self.size:
            rule = f"{self.index_file} must go on to the end of {path}, {self.size} bytes."
            self.damage = UserError(rule, f"{len(self)} records in {self.end} bytes")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Returns a record, or a list of several.

        Raises:
          IndexError: there is none of this number.
          UserError: it is damaged.
        """
        if isinstance(index, slice):
            return [self.read(number) for number in range(len(self))[index]]
        return self.read(range(len(self))[operator.index(index)])

    def __iter__(self) -> Iterator[bytes]:
        for number in range(len(self)):
            yield self.read(number)
        if self.damage:
            raise self.damage.with_traceback(None)

    def read(self, number: int) -> bytes:
        """Returns a record by its number, 0 or above."""
        start, stop = self._starts[number], self._starts[number + 1]
        framed = self._blob.read(start, stop)
        record = unframe_whole(framed, self._verify)
        return self._explain(framed, number) if record is None else record

    def start(self, number: int) -> int:
        """Returns where a record's own bytes start in the file."""
        return self._starts[number] + HEADER_BYTES

    def view(self, start: int, stop: int) -> memoryview:
        """Returns these of the file's bytes; of a local file without a copy."""
        return self._blob.view(start, stop)

    def read_ahead(self) -> None:
        """Tells the system that all of the file will be read soon."""
        self._blob.read_ahead()

    def place(self, number: int) -> Place:
        """Returns where a record stands."""
        return Place(self.path, number, self._starts[number])

    def _explain(self, framed: bytes, number: int) -> bytes:
        """Raises:
        UserError: what is wrong with a record.
        """
        place, size = self.place(number), self._starts[number + 1] - self._starts[number]
        # The file goes on where the index says that the record ends.
        if len(framed) == size < (true_size := frame_size(framed[:HEADER_BYTES], place)):
            raise UserError(f"{place}: the index must state the size that the record has, {true_size} bytes.", size)
        return unframe(framed, place, self._verify)

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordFile, (self.path, self._verify)


def scan(blob: Blob, name: str) -> tuple[NDArray[np.int64], UserError | None]:
    """Walks through a TFRecord file from header to header.

    Returns:
      Where each record starts, and at the end where the last one stops: (records + 1,) int64, bytes; and the
      damage that ended the walk, if any.

    Raises:
      UserError: the file is compressed: its records have no places.
    """
    starts = [0]
    try:
        while starts[-1] < blob.size:
            place = Place(name, len(starts) - 1, starts[-1])
            size = frame_size(blob.read(starts[-1], starts[-1] + HEADER_BYTES), place)
            if starts[-1] + size > blob.size:
                raise UserError(f"{place}: the file ends inside a record.", f"{blob.size - starts[-1]} of {size} bytes")
            starts.append(starts[-1] + size)
    except UserError as error:
        if len(starts) == 1 and blob.read(0, 3).startswith(_COMPRESSED):
            rule = f"{name} is compressed: records can be read by number from uncompressed TFRecords only."
            raise UserError(rule) from error
        return np.array(starts, np.int64), error
    return np.array(starts, np.int64), None


def open_shard(directory: str, shard: ShardInfo, verify: bool = True) -> RecordFile:
    """Opens one shard of a dataset.

    Raises:
      UserError: it is missing, or it or its index is not the one that the manifest describes.
    """
    file = RecordFile(join(directory, shard.file), verify)
    described = f"{shard.examples} records in {shard.bytes} bytes, as the manifest states"
    if file.index_file and (len(file), file.end) != (shard.examples, shard.bytes):
        rule = f"{file.index_file} must be of {described}; `python -m tfrecords index --overwrite` makes it anew."
        raise UserError(rule, f"{len(file)} records in {file.end} bytes")
    # Where it is cut or damaged, the records before and, with an index, behind can be read.
    short = file.index_file or (len(file) < shard.examples and (file.damage or file.size < shard.bytes))
    if (len(file), file.size) != (shard.examples, shard.bytes) and not (short and file.size <= shard.bytes):
        raise UserError(f"{file.path} must hold {described}.", f"{len(file)} records in {file.size} bytes")
    return file


def cut_error(file: RecordFile, shard: ShardInfo) -> UserError:
    """Returns the error of records behind the end of a file that ends between two records."""
    place = Place(file.path, len(file), file.end)
    return UserError(f"{place}: the file ends before its last record, of {shard.examples}.", f"{file.size} bytes")
