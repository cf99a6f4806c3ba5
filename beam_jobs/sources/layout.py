"""What the folders of annotation tools have in common: subsets by name, digests, and the names of pictures."""

import gc
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from beam_jobs.sources.base import FOR_VALIDATION, check_subset_names
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_T = TypeVar("_T")
SUBSETS = ("train", "training", "test", "testing", "extra", *FOR_VALIDATION)
"""Names of folders, in lower case, that are subsets wherever they are found."""
_DRIVE = re.compile(r"[A-Za-z]:")
_PLAIN = re.compile(r"(?:[\w-][^/\\]*/)*[\w-][^/\\]*")
"""Names that most pictures have, without a colon or a part that begins with a dot."""

_CARD = "croissant.json"
"""Name that MLCommons gives the description of a dataset, which lies next to its annotations."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that no name of a picture has: controls, and halves of characters."""


def is_annotations(name: str) -> bool:
    """Returns whether a file of a folder may hold annotations in JSON, by its name."""
    return name.lower().endswith(".json") and name.lower() != _CARD


def choose(found: Mapping[str, _T], wanted: tuple[str, ...], place: Place) -> dict[str, _T]:
    """Returns the subsets that are wanted, in the order in which they were found; all if none is.

    A single subset takes a single wanted name.

    Args:
      found: What each subset is, by its name in lower case.
      wanted: Names of subsets, in any case.
      place: Input, for error messages.

    Raises:
      UserError: A wanted name is not there.
    """
    check_subset_names(wanted)
    if not wanted:
        return dict(found)
    names = [name.lower() for name in wanted]
    if len(found) == 1 and len(names) == 1:
        return {wanted[0] if names[0] not in found else names[0]: each for each in found.values()}
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{place} holds the subsets {', '.join(found)}.", ",".join(missing))
    return {name: each for name, each in found.items() if name in names}


def digest(root: Place, names: Iterable[str]) -> str:
    """Returns the SHA-256, hexadecimal, of files' names and contents, in the order of the names.

    Args:
      root: Folder of the files.
      names: Relative paths.

    Raises:
      OSError: A file cannot be read.
    """
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(f"{name}\0{(root / name).sha256()}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def relative_name(given: str) -> str | None:
    """Returns a picture's path with `/`, without `./`; None if it has no place in a folder.

    That is so if it is empty, absolute, leaves its folder by `..`, or has control characters.
    """
    name = given.strip()
    if ":" not in name and name.isprintable() and _PLAIN.fullmatch(name):
        return name
    name = name.replace("\\", "/")
    if name.startswith("/") or _DRIVE.match(name) or _UNFIT.search(name):
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts) if parts and ".." not in parts else None


def read_file(root: Place, name: str) -> bytes:
    """Returns the content of a file: a small local one in half of the time that `Place` takes to make its path.

    Args:
      root: Folder.
      name: Relative path.

    Raises:
      OSError: There is no such file, or it cannot be read.
    """
    if root.is_remote:
        return (root / name).read_bytes()
    with open(f"{root.text}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def read_first(root: Place, names: Iterable[str]) -> bytes:
    """Returns the content of the first file that is there.

    Args:
      root: Folder of the files.
      names: Relative paths, the likeliest first.

    Raises:
      OSError: No file is there, or one cannot be read. The error is that of the first name.
    """
    missing: OSError | None = None
    for name in dict.fromkeys(names):
        try:
            return (root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = missing or error
    raise missing or FileNotFoundError(2, "No such file", str(root))


@contextmanager
def no_garbage() -> Iterator[None]:
    """Switches the garbage collector off inside the block: where all new objects are kept, it finds nothing, slowly."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
