"""Files and folders that appear complete or not at all, also when the power fails."""

import contextlib
import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CANNOT_SYNC = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP)
"""Errors of a folder that may not be read, and of file systems that cannot sync one."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of writing, which name no file."""
_MANY_FILES = 100
"""Number of files from which on the complete file system is synced: one by one, each waits 1 ms for the disk."""
_UNFINISHED, _REPLACED = ".partial", ".old"
"""First parts of the names of what is not complete yet, and of a folder that is about to be removed."""
_ANY_ID = "?" * 32
"""Glob pattern of the part of these names that is unique. `*` would also match `<id>.my` of a file `my.NAME`."""


@contextlib.contextmanager
def atomic_path(
    path: Path, scratch: Path | None = None, *, sole_writer: bool = False, wait_for_name: bool = True
) -> Iterator[Path]:
    """Yields a temporary path next to `path`, and renames what the block made there to `path` when it ends well.

    The temporary name keeps the suffix, by which some libraries choose a format. Where the block raises, what it made
    is removed and `path` stays as it was. A folder at `path` is moved aside first, since no rename replaces one.

    What the block made is on the disk before it gets its name, so that `path` is complete or as it was after a power
    cut too. An error names `path`, never the temporary one.

    Args:
      path: Path that appears complete or not at all.
      scratch: Existing folder for the temporary path, on the same file system; by default that of `path`, which is
        created.
      sole_writer: Whether nothing else writes `path` at the same time. Then what processes that were killed left of it
        is removed.
      wait_for_name: Whether to return only when the name is on the disk. A caller that publishes many files saves time
        with one `sync_names` at the end.
    """
    if scratch is None:
        make_folder(path.parent)
    folder = scratch or path.parent
    if sole_writer:
        remove_partial(folder, glob.escape(path.name))
    temporary = _hidden(folder, _UNFINISHED, path.name)
    try:
        yield temporary
        sync(temporary)
        if path.is_dir():
            _replace_folder(temporary, path)
        else:
            temporary.replace(path)
            if wait_for_name:
                sync_names(path.parent)
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError):
            _name(error, temporary, path)
        raise
    if sole_writer:
        _remove_all(path.parent, _REPLACED, glob.escape(path.name))


def _replace_folder(temporary: Path, path: Path) -> None:
    """Moves the folder at `path` aside, renames `temporary` to `path`, and removes what was moved."""
    old = _hidden(path.parent, _REPLACED, path.name)
    path.rename(old)
    try:
        temporary.replace(path)
    except BaseException:
        old.rename(path)
        raise
    sync_names(path.parent)
    remove(old)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file next to `path` for writing and renames it to `path` when the block ends well."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        yield stream


def create(path: Path, data: bytes) -> bool:
    """Writes a file unless there is one, complete and on the disk; returns whether it was written.

    A link is made only where no name is, unlike a rename, so one of several that try is the first. Where the file
    system has no links, the file is opened exclusively, and a kill leaves an incomplete one.
    """
    make_folder(path.parent)
    temporary = _hidden(path.parent, _UNFINISHED, path.name)
    try:
        temporary.write_bytes(data)
        sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            try:
                with path.open("xb") as stream:
                    stream.write(data)
            except FileExistsError:
                return False
            sync(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_names(path.parent)
    return True


def reserve(path: Path, size: int) -> None:
    """Fills a new file with `size` bytes, so that the disk is not full when a library writes it: HDF5 crashes then.

    Raises:
      OSError: There is no space.
    """
    # Not on macOS.
    if allocate := getattr(os, "posix_fallocate", None):
        with path.open("wb") as stream:
            allocate(stream.fileno(), 0, size)


def remove_partial(folder: Path, pattern: str) -> None:
    """Removes what killed processes left of files that nothing else writes at the same time.

    Args:
      folder: Folder of the files.
      pattern: Glob pattern of their names.
    """
    _remove_all(folder, _UNFINISHED, pattern)


def _hidden(folder: Path, kind: str, name: str) -> Path:
    """Returns a new path for a file or folder that is not, or no longer, the one of this name."""
    return folder / f"{kind}.{uuid.uuid4().hex}.{name}"


def _remove_all(folder: Path, kind: str, pattern: str) -> None:
    for left in folder.glob(f"{kind}.{_ANY_ID}.{pattern}"):
        remove(left)


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents where they are missing, and waits until their names are on the disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_names(each.parent)


def sync(path: Path) -> None:
    """Waits until a file, or a folder with everything in it, is on the disk. Does nothing if there is none.

    Raises:
      OSError: The disk has failed to store it.
    """
    if path.is_symlink() or not path.exists():
        return
    found = [*path.rglob("*"), path] if path.is_dir() else [path]
    if len(found) > _MANY_FILES:
        _sync_file_system(path)
        return
    for each in found:
        if not each.is_symlink() and (each.is_file() or each.is_dir()):
            _sync_one(each)


def sync_names(folder: Path) -> None:
    """Waits until the names of a folder's files are on the disk: what was created, renamed and removed there."""
    _sync_one(folder)


def _sync_file_system(folder: Path) -> None:
    """Waits until everything on a folder's file system is on the disk."""
    import ctypes

    # Linux's sync, unlike syncfs, does not report errors.
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _sync_one(path: Path) -> None:
    """Waits until a file's bytes or a folder's names are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _name(error: OSError, temporary: Path, path: Path) -> None:
    """Makes an error name the path that was asked for."""
    if (error.filename is None and error.errno in _DISK_FULL) or str(error.filename) == str(temporary):
        error.filename = str(path)


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
