"""A place: a file or a folder on this machine, or at an address that fsspec supports (s3://, gs://, hdfs://, https://).

A `Place` is no `pathlib.Path` and no string, and nothing of the standard library takes it for one: an address that
becomes a path by accident would be a local folder called `s3:`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import remote, remote_write
from tfrecords.files.kept import kept_copy
from tfrecords.files.publish import atomic_write, create, remove
from tfrecords.files.shards import file_sha256
from tfrecords.flags import refuse_mistyped_address

_CHUNK = 1 << 20
_ADDRESS = re.compile(r"[a-z][-a-z0-9+.]*://", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[^./][^/]*")
_PLAIN_FOLDER = re.compile(r"/?[^./][^/]*(/[^./][^/]*)*")
"""Path that pathlib writes as it is."""
_WEB = ("http://", "https://")
_LONGEST_NAME = 60
"""Longest name of a temporary copy, characters: file systems take 255 bytes, and the end has the suffix."""


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

    Names in addresses are those that listings have: `s3://bucket/a b#1.png` is the object `a b#1.png`. Those of http://
    and https:// are URLs: `/` percent-encodes a name, `name` decodes it, and neither holds the query.

    Attributes:
      text: Path or address, as the user gave it; without a slash at its end, and with its scheme in lower case.
      is_remote: Whether it is an address.
    """

    __slots__ = ("is_remote", "text")

    def __init__(self, text: str | Path | Place) -> None:
        """Makes the place of a path or an address.

        Raises:
          UserError: The text is empty, an address without its two slashes, or one that names no bucket or host.
        """
        given = str(text)
        if not given.strip():
            raise UserError("A path must not be empty.")
        self.is_remote = _ADDRESS.match(given.strip()) is not None
        if not self.is_remote:
            refuse_mistyped_address(given)
            self.text = given if given.strip("/") == "" else given.rstrip("/")
            return
        scheme, _, rest = given.strip().partition("://")
        scheme = scheme.lower()
        if scheme == "file":
            raise UserError("A path on this machine must be given without file://.", given)
        is_complete = scheme in ("http", "https") and "?" in rest
        rest = rest if is_complete else rest.rstrip("/")
        if not rest:
            raise UserError("An address must name a bucket or a host, as s3://bucket/folder.", given)
        self.text = f"{scheme}://{rest}"

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
        if not self.is_remote:
            # Nearly all names of pictures: a fifth of the time of pathlib, which writes the same.
            if _PLAIN_NAME.fullmatch(name) and _PLAIN_FOLDER.fullmatch(self.text):
                child = object.__new__(Place)
                child.is_remote, child.text = False, f"{self.text}/{name}"
                return child
            return Place(Path(self.text) / name)
        folder = self._address
        return Place(f"{folder}/{urllib.parse.quote(name) if folder.startswith(_WEB) else name}")

    @property
    def _address(self) -> str:
        """The address without the query and the fragment of a URL."""
        return re.split("[?#]", self.text, maxsplit=1)[0].rstrip("/") if self.text.startswith(_WEB) else self.text

    @property
    def name(self) -> str:
        """Name of the file or folder, without its parents: of a link, its own."""
        if not self.is_remote:
            name = Path(self.text).name
            return name if name not in ("", "..") else Path(self.text).resolve().name
        name = self._address.rpartition("/")[2]
        return urllib.parse.unquote(name) if self.text.startswith(_WEB) else name

    @property
    def suffix(self) -> str:
        """Ending of the name in lower case, with its dot: `.csv`; empty without one."""
        return os.path.splitext(self.name)[1].lower()  # noqa: PTH122  (the name of an object is no path)

    @property
    def parent(self) -> Place:
        """Folder that holds the file or folder; a bucket or a host is its own."""
        if not self.is_remote:
            return Place(Path(self.text).absolute().parent)
        address = self._address
        start = address.index("://") + len("://")
        folder, slash, _ = address[start:].rpartition("/")
        return Place(address[:start] + folder if folder else address) if slash else Place(address)

    @property
    def has_listing(self) -> bool:
        """Whether `entries` and `walk` work on folders here: on all places but servers of the web."""
        return not self.text.startswith(_WEB)

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

    def refuse_web(self) -> None:
        """Checks that files can be written to a place of this kind.

        Raises:
          UserError: It is an address of the web.
        """
        if self.is_remote:
            remote_write.refuse_web(self.text)

    def exists(self) -> bool:
        """Returns whether there is a file or a folder here."""
        return remote.exists(self.text) if self.is_remote else self.path.exists()

    def names(self) -> list[str]:
        """Returns the sorted names of the files directly in a folder; none if there is no such folder.

        Unlike `entries`, it has those that begin with a dot: it is for the files of this package.
        """
        try:
            if self.is_remote:
                return sorted(name for name, is_folder in remote.entries(self.text) if not is_folder)
            with os.scandir(self.text) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def entries(self, *, hidden: bool = False) -> list[Entry]:
        """Returns the entries of a folder, sorted by name.

        Args:
          hidden: Whether to return those whose names begin with a dot too.

        Raises:
          OSError: There is no such folder, or it cannot be read.
        """
        if self.is_remote:
            found = [Entry(*pair) for pair in remote.entries(self.text)]
        else:
            with os.scandir(self.text) as entries:
                found = [Entry(entry.name, _is_folder(entry)) for entry in entries]
        return sorted(entry for entry in found if hidden or not entry.name.startswith("."))

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

    def read_linked(self) -> bytes:
        """Returns the content of a file at an address that a table or the like holds, next to those of other hosts.

        Raises:
          OSError: There is no such file, its host is gone, or it cannot be read.
          UserError: No other file could be read either.
        """
        return remote.read_linked(self.text)

    def open(self) -> BinaryIO:
        """Opens a file for reading, in order or at random; a remote one is copied to a temporary file first.

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
        with remote.copied(self.text, self.name.replace("/", "_")[-_LONGEST_NAME:]) as path:
            yield path

    def kept_file(self, sha256: str | None = None) -> tuple[Path, str]:
        """Returns the path of a file with this content that lasts as long as the process, and its SHA-256.

        A local file is its own; a remote one is copied once for each process and digest, and deleted at its end.

        Args:
          sha256: SHA-256 that a remote file must have, hexadecimal; None copies it again, whatever it is now. That of
            a local file is not checked.

        Raises:
          OSError: There is no such file, or it cannot be read.
          UserError: The remote file has another digest.
        """
        if not self.is_remote:
            return self.path, sha256 or file_sha256(self.path)
        return kept_copy(self.text, file_sha256, sha256)

    def write(self, chunks: Iterable[bytes]) -> None:
        """Writes a file that appears complete or not at all, and replaces one that is there.

        A local file is on the disk when this returns, and so are its folders. An object of a store has no folders: it
        appears when its upload is complete.

        Args:
          chunks: Bytes of the file, in order; iterated again if the first attempt at a store fails.

        Raises:
          OSError: A local file cannot be written.
          UserError: The place as a whole cannot be written.
        """
        if self.is_remote:
            remote_write.write(self.text, chunks)
            return
        with atomic_write(self.path) as stream:
            stream.writelines(chunks)

    def create(self, data: bytes) -> bool:
        """Writes a file unless there is one; returns whether it was written: for one of several that try.

        The file appears complete, and is on the disk when this returns.

        Raises:
          OSError: A local file cannot be written.
          UserError: The place as a whole cannot be written.
        """
        if self.is_remote:
            return remote_write.create(self.text, data)
        return create(self.path, data)

    def replace(self, old: bytes, new: bytes) -> bool:
        """Writes a file if its content is `old`; returns whether it was written. S3 alone excludes other writers.

        Raises:
          OSError: A local file cannot be written.
          UserError: The place as a whole cannot be written.
        """
        if self.is_remote:
            return remote_write.replace(self.text, old, new)
        try:
            if self.path.read_bytes() != old:
                return False
        except FileNotFoundError:
            return False
        self.write([new])
        return True

    def delete(self) -> None:
        """Deletes a file, or an empty folder's name in a store; does nothing where there is none."""
        remote_write.delete(self.text) if self.is_remote else self.path.unlink(missing_ok=True)

    def delete_names(self, names: Iterable[str]) -> None:
        """Deletes files of this folder by their names, those that are there; a store takes many in one request."""
        places = [self / name for name in names]
        if self.is_remote:
            remote_write.delete_all([place.text for place in places])
            return
        for place in places:
            place.delete()

    def delete_folder(self) -> None:
        """Deletes a folder with everything in it; does nothing where there is none."""
        remote_write.delete_folder(self.text) if self.is_remote else remove(self.path)

    def abort_uploads(self) -> int:
        """Deletes what uploads to this folder that were never completed have left; returns their number."""
        return remote_write.abort_uploads(self.text) if self.is_remote else 0

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


def place(text: str) -> Place:
    """Returns the place of an argument: the `type` of a flag that takes a path or an address.

    Raises:
      ArgumentTypeError: The text is empty, an address without its two slashes, or one that names no bucket or host.
    """
    try:
        return Place(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a folder, or a link to one, rather than to itself."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())
