"""Copies of shards of a store on this machine, for as long as a merge takes.

A merge reads records in the order of the new shards: from a store, each would be a request. The copies take as much
room as the directories that become one, which is checked before. What a killed process has left is deleted by the next
merge of the same stream on this machine: one process at a time has a stream.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.index import index_path
from tfrecords.files.place import Place

_CHUNK_BYTES = 1 << 20
_GB = 1e9


@contextlib.contextmanager
def temporary_folder(stream: Place, size: int) -> Iterator[Path]:
    """Yields a new folder for copies of a stream's files, which is deleted at the end of the block.

    Args:
      stream: Stream.
      size: Size of the copies to come, bytes.

    Raises:
      UserError: This machine has no room for so much.
    """
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    if free < size:
        rule = f"{folder} must have room for copies of the shards to merge: free some, or set TMPDIR to another folder."
        raise UserError(rule, f"{free / _GB:.1f} GB free of {size / _GB:.1f} GB")
    with tempfile.TemporaryDirectory(prefix=_prefix(stream)) as name:
        yield Path(name)


def remove_old(stream: Place) -> None:
    """Deletes the copies of a stream's files that a killed process has left on this machine.

    Args:
      stream: Stream, locked by this process.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix(stream)}*"):
        # The folder of temporary files is everybody's.
        if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def copy_shard(shard: Place, folder: Path) -> Path:
    """Copies a shard and its index to a new folder; returns the copy of the shard.

    Raises:
      UserError: One is missing.
    """
    folder.mkdir()
    for name in (shard.name, index_path(shard.name)):
        place = shard.parent / name
        try:
            with place.open() as stream, (folder / name).open("wb") as copy:
                shutil.copyfileobj(stream, copy, _CHUNK_BYTES)
        except FileNotFoundError as error:
            raise UserError(f"{place} must be there: the manifest next to it says so.", "no file") from error
    return folder / shard.name


def _prefix(stream: Place) -> str:
    """Returns the beginning of the names of the folders of a stream's copies."""
    return f"streetdigits-merge-{hashlib.sha256(stream.text.encode()).hexdigest()[:16]}-"
