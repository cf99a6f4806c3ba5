"""What becomes of a batch when a snapshot holds it: it is kept, moved to an archive, or deleted.

Each can be repeated after a kill at any moment. An archive never loses a batch: another one of the same name gets a
number behind its name.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from tfrecords.files.publish import make_folder, remove, sync_names

KEEP, ARCHIVE, DELETE = "keep", "archive", "delete"
_CHUNK_BYTES = 1 << 20
_GOING = ".finished-"
"""Beginning of the name of a local batch while it is deleted, by which it is no batch any more."""


@dataclass(frozen=True)
class After:
    """What becomes of a batch.

    Attributes:
      kind: `KEEP`, `ARCHIVE` or `DELETE`.
      archive: Folder of the archive.
    """

    kind: str
    archive: Place | None = None

    @classmethod
    def parse(cls, text: str) -> "After":
        """Returns what an option says: `keep`, `archive DIR` or `delete`.

        Raises:
          UserError: It says something else.
        """
        kind, _, folder = text.strip().partition(" ")
        folder = folder.strip()
        if kind not in (KEEP, ARCHIVE, DELETE) or bool(folder) != (kind == ARCHIVE):
            raise UserError("What becomes of a batch must be keep, archive DIR or delete.", text)
        archive = Place(folder) if folder else None
        if archive:
            archive.refuse_web()
        return cls(kind, archive)

    def check(self, inbox: Place) -> None:
        """Checks that batches of an inbox do not arrive there again when they are moved.

        Raises:
          UserError: The archive is the inbox, or a folder in it that would be a batch.
        """
        if self.archive is None:
            return
        archive, place = (f"{_absolute(each)}/" for each in (self.archive, inbox))
        inside = archive.removeprefix(place)
        if inside != archive and not inside.startswith((".", "_")):
            rule = f"The archive must be outside of {inbox}, or in a folder there whose name begins with . or _."
            raise UserError(rule, self.archive)

    def clean(self, inbox: Place) -> None:
        """Deletes the rest of local batches whose deletion was killed.

        Raises:
          UserError: It cannot be deleted.
        """
        if self.kind == KEEP or inbox.is_remote:
            return
        try:
            for path in inbox.path.glob(f"{_GOING}*"):
                remove(path)
        except OSError as error:
            raise UserError(f"What is left of finished batches in {inbox} must be deleted.", one_line(error)) from error

    def has_begun(self, batch: Place) -> bool:
        """Returns whether a batch that is not complete any more is in the archive: a call was killed after the copy."""
        if self.archive is None or not batch.exists():
            return False
        target = _free_name(batch, self.archive)
        return target.exists() and set(_files(batch)) <= set(_files(target))

    def finish(self, batch: Place) -> None:
        """Keeps, moves or deletes a batch; one that is gone was moved or deleted before.

        Args:
          batch: Place of the batch, a folder or a file.

        Raises:
          UserError: It cannot be moved or deleted.
        """
        if self.kind == KEEP:
            return
        try:
            if self.archive is not None:
                _move(batch, self.archive)
            else:
                _delete(batch)
        except OSError as error:
            done = "moved" if self.archive is not None else "deleted"
            raise UserError(f"{batch} must be {done}, since a snapshot holds it.", one_line(error)) from error


def _absolute(place: Place) -> str:
    return place.text if place.is_remote else str(place.path.resolve())


def _delete(batch: Place) -> None:
    """Deletes a batch; a local one loses its name first, so that after a kill no part of it is taken for a batch."""
    going = batch
    if not batch.is_remote:
        going = batch.parent / f"{_GOING}{batch.name}"
        going.delete_folder()  # of a call that was killed
        with contextlib.suppress(FileNotFoundError):
            batch.path.rename(going.path)
    _remove(going)


def _remove(place: Place) -> None:
    if place.is_remote and not place.is_dir():
        place.delete()
    else:
        place.delete_folder()


def _move(batch: Place, archive: Place) -> None:
    """Moves a batch: by its name on one file system, else by a copy that is compared before the batch is deleted."""
    if not batch.exists():
        if not batch.is_remote:
            _delete(batch)  # the rest of what a call that was killed has deleted
        return
    target = _free_name(batch, archive)
    if not batch.is_remote and not target.is_remote and not target.exists() and _is_renamed(batch, target):
        return
    for name in _files(batch):
        source, copy = (batch / name, target / name) if name else (batch, target)
        if not copy.exists():
            copy.write(_Content(source))
        if not _is_same(source, copy):
            raise UserError(f"{copy} must be a copy of {source}, which a snapshot holds.", "other bytes")
    _delete(batch)


def _is_renamed(batch: Place, target: Place) -> bool:
    """Renames a local batch; returns whether the two places are on one file system."""
    make_folder(target.path.parent)
    try:
        batch.path.rename(target.path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    sync_names(target.path.parent)
    sync_names(batch.path.parent)
    return True


def _free_name(batch: Place, archive: Place) -> Place:
    """Returns the place of a batch in an archive: NAME, else NAME-2, and so on; or where it was being moved to."""
    stem, dot, rest = batch.name.partition(".")
    for number in itertools.count(1):
        target = archive / (batch.name if number == 1 else f"{stem}-{number}{dot}{rest}")
        if not target.exists() or _is_begun(batch, target):
            return target
    raise AssertionError


def _is_begun(batch: Place, target: Place) -> bool:
    """Returns whether a place in the archive is this batch, of a call that was killed while it copied or deleted."""
    ours, theirs = set(_files(batch)), set(_files(target))
    if not (ours <= theirs or theirs <= ours) or (ours == {""}) != (theirs == {""}):
        return False
    return all(_is_same(batch / name if name else batch, target / name if name else target) for name in ours & theirs)


def _files(place: Place) -> list[str]:
    """Returns the path of every file of a batch, hidden ones too, sorted; of a batch that is a file, the empty path."""
    if place.is_remote:
        if not place.is_dir():
            return [""]
        from tfrecords.files import remote

        return sorted(remote.walk(place.text))
    if not place.is_dir():
        return [""]
    return sorted(
        f"{folder}/{name}"[len(place.text) + 1 :] for folder, _, names in os.walk(place.text) for name in names
    )


def _is_same(one: Place, other: Place) -> bool:
    return one.sha256() == other.sha256()


@dataclass(frozen=True)
class _Content:
    """Content of a file in chunks, which can be iterated again for another attempt."""

    place: Place

    def __iter__(self) -> Iterator[bytes]:
        with self.place.open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
