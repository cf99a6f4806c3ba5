"""Copies of remote files that last as long as the process, for libraries that read local files only.

Of many copies the oldest is deleted, and made again when it is asked for. The copies of a process are in one temporary
folder, whose lock it holds. At the end of the process they are deleted; where it was killed, its lock is free, and the
next process that makes copies deletes them. Forked processes read, and lock, the same copies. (An open file without a
name would need none of this, but HDF5 wants the real path of a file.)
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files import remote

_PREFIX = "streetdigits-copies-"
_MOST_COPIES = 256
"""Copies of a process: one that watches a store for months meets a file for each batch. The oldest makes room."""
_copies: dict[tuple[str, str], Path] = {}
"""Path of each copy by address and digest."""
_folders: list[Path] = []
"""The folder of the copies, once there is one."""
_lock = threading.Lock()


def _renew_lock() -> None:
    """Makes the lock between threads anew: another thread may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def kept_copy(address: str, digest: Callable[[Path], str], wanted: str | None = None) -> tuple[Path, str]:
    """Returns the path of a copy of the file at an address, and its digest.

    Args:
      address: Address of the file.
      digest: Function that returns the digest of a local file.
      wanted: Digest that the file must have; None copies it again, whatever it is now.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read, or the file has another digest.
    """
    with _lock:
        if wanted is not None and (found := _existing(address, wanted)):
            return found, wanted
        folder = _folder()
        descriptor, name = tempfile.mkstemp(dir=folder)
        os.close(descriptor)
        path = Path(name)
        try:
            remote.download(address, path)
            received = digest(path)
            if wanted is not None and received != wanted:
                rule = f"{address} has changed since it was read first: run the command again."
                raise UserError(rule, f"SHA-256 {received}")
        except Exception:
            path.unlink(missing_ok=True)
            raise
        if found := _existing(address, received):
            path.unlink()
            return found, received
        _copies[address, received] = path
        while len(_copies) > _MOST_COPIES:
            _copies.pop(next(iter(_copies))).unlink(missing_ok=True)
        return path, received


def _existing(address: str, digest: str) -> Path | None:
    """Returns the path of a copy that is still there: the process that this one was forked from may have ended."""
    path = _copies.get((address, digest))
    return path if path and path.is_file() else None


def _folder() -> Path:
    """Returns the folder of this process's copies, or of that which it was forked from, locked."""
    if _folders and _folders[0].is_dir():
        return _folders[0]
    _sweep(Path(tempfile.gettempdir()))
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Open until the process ends, and with it the lock. Another process may have swept the folder just before.
        if _try_lock(folder) is not None and folder.is_dir():
            break
    _folders[:] = [folder]
    atexit.register(_remove, folder, os.getpid())
    return folder


def _try_lock(folder: Path) -> int | None:
    """Returns the descriptor of a folder that is locked now, or None if another process has locked it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(parent: Path) -> None:
    """Deletes the copies of processes that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if (descriptor := _try_lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _remove(folder: Path, owner: int) -> None:
    """Deletes the copies at the end of the process that made them, not of one that was forked from it."""
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
