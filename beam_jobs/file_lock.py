"""One process at a time in a folder of this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tfrecords.errors import UserError


@contextlib.contextmanager
def lock_folder(folder: Path, error: UserError, name: str = "lock") -> Iterator[None]:
    """Locks `folder` while the block runs, without waiting, and removes a lock file that it has created.

    The operating system releases the lock of a process that was killed. Where the file system cannot lock, as on some
    network mounts, the block runs unprotected.

    Args:
      folder: Folder to lock; created if it does not exist.
      error: Error to raise if another process holds the lock.
      name: Name of the lock file in `folder`.

    Raises:
      UserError: Another process holds the lock.
    """
    path = folder / name
    lock, existed = FileLock(path, timeout=0), path.exists()
    try:
        lock.acquire()
    except Timeout as timeout:
        raise error from timeout
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        if not existed:
            # Before the release: a process that opened this file meanwhile finds it gone and creates a new one.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        lock.release()
