"""Copies of remote files in a folder of this machine, bounded in bytes, which all its processes share.

Each file is downloaded once, however many processes and threads ask for it at the same time, and copied under its name
when it is complete and has the digest that its caller states. The least recently used copies make room for others.

Locks of the operating system (flock), which end with their process, say who uses what:

- A reader holds a shared lock on the copy. It belongs to the open file, and a memory map keeps the file open, so the
  copy is in use for as long as it is mapped. A copy in use is never deleted: unlinked but mapped, it would still fill
  the disk, and the bound would not hold.
- A download holds an exclusive lock on its unfinished file, for which the others wait. An unfinished file that nobody
  has locked is one of a killed process.
- Room is made by one process at a time, and reserved on the disk before the download begins.

A child process that is forked during a download shares its lock. Where a file system has no locks, each process
downloads to a file of its own: the copies are still complete, but a file may be downloaded more than once, a bound may
be exceeded for a time, and what a killed process left goes only after an hour.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import remote
from tfrecords.files.ahead import read_ahead
from tfrecords.files.flock import claimed, is_at, lock_file, locked
from tfrecords.files.place import Place
from tfrecords.files.publish import make_folder
from tfrecords.files.remote_errors import WEB, scheme_of
from tfrecords.files.shards import file_sha256

DEFAULT_BYTES = 64 << 30
"""Bound of a cache whose user states none, bytes."""
_CHUNK_BYTES = 4 << 20
"""Size of a request. `read_ahead` makes several at once, and keeps as many in memory."""
_PARTIAL, _LOCK = ".partial.", ".lock"
_NAME = re.compile(r"(\.partial\.)?[0-9a-f]{32}\.[^/]*")
"""Name of a file of a cache. No other file of its folder is counted or deleted."""
_LONGEST_NAME = 60
_HELD_PATHS = 64
"""Copies that a process holds for callers of `path`, which have yet to open them."""
_ABANDONED_S = 3600.0
"""Age of an unfinished file of a killed process, where no lock tells that one from others, seconds."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CacheFullError(UserError):
    """The copies that are in use leave no room for another one. What is read without a copy can still be read."""


class _Wanted(NamedTuple):
    """What a caller asks for: an address, the size and the digest of the file there, and the name of its copy."""

    address: str
    size: int
    sha256: str | None
    version: str | None
    name: str


class DiskCache:
    """A bounded folder of copies of remote files. Processes of one machine may share it, and each have its own object.

        cache = DiskCache("/scratch/cache", max_bytes=50 << 30)
        with cache.open("s3://bucket/records/svhn-train.tfrecord-00000-of-00064", sha256, size) as stream:
            ...

    Objects may be pickled, used by several threads, and used after a fork.

    Attributes:
      folder: Folder of the copies. It may hold other files, which are neither counted nor deleted.
      max_bytes: Bound of all copies, unfinished ones included, bytes.
      downloads: Number of files that this object has downloaded.
      hits: Number of files that it found.
    """

    def __init__(self, folder: Path | str, max_bytes: int = DEFAULT_BYTES) -> None:
        """Opens a cache, and creates its folder if it is missing.

        Raises:
          UserError: The folder is an address, a file, or may not be written to; or the bound is below 1.
        """
        if max_bytes < 1:
            raise UserError("A cache must have room for at least 1 byte.", max_bytes)
        self.folder, self.max_bytes = Place(folder).path.absolute(), max_bytes
        self.downloads = self.hits = 0
        self._held: OrderedDict[str, BinaryIO] = OrderedDict()
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._held)
        try:
            make_folder(self.folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError("A cache must be a folder, or a place for a new one.", self.folder) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise UserError("A cache needs a folder that can be written to.", self.folder)
        lock = self.folder / _LOCK
        if lock.exists() and not os.access(lock, os.R_OK | os.W_OK):
            rule = "A cache must be this user's, or that of a group whose umask lets it write: give another folder."
            raise UserError(rule, self.folder)

    def __repr__(self) -> str:
        return f"DiskCache({str(self.folder)!r}, {self.max_bytes})"

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a copy holds no files and has its own lock

    def path(self, place: Place | str, sha256: str | None = None, size: int | None = None) -> Path:
        """Returns the path of a copy of the file at an address, for libraries that open files by their names.

        The copy is not deleted until `_HELD_PATHS` other ones were asked for, `release` or the end of this object,
        and then until what was opened of it is closed. `open` needs no such care.

        Args:
          place: Address of the file. A local file is its own copy.
          sha256: SHA-256 that the file must have, hexadecimal; None takes what is there now.
          size: Size that the file must have, bytes; None asks for it.

        Raises:
          OSError: The file is missing, or it alone cannot be read.
          UserError: The file has another digest or size, its place cannot be read, or the disk is full.
          CacheFullError: The copies in use leave no room.
        """
        if not Place(str(place)).is_remote:
            return Place(str(place)).path
        stream = self.open(place, sha256, size)
        path = Path(stream.name)
        with self._lock:
            # Closed without the lock of another reader: each has its own open file.
            if earlier := self._held.pop(stream.name, None):
                earlier.close()
            self._held[stream.name] = stream
            while len(self._held) > _HELD_PATHS:
                self._held.popitem(last=False)[1].close()
        return path

    def release(self) -> None:
        """Lets the copies that `path` returned make room for others."""
        with self._lock:
            _close_all(self._held)

    def open(self, place: Place | str, sha256: str | None = None, size: int | None = None) -> BinaryIO:
        """Opens a copy of the file at an address; it stays in use until it is closed, or what is mapped of it freed.

        Args:
          place: Address of the file. A local file is its own copy.
          sha256: SHA-256 that the file must have, hexadecimal; None takes what is there now.
          size: Size that the file must have, bytes; None asks for it.

        Raises:
          OSError: The file is missing, or it alone cannot be read.
          UserError: The file has another digest or size, its place cannot be read, or the disk is full.
          CacheFullError: The copies in use leave no room.
        """
        source = Place(str(place))
        if not source.is_remote:
            return source.path.open("rb")
        wanted = _identify(source, sha256, size)
        path, partial = self.folder / wanted.name, self.folder / f"{_PARTIAL}{wanted.name}"
        while True:
            if found := _open_copy(path):
                self.hits += 1
                return found
            with claimed(partial) as (descriptor, own):
                if descriptor is None or not is_at(descriptor, own):
                    continue
                if path.exists():
                    own.unlink()
                    continue
                self._download(wanted, descriptor, own)
                # Under the lock, since a listing may miss a file that is renamed meanwhile.
                with locked(self.folder / _LOCK):
                    own.rename(path)
                self.downloads += 1
                # Ends the wait of the others.
                lock_file(descriptor, fcntl.LOCK_SH)
                if copy := _open_copy(path):
                    return copy

    def _download(self, wanted: _Wanted, descriptor: int, partial: Path) -> None:
        """Fills an unfinished file, which is deleted again if that fails."""
        try:
            self._reserve(wanted, descriptor, partial.name)
            received = _fetch(wanted, descriptor, partial)
            if wanted.sha256 and received != wanted.sha256.lower():
                raise UserError(f"{wanted.address} must have the SHA-256 {wanted.sha256}.", received)
            if wanted.version != (None if wanted.version is None else remote.version(wanted.address)[1]):
                raise UserError(f"{wanted.address} must not change while it is read.", "another object")
            os.fsync(descriptor)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                rule = f"The disk of the cache {self.folder} must have room for {wanted.address}, {wanted.size} bytes."
                raise UserError(rule, error.strerror) from error
            raise

    def _reserve(self, wanted: _Wanted, descriptor: int, own: str) -> None:
        """Deletes the least recently used copies until the bound leaves room, and takes that room on the disk.

        Raises:
          OSError: The disk has no such room.
          CacheFullError: The copies in use leave no room.
        """
        with locked(self.folder / _LOCK):
            os.ftruncate(descriptor, 0)
            files = [each for each in self._files() if each[2].name != own]
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files, key=lambda each: each[0]):
                # What a killed process left goes in any case.
                if (total + wanted.size > self.max_bytes or path.name.startswith(_PARTIAL)) and _delete_unused(path):
                    total -= size
            if total + wanted.size > self.max_bytes:
                rule = f"The cache {self.folder} must have room for {wanted.address}, {wanted.size} bytes"
                received = f"{self.max_bytes} bytes, {total} of them in use"
                raise CacheFullError(f"{rule}: give it a larger bound.", received)
            if wanted.size and hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(descriptor, 0, wanted.size)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yields when each file of the cache was last asked for, its size, and its path."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        yield status.st_mtime_ns, status.st_size, Path(entry.path)


def _close_all(streams: OrderedDict[str, BinaryIO]) -> None:
    while streams:
        streams.popitem()[1].close()


def _identify(source: Place, sha256: str | None, size: int | None) -> _Wanted:
    """Returns what is wanted. The name of the copy depends on the digest, or else on what the file is now."""
    version = None
    if size is None or sha256 is None:
        found, version = remote.version(source.text)
        if size is not None and size != found:
            raise UserError(f"{source} must have {size} bytes.", found)
        size, version = found, None if sha256 else version
    # A digest of it all: the parts come from a manifest, which may be anybody's.
    identity = "\n".join((sha256.lower(), str(size)) if sha256 else (source.text, str(size), str(version)))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
    name = re.sub(r"[^\w.-]", "_", source.name)[-_LONGEST_NAME:]
    return _Wanted(source.text, size, sha256, version, f"{digest}.{name}")


def _fetch(wanted: _Wanted, descriptor: int, path: Path) -> str:
    """Writes the file at an address into an open one, and returns its SHA-256.

    Raises:
      UserError: The file has another size.
    """
    address, size = wanted.address, wanted.size
    if scheme_of(address) in WEB:
        # A server of the web may send the complete file for each range.
        remote.download(address, path)
        if (received := path.stat().st_size) != size:
            raise UserError(f"{address} must have {size} bytes.", received)
        return file_sha256(path)
    digest = hashlib.sha256()
    starts = range(0, size, _CHUNK_BYTES)
    for start, read in read_ahead(starts, lambda start: _read(address, start, size), lambda _: len(starts) > 1):
        chunk = read()
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.pwrite(descriptor, view, start + len(chunk) - len(view)) :]
    return digest.hexdigest()


def _read(address: str, start: int, size: int) -> bytes:
    stop = min(start + _CHUNK_BYTES, size)
    data = remote.read_bytes(address, start, stop)
    if len(data) != stop - start:
        raise UserError(f"{address} must have {size} bytes.", f"{start + len(data)} bytes")
    return data


def _open_copy(path: Path) -> BinaryIO | None:
    """Opens a copy and locks it against deletion; returns None if there is none, or it has just been deleted."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return None
    lock_file(stream.fileno(), fcntl.LOCK_SH)
    if not is_at(stream.fileno(), path):
        stream.close()
        return None
    # Those of another user may not be touched; then the order of deletion is less exact.
    with contextlib.suppress(OSError):
        os.utime(stream.fileno())
    return stream


def _delete_unused(path: Path) -> bool:
    """Deletes a file that nobody has locked; returns whether it has gone."""
    try:
        # Locks of network file systems need a file that is open for writing.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        is_locked = lock_file(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_locked is None and path.name.startswith(_PARTIAL):
            # Of a process that is at work, for all that is known.
            is_locked = time.time() - os.fstat(descriptor).st_mtime > _ABANDONED_S
        if is_locked is False:
            return False
        if is_at(descriptor, path):
            path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
