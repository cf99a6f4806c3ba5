"""The top of an inbox: the folders and files that may be batches, and what shows of each without a look into it."""

import os
from collections.abc import Container, Iterator, Mapping
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


class Known(NamedTuple):
    """A batch that needs nothing until it changes.

    Attributes:
      batch: Name of the batch.
      is_accepted: Whether it is accepted, else refused.
      mark: What showed of it.
    """

    batch: str
    is_accepted: bool
    mark: Mark


def list_top(
    place: Place, reads_files: bool, known: Mapping[str, Known], accepted: Container[str], again: Container[str]
) -> list[Found]:
    """Returns the entries of an inbox that may be batches, but for those that need nothing, in any order.

    Args:
      place: Inbox.
      reads_files: Whether a file may be a batch. Pictures in it are those of a table next to them then; otherwise every
        file is listed, to be refused.
      known: Batches that need nothing, by file. In a folder they are compared by their index nodes alone.
      accepted: Names of the accepted batches.
      again: Files of known batches to return nevertheless.

    Raises:
      UserError: The inbox is not there, or cannot be read.
    """
    try:
        if place.is_remote:
            return list(_top_of_store(place, reads_files, known, accepted, again))
        return list(_top_of_folder(place, reads_files, known, accepted, again))
    except FileNotFoundError as error:
        if place.is_remote:  # a prefix is there when something is in it
            return []
        raise UserError("The inbox must be a folder that exists.", place) from error
    except OSError as error:
        raise UserError(f"The inbox {place} cannot be read.", one_line(error)) from error


def _top_of_store(
    place: Place, reads_files: bool, known: Mapping[str, Known], accepted: Container[str], again: Container[str]
) -> Iterator[Found]:
    for name, is_folder in place.entries():
        before = known.get(name)
        if before and name not in again and before.is_accepted == (before.batch in accepted):
            continue
        if not name.startswith(_IGNORED) and (is_folder or not (reads_files and _is_picture(name))):
            yield Found(name, _as_text(name if is_folder else _stem(name)), ())


def _top_of_folder(
    place: Place, reads_files: bool, known: Mapping[str, Known], accepted: Container[str], again: Container[str]
) -> Iterator[Found]:
    with os.scandir(place.text) as entries:
        for entry in entries:
            name = entry.name
            before = known.get(name)
            if (
                before is not None
                and before[2][0] == entry.inode()
                and before[1] == (before[0] in accepted)
                and name not in again
            ):
                continue
            if name.startswith(_IGNORED):
                continue
            if not (mark := mark_of(entry.path)):
                continue  # gone, or a link that leads nowhere or to itself
            is_folder = entry.is_dir()
            if is_folder or not (reads_files and _is_picture(name)):
                yield Found(name, _as_text(name if is_folder else _stem(name)), mark)


def mark_of(path: str) -> Mark:
    """Returns what shows of a local entry; nothing where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    # The index node of a link is its own in a listing, and that of what it leads to here.
    node = os.lstat(path).st_ino if os.path.islink(path) else status.st_ino  # noqa: PTH114
    return node, status.st_mtime_ns, status.st_size


def _is_picture(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in PICTURE_SUFFIXES


def _as_text(name: str) -> str:
    """Returns a name that the ledger can keep: bytes that are no text become escapes, which no good name has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _stem(file: str) -> str:
    """Returns the name of the batch that a file is."""
    return file.partition(".")[0]


class Names:
    """The files of each name in an inbox, in lower case; made when one is asked for."""

    def __init__(self, found: list[Found], known: Mapping[str, Known]) -> None:
        """Takes the entries that were found, and those that need nothing."""
        self._found, self._known = found, known

    @cached_property
    def files(self) -> dict[str, list[str]]:
        """Sorted files of the batches whose names differ in their case at most."""
        batches = {file: each.batch for file, each in self._known.items()}
        batches |= {each.file: each.batch for each in self._found}
        names: dict[str, list[str]] = {}
        for file in sorted(batches):
            names.setdefault(batches[file].casefold(), []).append(file)
        return names
