"""A place: a file or a folder on this machine, or at an address that fsspec supports (s3://, gs://, hdfs://, https://).

A `Place` is no `pathlib.Path` and no string, and nothing of the standard library takes it for one: an address that
becomes a path by accident would be a local folder called `s3:`.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import remote

_CHUNK = 1 << 20


class Entry(NamedTuple):
    """One entry of a folder.

    Attributes:
      name: Name of the file or folder, without its parents.
      is_folder: Whether it is a folder, or a link to one.
    """

    name: str
    is_folder: bool


class Place:
    """A file or a folder, local or remote. Places compare, hash and pickle by their text.

    Attributes:
      text: Path or address, as the user gave it; without a slash at its end.
      is_remote: Whether it is an address.
    """

    __slots__ = ("is_remote", "text")

    def __init__(self, text: str | Path) -> None:
        """Makes the place of a path or an address.

        Raises:
          UserError: The text is empty.
        """
        given = str(text)
        if not given.strip():
            raise UserError("A path must not be empty.")
        self.is_remote = "://" in given
        self.text = given if given.strip("/") == "" else given.rstrip("/")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Place({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __truediv__(self, name: str) -> Place:
        """Returns the place of a name, or of a relative path with `/`, in this folder."""
        return Place(posixpath.join(self.text, name) if self.is_remote else Path(self.text) / name)

    @property
    def name(self) -> str:
        """Name of the file or folder, without its parents."""
        return posixpath.basename(self.text) if self.is_remote else Path(self.text).resolve().name

    @property
    def suffix(self) -> str:
        """Ending of the name in lower case, with its dot: `.csv`; empty without one."""
        return posixpath.splitext(self.name)[1].lower()

    @property
    def parent(self) -> Place:
        """Folder that holds the file or folder."""
        return Place(posixpath.dirname(self.text) if self.is_remote else Path(self.text).absolute().parent)

    @property
    def path(self) -> Path:
        """The path of a local place.

        Raises:
          UserError: The place is an address.
        """
        if self.is_remote:
            raise UserError("The path must be local, not an address.", self.text)
        return Path(self.text)

    def is_file(self) -> bool:
        """Returns whether there is a file here."""
        return remote.is_file(self.text) if self.is_remote else self.path.is_file()

    def is_dir(self) -> bool:
        """Returns whether there is a folder here, or a prefix of an object store that holds something."""
        return remote.is_dir(self.text) if self.is_remote else self.path.is_dir()

    def entries(self) -> list[Entry]:
        """Returns the entries of a folder, sorted by name, without those whose names begin with a dot.

        Raises:
          OSError: There is no such folder, or it cannot be read.
        """
        if self.is_remote:
            found = [Entry(*pair) for pair in remote.entries(self.text)]
        else:
            with os.scandir(self.text) as entries:
                found = [Entry(entry.name, _is_folder(entry)) for entry in entries]
        return sorted(entry for entry in found if not entry.name.startswith("."))

    def walk(self) -> Iterator[str]:
        """Yields the relative path, with `/`, of every file in a folder and its folders, in sorted order.

        Files and folders whose names begin with a dot are left out, and so are links to folders.

        Raises:
          OSError: There is no such folder, or it cannot be read.
        """
        if self.is_remote:
            names = remote.walk(self.text)
            yield from sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))
            return
        pending = [""]
        found: list[str] = []
        while pending:
            folder = pending.pop()
            with os.scandir(Path(self.text, folder)) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    elif not entry.is_dir():
                        found.append(name)
        yield from sorted(found)

    def read_bytes(self) -> bytes:
        """Returns the content of a file.

        Raises:
          OSError: There is no such file, or it cannot be read.
        """
        return remote.read_bytes(self.text) if self.is_remote else self.path.read_bytes()

    def open(self) -> BinaryIO:
        """Opens a file for reading, in order or at random.

        Raises:
          OSError: There is no such file, or it cannot be read.
        """
        return remote.open_file(self.text) if self.is_remote else self.path.open("rb")

    @contextmanager
    def local_file(self) -> Iterator[Path]:
        """Yields the path of a file with this content: the file itself, or a copy that exists inside the block.

        Raises:
          OSError: There is no such file, or it cannot be read.
        """
        if not self.is_remote:
            yield self.path
            return
        with remote.copied(self.text) as path:
            yield path

    def sha256(self) -> str:
        """Returns the SHA-256 of a file, hexadecimal, in constant memory.

        Raises:
          OSError: There is no such file, or it cannot be read.
        """
        digest = hashlib.sha256()
        with self.open() as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a folder, or a link to one, rather than to itself."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())
