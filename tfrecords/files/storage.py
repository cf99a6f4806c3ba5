"""Access to files: local ones, mapped into memory, and remote ones that fsspec supports (gs://, s3://, https://)."""

import mmap
import os
import time
from typing import BinaryIO, Protocol

from tfrecords.errors import UserError
from tfrecords.files import blocks, remote
from tfrecords.files.blocks import AHEAD_BLOCKS, BLOCK_BYTES, Key
from tfrecords.files.disk_cache import CacheFullError, DiskCache
from tfrecords.files.place import Place

_STEP_BYTES = 1 << 20
"""Longest gap between two reads that still counts as reading in order, as from header to header."""
_LOOK_S = 5.0
"""Time after which a request is preceded by a look whether the file is still the same, seconds."""


class Blob(Protocol):
    """The bytes of a file, in any order.

    Attributes:
      size: Size of the file, bytes.
      version: Version of the file, which differs when the file was changed or replaced, as far as can be seen.
    """

    size: int
    version: tuple[object, ...]

    def read(self, start: int, stop: int) -> bytes:
        """Returns the bytes from `start` to `stop`, or fewer at the end of the file."""

    def view(self, start: int, stop: int) -> memoryview:
        """Returns what `read` returns, without a copy if possible."""

    def read_ahead(self) -> None:
        """Asks for the file, or its beginning, to be read into memory in the background, if that can be done."""

    def is_far(self, start: int, stop: int) -> bool:
        """Returns whether the bytes from `start` to `stop` are a request away."""


def is_remote(path: str) -> bool:
    """Returns whether a path is a URL for fsspec, such as `gs://bucket/folder`."""
    return "://" in path


def read_bytes(place: Place) -> bytes | None:
    """Returns the content of a file, or None if it does not exist."""
    try:
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_blob(place: Place) -> Blob:
    """Opens a file for reading in any order.

    Raises:
      UserError: The file does not exist, or fsspec is not installed.
    """
    try:
        if place.is_remote:
            return RemoteBlob(place)
        with place.path.open("rb") as stream:
            return LocalBlob(stream)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{place}: there is no such file.") from error


def open_copy(place: Place, cache: DiskCache, sha256: str, size: int) -> Blob | None:
    """Opens the copy of a remote file in a cache; returns None where the cache has no room for it.

    Args:
      place: Place of the file.
      cache: Cache for the copy.
      sha256: SHA-256 that the file must have, hexadecimal.
      size: Size that the file must have, bytes.

    Raises:
      UserError: The file does not exist, or has another digest or size.
    """
    try:
        with cache.open(place, sha256, size) as stream:
            # Closed here, but open for as long as it is mapped: so long the cache keeps the copy.
            return LocalBlob(stream, (sha256,))
    except CacheFullError:
        return None
    except FileNotFoundError as error:
        raise UserError(f"{place}: there is no such file.") from error


class LocalBlob:
    """A file of this machine, mapped into memory."""

    def __init__(self, stream: BinaryIO, version: tuple[object, ...] = ()) -> None:
        """Maps an open file, which may be closed then. A lock on it lasts as long as the map does.

        Args:
          stream: The file.
          version: Version of the file; empty for what the operating system states.
        """
        status = os.fstat(stream.fileno())
        self.size = status.st_size
        self.version: tuple[object, ...] = version or (status.st_size, status.st_ino, status.st_mtime_ns)
        # An empty file cannot be mapped.
        self._bytes: mmap.mmap | bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        self._view = memoryview(self._bytes)

    def read(self, start: int, stop: int) -> bytes:
        """Returns the bytes from `start` to `stop`, or fewer at the end of the file."""
        return self._bytes[start:stop]

    def view(self, start: int, stop: int) -> memoryview:
        """Returns what `read` returns, without a copy."""
        return self._view[start:stop]

    def read_ahead(self) -> None:
        """Asks the operating system to read the complete file into memory in the background, if it can."""
        if hasattr(mmap, "MADV_WILLNEED") and isinstance(self._bytes, mmap.mmap):
            self._bytes.madvise(mmap.MADV_WILLNEED)

    def is_far(self, start: int, stop: int) -> bool:
        """Returns False: the operating system reads ahead."""
        return False


class RemoteBlob:
    """A file at an address, whose blocks are in the process's cache of blocks.

    What is read in order has its next blocks requested in the background.
    """

    def __init__(self, place: Place) -> None:
        """Asks for the file's size and version.

        Raises:
          OSError: The file is missing, or it alone cannot be read.
          UserError: The place as a whole cannot be read.
        """
        self._address = place.text
        self.size, stated = remote.version(self._address)
        self.version: tuple[object, ...] = self.size, stated
        self._last, self._looked = 0, time.monotonic()
        self._cache = blocks.shared()
        self._current = -1, b""

    def read(self, start: int, stop: int) -> bytes:
        """Returns the bytes from `start` to `stop`, or fewer at the end of the file.

        Raises:
          OSError: The file is missing, or it alone cannot be read.
          UserError: The file was replaced, or the place as a whole cannot be read.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        in_order, self._last = 0 <= start - self._last <= _STEP_BYTES, stop
        index, data = self._current
        offset = start - index * BLOCK_BYTES
        # Most reads: no lock, no look-up.
        if index >= 0 and offset >= 0 and stop - start <= len(data) - offset:
            return data[offset : offset + stop - start]
        first, last = start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        found = []
        for index in range(first, last + 1):
            if in_order:
                self._ask_ahead(index, 1 + AHEAD_BLOCKS)
            block = self._cache.read(self._key(index), self._load, in_order)
            if block is None:
                return self._request(start, stop)
            # Only what is asked for: to join blocks would copy all bytes of a file twice.
            found.append(block[max(start - index * BLOCK_BYTES, 0) : stop - index * BLOCK_BYTES])
            self._current = index, block
        return b"".join(found) if len(found) > 1 else found[0]

    def view(self, start: int, stop: int) -> memoryview:
        """Returns what `read` returns."""
        return memoryview(self.read(start, stop))

    def read_ahead(self) -> None:
        """Requests the first blocks in the background."""
        self._ask_ahead(0, AHEAD_BLOCKS)

    def is_far(self, start: int, stop: int) -> bool:
        """Returns whether a block of the bytes from `start` to `stop` is not in memory."""
        indices = range(start // BLOCK_BYTES, -(-min(stop, self.size) // BLOCK_BYTES))
        return not all(self._cache.has(self._key(index)) for index in indices)

    def _key(self, index: int) -> Key:
        return Key(self._address, self.version, index)

    def _ask_ahead(self, first: int, count: int) -> None:
        for index in range(first, min(first + count, -(-self.size // BLOCK_BYTES))):
            self._cache.ahead(self._key(index), self._load)

    def _load(self, key: Key) -> bytes:
        start = key.block * BLOCK_BYTES
        return self._request(start, min(start + BLOCK_BYTES, self.size))

    def _request(self, start: int, stop: int) -> bytes:
        """Returns bytes of the file, after a look at it if the last one was a while ago.

        Raises:
          OSError: The file is missing, or it alone cannot be read.
          UserError: The file was replaced, or the place as a whole cannot be read.
        """
        if time.monotonic() - self._looked > _LOOK_S:
            self._look()
        data = remote.read_bytes(self._address, start, stop)
        if len(data) != stop - start:
            self._look()
            raise UserError(f"{self._address} must have {self.size} bytes.", f"{start + len(data)} bytes")
        return data

    def _look(self) -> None:
        """Checks that the file is still the same.

        Raises:
          UserError: It was replaced.
        """
        if (found := remote.version(self._address)) != self.version:
            rule = f"{self._address} must not change while it is read, from {_state(self.version)}."
            raise UserError(rule, _state(found))
        self._looked = time.monotonic()


def _state(version: tuple[object, ...]) -> str:
    size, stated = version
    return f"{size} bytes{stated and ', '}{stated}"
