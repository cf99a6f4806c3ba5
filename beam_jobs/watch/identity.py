"""What a batch is: the stamp of what a listing shows of it, and the digest of its content."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tfrecords.files import remote
from tfrecords.files.place import Place

Files = Mapping[str, tuple[int, str]]
"""Size, bytes, and version of each file, by its path in a folder; that of a file alone has the empty path. The version
is the time of the last change where the place is local, else what the store states. It is compared, never with a
clock."""


@dataclass(frozen=True)
class Content:
    """What identifies one subset of a batch.

    Attributes:
      subset: Name of the subset where it decides the split, or where there are several; else empty.
      sha256: SHA-256 of the annotations, hexadecimal.
      pictures: Size of each picture, bytes, by the name that the annotations give it; -1 for one that is no file.
    """

    subset: str
    sha256: str
    pictures: Mapping[str, int] = field(default_factory=dict)


def list_files(place: Place) -> Files:
    """Returns the files of a batch, without those of names that begin with a dot: nothing of them is read.

    Raises:
      OSError: There is no such batch, or it vanishes meanwhile.
      UserError: The store as a whole cannot be read.
    """
    if place.is_remote:
        if place.is_dir():
            found = remote.versions_below(place.text)
            return {name: each for name, each in found.items() if not any(map(_is_hidden, name.split("/")))}
        return {"": remote.version(place.text)}
    path = place.text
    if not os.path.isdir(path):  # noqa: PTH112  (a tenth of the time of pathlib, for each folder of each poll)
        return {"": _stated(os.stat(path))}  # noqa: PTH116
    return _list_local(path)


def _list_local(path: str) -> Files:
    found: dict[str, tuple[int, str]] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{path}/{folder}") as entries:
            for entry in entries:
                if _is_hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{folder}{entry.name}/")
                elif not entry.is_dir():
                    # A link that leads nowhere is there, and is no file.
                    status = entry.stat() if entry.is_file() else entry.stat(follow_symlinks=False)
                    found[f"{folder}{entry.name}"] = _stated(status)
    return found


def _stated(status: os.stat_result) -> tuple[int, str]:
    return status.st_size, str(status.st_mtime_ns)


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def stamp_of(files: Files) -> str:
    """Returns the digest of a listing, hexadecimal: equal ones need no other look at the batch."""
    return _digest(f"{name}\0{size}\0{version}" for name, (size, version) in sorted(files.items()))


def digest_of(contents: Iterable[Content], corrections: str = "") -> str:
    """Returns the SHA-256 that identifies a batch, hexadecimal: that of a copy under another name is the same.

    Args:
      contents: What identifies each subset.
      corrections: What identifies the corrections; empty if there are none.
    """
    lines = []
    for each in sorted(contents, key=lambda each: each.subset):
        lines.append(f"subset\0{each.subset}\0{each.sha256}")
        lines += [f"picture\0{name}\0{size}" for name, size in sorted(each.pictures.items())]
    return _digest([*lines, *([f"corrections\0{corrections}"] if corrections else [])])


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")).hexdigest()
