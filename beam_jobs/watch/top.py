"""The top of an inbox: the folders and files that may be batches, and what shows of each without a look into it."""

import os
from functools import cached_property
from typing import NamedTuple

from beam_jobs.sources.base import PICTURE_SUFFIXES
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place

_IGNORED = (".", "_")
"""Beginnings of names that are no batches."""
Mark = tuple[int, ...]
"""Index node, time of the last change and size of an entry, to be compared; nothing in a store."""


class Found(NamedTuple):
    """An entry of the inbox.

    Attributes:
      file: Name of the folder or file.
      batch: Name of the batch: that of a file ends before its first dot.
      mark: What shows of it.
    """

    file: str
    batch: str
    mark: Mark


def list_top(place: Place, reads_files: bool) -> list[Found]:
    """Returns the entries of an inbox that may be batches, in any order.

    Args:
      place: Inbox.
      reads_files: Whether a file may be a batch. Pictures in it are those of a table next to them then; otherwise every
        file is listed, to be refused.

    Raises:
      UserError: The inbox is not there, or cannot be read.
    """
    try:
        return _top_of_store(place, reads_files) if place.is_remote else _top_of_folder(place, reads_files)
    except FileNotFoundError as error:
        if place.is_remote:  # a prefix is there when something is in it
            return []
        raise UserError("The inbox must be a folder that exists.", place) from error
    except OSError as error:
        raise UserError(f"The inbox {place} cannot be read.", one_line(error)) from error


def _top_of_store(place: Place, reads_files: bool) -> list[Found]:
    return [
        Found(name, name if is_folder else _stem(name), ())
        for name, is_folder in place.entries()
        if not name.startswith(_IGNORED) and (is_folder or not (reads_files and _is_picture(name)))
    ]


def _top_of_folder(place: Place, reads_files: bool) -> list[Found]:
    found = []
    with os.scandir(place.text) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(_IGNORED):
                continue
            try:
                is_folder = entry.is_dir()
                status = entry.stat()
            except FileNotFoundError:  # moved since
                continue
            if is_folder or not (reads_files and _is_picture(name)):
                mark = (status.st_ino, status.st_mtime_ns, status.st_size)
                found.append(Found(name, name if is_folder else _stem(name), mark))
    return found


def _is_picture(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in PICTURE_SUFFIXES


def _stem(file: str) -> str:
    """Returns the name of the batch that a file is."""
    return file.partition(".")[0]


class Names:
    """The files of each name at the top of the inbox, in lower case; made when one is asked for."""

    def __init__(self, top: list[Found]) -> None:
        """Takes the entries of the inbox."""
        self._top = top

    @cached_property
    def files(self) -> dict[str, list[str]]:
        """Sorted files of the batches whose names differ in their case at most."""
        found: dict[str, list[str]] = {}
        for each in sorted(self._top):
            found.setdefault(each.batch.casefold(), []).append(each.file)
        return found
