"""Pictures whose folder or file name is their number, as a `Source`: `7/abc.png`, `train/7/abc.png`, `meter_00423.jpg`.

Folders of classes are laid out as torchvision's `ImageFolder` and Hugging Face's `imagefolder` read them
(https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html).
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.sources.base import (
    FOR_VALIDATION,
    PICTURE_SUFFIXES,
    Input,
    Source,
    SourceOptions,
    Subset,
    check_subset_names,
    subset_of,
)
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

_SUBSETS = ("train", "test", "extra", *FOR_VALIDATION)
"""Names of folders, in any case, that are subsets and not numbers."""
_OF_SYSTEMS = ("thumbs.db", "desktop.ini")
"""Names, in lower case, of files that systems put into folders of pictures."""
_KEPT_LISTINGS = 4
"""Folders whose listing a process keeps: ranges of train, validation and test come in any order."""


class ImageFolderSource(Source):
    """Reader of folders of pictures."""

    title = "folders of pictures, named for their numbers"
    expects = (
        "a folder with a folder per number (7/abc.png), or with folders train, test, val of such; or any folder, and "
        "--pattern, whose group is the number in the file's path"
    )
    options = ("pattern",)

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an input folder: its folders that have a subset's name, else the folder itself.

        Args:
          given: Folder; `wanted` chooses among its subsets, or names the only one.
          options: Pattern of the number in the file's path.

        Raises:
          UserError: There is no picture, the pattern is none, or a wanted subset is missing.
        """
        _compile(options.pattern)
        forget()
        found = _wanted(given, _folders(given))
        subsets = tuple(_describe(name, str(place)) for name, place in found.items())
        if not any(subset.entries for subset in subsets):
            suffixes = " ".join(sorted(PICTURE_SUFFIXES))
            raise UserError(f"The input must hold pictures, in files that end in {suffixes}.", given.place)
        return subsets

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns what an input folder holds apart from the subsets' pictures, sorted.

        These are other folders that hold pictures, pictures next to the folders of subsets, and for each ending of a
        file that is no picture, one pattern: `numbers/**/*.xml`.
        """
        read = {subset.path for subset in subsets}
        found = {f"{path}/**/{kind}" for path in read for kind in _list(path).others}
        if str(given.place) in read:
            return tuple(sorted(found))
        for entry in given.place.entries():
            place = given.place / entry.name
            if entry.is_folder and str(place) not in read and any(map(_is_picture, place.walk())):
                found.add(str(place))
            elif not entry.is_folder and entry.name.lower() not in _OF_SYSTEMS:
                found.add(f"{given.place}/{_kind(entry.name)}")
        return tuple(sorted(found))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of pictures, sorted by their path; see `Source`.

        Raises:
          UserError: The folder's pictures are not those that were counted.
        """
        listing = _list(subset.path)
        if listing.sha256 != subset.annotations_sha256:
            forget()
            listing = _list(subset.path)
        names = listing.pictures
        if listing.sha256 != subset.annotations_sha256:
            raise UserError(f"The pictures in {subset.path} changed while the job ran.", f"{len(names)} pictures")
        pattern = _compile(options.pattern)
        for index in range(start, min(stop, len(names))):
            yield _annotate(subset.name, names[index], index, pattern)

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        place = Place(subset.path)
        return (place / name).read_bytes() if place.is_remote else filesystem.read_local(f"{place}/{name}")

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns the place of a picture's file; see `Source`."""
        return (Place(subset.path) / name,)


SOURCE = ImageFolderSource()


def _folders(given: Input) -> dict[str, Place]:
    """Returns the folders in the input that have a subset's name or a wanted one, sorted, by name in lower case.

    Raises:
      UserError: The input is no folder, or two names differ in their case only.
    """
    if not given.place.is_dir():
        raise UserError("The input must be a folder that exists.", given.place)
    names = {*_SUBSETS, *(name.lower() for name in given.wanted)}
    found: dict[str, Place] = {}
    for entry in given.place.entries():
        name = entry.name.lower()
        if entry.is_folder and name in names:
            if name in found:
                rule = f"The names of the subsets in {given.place} must differ in more than their case."
                raise UserError(rule, f"{found[name].text.rpartition('/')[2]}, {entry.name}")
            found[name] = given.place / entry.name
    return found


def _wanted(given: Input, folders: dict[str, Place]) -> dict[str, Place]:
    """Returns the folders of the wanted subsets; an input without folders of subsets is one subset."""
    names = [name.lower() for name in given.wanted]
    check_subset_names(given.wanted)
    if not folders:
        if len(names) > 1:
            raise UserError(f"{given.place} is one subset: give it one name.", ",".join(given.wanted))
        return {names[0] if names else subset_of(given.place.name): given.place}
    if missing := [name for name in names if name not in folders]:
        raise UserError(f"{given.place} holds the subsets {', '.join(folders)}.", ",".join(missing))
    return {name: place for name, place in folders.items() if not names or name in names}


class _Listing(NamedTuple):
    """What a folder holds.

    Attributes:
      pictures: Relative paths of the pictures, sorted.
      others: Endings of the other files as patterns, sorted.
      sha256: SHA-256 of the pictures' paths, which are all that there is of annotations; hexadecimal.
    """

    pictures: list[str]
    others: list[str]
    sha256: str


def forget() -> None:
    """Forgets the listings of folders, which may have changed."""
    _list.cache_clear()


@lru_cache(maxsize=_KEPT_LISTINGS)
def _list(path: str) -> _Listing:
    """Returns what a folder and its folders hold."""
    pictures: list[str] = []
    kinds: set[str] = set()
    for name in Place(path).walk():
        if _is_picture(name):
            pictures.append(name)
        elif (last := name.rpartition("/")[2]).lower() not in _OF_SYSTEMS:
            kinds.add(_kind(last))
    digest = hashlib.sha256("\0".join(pictures).encode("utf-8", "surrogateescape"))
    return _Listing(pictures, sorted(kinds), digest.hexdigest())


def _is_picture(name: str) -> bool:
    suffix = name[name.rfind(".") :]
    return suffix in PICTURE_SUFFIXES or suffix.lower() in PICTURE_SUFFIXES


def _kind(name: str) -> str:
    """Returns a file's ending as a pattern, `*.xml`; its name if it has none."""
    return f"*.{name.rpartition('.')[2]}" if "." in name else name


def _describe(name: str, path: str) -> Subset:
    listing = _list(path)
    return Subset(name, path, len(listing.pictures), listing.sha256, path)


def _compile(pattern: str | None) -> "re.Pattern[str] | None":
    """Returns the compiled pattern.

    Raises:
      UserError: It is no regular expression, or has no group.
    """
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"pattern must be a regular expression of Python ({error}).", pattern) from error
    if not compiled.groups:
        raise UserError("pattern must have a group, whose text is the number: (?P<text>...) or (...).", pattern)
    return compiled


def _annotate(subset: str, name: str, index: int, pattern: "re.Pattern[str] | None") -> Annotation:
    """Returns the annotation of a picture."""
    try:
        if not name.isascii():
            name.encode()
        return Annotation(subset, name, index, _text(name, pattern))
    except UnicodeEncodeError:
        name = f"#{index + 1}"
        error = RejectedError("annotation", "not_utf8", f"{subset}/{name}: the name of a file must be UTF-8.")
    except _NoTextError as no_text:
        rule = f"{subset}/{printable(name)}: {no_text}"
        error = RejectedError("annotation", no_text.reason, rule, printable(name))
    return Annotation(subset, name, index, "", dead=error.letter)


class _NoTextError(Exception):
    def __init__(self, reason: str, rule: str) -> None:
        super().__init__(rule)
        self.reason = reason


def _text(name: str, pattern: "re.Pattern[str] | None") -> str:
    """Returns the number in a picture's path."""
    if pattern is None:
        if (depth := name.count("/")) != 1:
            where = "directly in the folder of its number" if depth else "in a folder that is named for its number"
            raise _NoTextError("no_match", f"a picture must be {where}, or --pattern find the number in its path.")
        text = name.partition("/")[0].strip()
    else:
        found = pattern.search(name)
        group = found["text" if "text" in pattern.groupindex else 1] if found else None
        if group is None:
            raise _NoTextError("no_match", f"the pattern {pattern.pattern!r} must be in the path of a picture.")
        text = group.strip()
    if not text:
        raise _NoTextError("no_text", "the number in the path of a picture must not be empty.")
    return text
