"""Picture files that a user names: files, folders, or paths on standard input. They are found one at a time."""

import codecs
import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.formats import SUFFIXES

_LONGEST_PATH = 1 << 16
"""Bytes. Linux allows 4,096; a picture piped in by mistake has longer lines, or lines with a NUL."""


def find_photos(
    names: Iterable[str], stdin: BinaryIO, separator: bytes, left_out: Counter[str] | None = None
) -> Iterator[Path | str]:
    """Yields the pictures that a user names, one at a time. A folder without pictures is yielded itself.

    An address, as gs://bucket/a.png, is yielded as text, since a path would lose a slash.

    Folders below a folder are read too, linked ones as well, each once; hidden files and folders are not.

    Args:
      names: Files, folders, addresses of both, and "-" for `stdin`.
      stdin: Stream of paths and addresses of files and folders.
      separator: Byte after each path in `stdin`. After a line feed, paths may be in a list as Windows writes it.
      left_out: Counter to which the suffix of each file in a folder is added that is none of `SUFFIXES`.

    Raises:
      UserError: The content of `stdin` is not a list of paths.
    """
    counter = Counter() if left_out is None else left_out
    for name in names:
        for path in _paths(stdin, separator) if name == "-" else [_path_or_address(name)]:
            if isinstance(path, str):
                yield from _at_address(path, counter)
            elif is_folder(path):
                yield from _below(path, counter)
            else:
                yield path


def _paths(stdin: BinaryIO, separator: bytes) -> Iterator[Path | str]:
    line = b""
    # A line or a chunk at a time, whichever is shorter, so that each path is yielded as soon as it arrives.
    while piece := stdin.readline(_LONGEST_PATH):
        *ended, line = (line + piece).split(separator)
        for part in (*ended, line):
            if len(part) > _LONGEST_PATH or b"\0" in part:
                rule = "Standard input must hold one path a line, or with --null one before each NUL"
                rule += ", in UTF-8." if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "."
                raise UserError(rule, f"{part[:20]!r}...")
        yield from _named(ended, separator)
    yield from _named([line], separator)


def _named(parts: Iterable[bytes], separator: bytes) -> Iterator[Path | str]:
    """Yields what the parts of a list name, without the marks that Windows adds and that are in no file's name."""
    for part in parts:
        if separator == b"\n" and not os.path.lexists(part):
            part = part.removeprefix(codecs.BOM_UTF8).removesuffix(b"\r")
        if part:
            yield _path_or_address(os.fsdecode(part))


def _path_or_address(name: str) -> Path | str:
    return name if "://" in name else Path(name)


def _at_address(address: str, left_out: Counter[str]) -> Iterator[str]:
    """Yields the pictures in a folder at an address.

    The address itself is yielded if it is no folder, has no pictures or cannot be read, which reading it will report.
    """
    found, names = False, []
    try:
        file = Place(address)
        # The suffix saves a request for each picture.
        if file.suffix not in SUFFIXES and file.has_listing and file.is_dir():
            names = list(file.walk())
    except (UserError, OSError):
        pass
    for name in names:
        picture = file / name
        if picture.suffix in SUFFIXES:
            found = True
            yield picture.text
        else:
            left_out[picture.suffix] += 1
    if not found:
        yield address


def _below(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yields the pictures in a folder and its subfolders, sorted by name within each folder.

    A folder that cannot be read is yielded itself.
    """
    found = False
    entered: set[tuple[int, int]] = set()
    unreadable: list[Path] = []
    for where, folders, files in os.walk(
        folder, followlinks=True, onerror=lambda error: unreadable.append(Path(os.fsdecode(error.filename)))
    ):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in entered:
            # A link to a folder above it, or to one that is read anyway.
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        for name in sorted(files):
            if name.startswith("."):
                continue
            ending = Path(name).suffix.lower()
            if ending in SUFFIXES:
                found = True
                yield Path(where, name)
            else:
                left_out[ending] += 1
    yield from unreadable
    if not (found or unreadable):
        yield folder


def left_out_line(left_out: Counter[str]) -> str:
    """Returns a line that counts the files that were left out, by their suffixes, the most frequent first."""
    counts = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    kinds = ", ".join(f"{ending or 'no suffix'} {count:,}" for ending, count in counts)
    total = left_out.total()
    files = "1 file has" if total == 1 else f"{total:,} files have"
    return f"{files} no suffix of a picture that can be read ({kinds})."


def is_folder(path: Path) -> bool:
    """Returns whether the path is a folder; False on an error, which reading the picture will report."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False
