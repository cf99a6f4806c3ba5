"""Locks of the operating system (flock) on files that processes share: they end with their process."""

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Yields a descriptor of a file, created if it is missing, that this block alone has locked."""
    descriptor = _open_for_writing(path)
    try:
        lock_file(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def claimed(partial: Path) -> Iterator[tuple[int | None, Path]]:
    """Yields a descriptor of an unfinished file that this block alone uses, created if it is missing, and its path.

    Where another process or thread has locked it, for its download, yields None when that has ended.
    """
    descriptor = _open_for_writing(partial)
    try:
        is_locked = lock_file(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_locked is None:
            # Two that write to one file would each publish what the other has not finished.
            partial.unlink(missing_ok=True)
            partial = partial.with_name(f"{partial.name}.{uuid.uuid4().hex}")
            own = _open_for_writing(partial)
            os.close(descriptor)
            descriptor = own
        elif not is_locked:
            # A shared lock, since the file becomes the copy, on which its readers hold theirs.
            lock_file(descriptor, fcntl.LOCK_SH)
        yield None if is_locked is False else descriptor, partial
    finally:
        os.close(descriptor)


def _open_for_writing(path: Path) -> int:
    """Returns a descriptor of a file, created if it is missing; the umask decides whether a group shares it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def lock_file(descriptor: int, kind: int) -> bool | None:
    """Locks an open file; returns False if another has it, and None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Returns whether an open file is the one at a path, neither deleted nor renamed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
