"""Files and folders that appear complete or not at all."""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_path(path: Path, scratch: Path | None = None, *, sole_writer: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to `path`, and renames what the block made there to `path` when it ends well.

    The temporary name keeps the suffix, by which some libraries choose a format. Where the block raises, what it made
    is removed and `path` stays as it was. A folder at `path` is moved aside first, since no rename replaces one.

    Args:
      path: Path that appears complete or not at all.
      scratch: Existing folder for the temporary path, on the same file system; by default that of `path`, which is
        created.
      sole_writer: Whether nothing else writes `path` at the same time. Then what processes that were killed left of it
        is removed.
    """
    if scratch is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    folder = scratch or path.parent
    if sole_writer:
        _remove_all(folder, ".partial", path)
    temporary = folder / f".partial.{uuid.uuid4().hex}.{path.name}"
    try:
        yield temporary
        if path.is_dir():
            old = path.with_name(f".old.{os.getpid()}.{path.name}")
            path.rename(old)
            try:
                temporary.replace(path)
            except BaseException:
                old.rename(path)
                raise
            remove(old)
        else:
            temporary.replace(path)
        if sole_writer:
            _remove_all(path.parent, ".old", path)
    except BaseException:
        remove(temporary)
        raise


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file next to `path` for writing and renames it to `path` when the block ends well."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        yield stream


def remove_partial(folder: Path, pattern: str) -> None:
    """Removes what killed processes left of files that nothing else writes at the same time.

    Args:
      folder: Folder of the files.
      pattern: Glob pattern of their names.
    """
    for left in folder.glob(f".partial.*.{pattern}"):
        remove(left)


def _remove_all(folder: Path, kind: str, path: Path) -> None:
    for left in folder.glob(f"{kind}.*.{glob.escape(path.name)}"):
        remove(left)


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
