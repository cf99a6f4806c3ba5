"""Picture files that a user names: files, folders, or paths on standard input. They are found one at a time."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tfrecords.errors import UserError

ENDINGS = frozenset(
    (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
"""Suffixes of the formats that `decode_picture` reads."""
_LONGEST_PATH = 1 << 16
"""Bytes. Linux allows 4,096; a picture piped in by mistake has longer lines, or lines with a NUL."""


def find_photos(names: Iterable[str], stdin: BinaryIO, separator: bytes) -> Iterator[Path]:
    """Yields the pictures that a user names, one at a time. A folder without pictures is yielded itself.

    Args:
      names: Files, folders, and "-" for `stdin`.
      stdin: Stream of paths of files and folders.
      separator: Byte after each path in `stdin`.

    Raises:
      UserError: The content of `stdin` is not a list of paths.
    """
    for name in names:
        for path in _paths(stdin, separator) if name == "-" else [Path(name)]:
            if is_folder(path):
                yield from _below(path)
            else:
                yield path


def _paths(stdin: BinaryIO, separator: bytes) -> Iterator[Path]:
    line = b""
    # A line or a chunk at a time, whichever is shorter, so that each path is yielded as soon as it arrives.
    while piece := stdin.readline(_LONGEST_PATH):
        *ended, line = (line + piece).split(separator)
        for part in (*ended, line):
            if len(part) > _LONGEST_PATH or b"\0" in part:
                rule = "Standard input must hold one path a line, or with --null one before each NUL."
                raise UserError(rule, f"{part[:20]!r}...")
        yield from (Path(os.fsdecode(part)) for part in ended if part)
    if line:
        yield Path(os.fsdecode(line))


def _below(folder: Path) -> Iterator[Path]:
    """Yields the pictures in a folder and its subfolders, sorted by name within each folder."""
    found = False
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS:
                found = True
                yield Path(where, name)
    if not found:
        yield folder


def is_folder(path: Path) -> bool:
    """Returns whether the path is a folder; False on an error, which reading the picture will report."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False
