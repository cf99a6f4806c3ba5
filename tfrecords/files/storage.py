"""Access to files: local ones, mapped into memory, and remote ones that fsspec supports (gs://, s3://, https://)."""

import mmap
import os
from pathlib import Path
from typing import Protocol

from tfrecords.errors import UserError
from tfrecords.files import remote

_AHEAD_BYTES = 8 << 20
"""Size of a request to a remote file that is read in order. The latency of a request equals some megabytes."""
_STEP_BYTES = 1 << 20
"""Longest gap between two reads that still counts as reading in order, as from header to header."""


class Blob(Protocol):
    """The bytes of a file, in any order.

    Attributes:
      size: Size of the file, bytes.
      version: Version of the file, which differs when the file was changed or replaced, as far as can be seen.
    """

    size: int
    version: tuple[int, ...]

    def read(self, start: int, stop: int) -> bytes:
        """Returns the bytes from `start` to `stop`, or fewer at the end of the file."""

    def view(self, start: int, stop: int) -> memoryview:
        """Returns what `read` returns, without a copy if possible."""

    def read_ahead(self) -> None:
        """Asks the operating system to read the complete file into memory in the background, if it can."""


def is_remote(path: str) -> bool:
    """Returns whether a path is a URL for fsspec, such as `gs://bucket/folder`."""
    return "://" in path


def join(directory: str, name: str) -> str:
    """Returns the path of a file in a directory, local or remote."""
    return f"{directory.rstrip('/')}/{name}" if is_remote(directory) else os.path.join(directory, name)  # noqa: PTH118


def read_bytes(path: str) -> bytes | None:
    """Returns the content of a file, or None if it does not exist."""
    try:
        return remote.read_bytes(path) if is_remote(path) else Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_blob(path: str) -> Blob:
    """Opens a file for reading in any order.

    Raises:
      UserError: The file does not exist, or fsspec is not installed.
    """
    try:
        return _RemoteBlob(path) if is_remote(path) else _LocalBlob(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{path}: there is no such file.") from error


class _LocalBlob:
    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as stream:
            status = os.fstat(stream.fileno())
            self.size = status.st_size
            self.version: tuple[int, ...] = status.st_size, status.st_ino, status.st_mtime_ns
            # An empty file cannot be mapped.
            self._bytes: mmap.mmap | bytes = (
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
            )
        self._view = memoryview(self._bytes)

    def read(self, start: int, stop: int) -> bytes:
        return self._bytes[start:stop]

    def view(self, start: int, stop: int) -> memoryview:
        return self._view[start:stop]

    def read_ahead(self) -> None:
        if hasattr(mmap, "MADV_WILLNEED") and isinstance(self._bytes, mmap.mmap):
            self._bytes.madvise(mmap.MADV_WILLNEED)


class _RemoteBlob:
    """Reads ahead while the caller reads in order; otherwise requests exactly the bytes that the caller wants."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.size = remote.size(path)
        self.version: tuple[int, ...] = (self.size,)
        self._ahead = 0, b""
        self._last = 0

    def read(self, start: int, stop: int) -> bytes:
        first, data = self._ahead
        if not first <= start <= stop <= first + len(data):
            in_order, first = 0 <= start - self._last <= _STEP_BYTES, start
            end = min(self.size, max(stop, start + _AHEAD_BYTES) if in_order else stop)
            data = remote.read_bytes(self._path, start, end) if start < end else b""
            self._ahead = first, data
        self._last = stop
        return data[start - first : stop - first]

    def view(self, start: int, stop: int) -> memoryview:
        return memoryview(self.read(start, stop))

    def read_ahead(self) -> None:
        """Does nothing: `read` reads ahead itself when the caller reads in order."""
