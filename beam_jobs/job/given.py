"""What a job reads: the flags for it, the subsets that these name, and the ranges of entries that workers read."""

import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from beam_jobs.job.wrong_input import name_sources, refuse_archive
from beam_jobs.sources import SOURCES, load_source
from beam_jobs.sources.base import DIGIT_ORDERS, Input, SourceOptions, Subset
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import setting, settings_of

DATA = "data"
"""Title of the flags for the input."""
PICTURES = "pictures"
"""Title of the flags for pictures and their crops."""
ORIENTATIONS = ("upright", "stored")
_ENTRIES_PER_RANGE = 4000
"""Most entries of a range: more would gain nothing, and an annotation of many boxes takes kilobytes."""
_FEWEST_PER_RANGE = 250
"""Entries below which a range costs more than its parsing: opening a digitStruct.mat takes 2.5 ms, an entry 7 us."""
_RANGES = 32
"""Number of ranges that a job has if it can: a few for each worker of a cluster, which share them by chance. Parsing
SVHN's train takes 0.22 s in ranges of 4,000, 0.28 s in 32, 0.37 s in 64, 1.03 s in ranges of 100."""
_Data = TypeVar("_Data", bound="GivenData")


@dataclass(frozen=True)
class Range:
    """Entries of a subset from `start` to before `stop`: what one worker parses at a time."""

    subset: Subset
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class GivenData:
    """What one call reads. The help line of each setting describes it."""

    source: str = setting(
        MISSING, "format of the input; `python -m beam_jobs sources` explains each", choices=tuple(SOURCES), group=DATA
    )
    input: str = setting(MISSING, "file or folder of the source, local or at an address, as s3://", group=DATA)
    media_root: str | None = setting(
        None, "folder of the pictures that the annotations name, where they are not next to them", group=DATA
    )
    subsets: str | None = setting(
        None,
        "subsets to read, comma-separated, as train,extra; by default all that are known by their names, as train, "
        "val, valid, validation, dev, test and extra. test is the split test, the four after train are the split "
        "validation, others are train",
        group=DATA,
    )

    def __post_init__(self) -> None:
        """Checks the places, before anything large is imported.

        Raises:
          UserError: One is empty, or an address with a slash too few.
        """
        _ = self.given

    @property
    def given(self) -> Input:
        """What to read."""
        media_root = Place(self.media_root) if self.media_root is not None else None
        return Input(Place(self.input), self.subset_names, media_root)

    @property
    def subset_names(self) -> tuple[str, ...]:
        """Names of the subsets to read; empty for all."""
        return tuple(name for name in (self.subsets or "").split(",") if name)


def absolute(data: _Data, *outputs: str) -> _Data:
    """Returns what to read with absolute paths, for workers whose folder is another one; addresses are unchanged.

    Args:
      data: What a command line names.
      *outputs: Names of the settings that are paths, too.
    """
    given = {name: getattr(data, name) for name in ("input", "media_root", *outputs)}
    return replace(data, **{name: absolute_path(path) for name, path in given.items() if path is not None})


def absolute_path(path: str) -> str:
    """Returns an absolute path; an address is unchanged."""
    if Place(path).is_remote:
        return path
    # A worker may not have this process' folder, from which `..` leads on; beyond a link, `..` leads elsewhere.
    plain, real = Path(os.path.normpath(Path(path).absolute())), Path(path).resolve()
    return str(plain if plain.resolve() == real else real)


def digit_order_setting() -> Any:
    """Returns the setting `digit_order`, one of `DIGIT_ORDERS`."""
    help = "reading order of a picture's digits: by the left edges of their boxes, or as the source stores them"
    return setting("left", help, choices=DIGIT_ORDERS, group=DATA)


def orientation_setting() -> Any:
    """Returns the setting `orientation`, one of `ORIENTATIONS`."""
    help = (
        "whether pictures are turned as their EXIF data say, which is how viewers and annotation tools show them, or "
        "read as they are stored"
    )
    return setting("upright", help, choices=ORIENTATIONS, group=PICTURES)


def check_options(name: str, values: Mapping[str, Any]) -> None:
    """Checks that the flags for labels that were given are some that a source heeds.

    Args:
      name: Name of the source.
      values: Flags that were given, by setting.

    Raises:
      UserError: One belongs to other sources.
    """
    source = load_source(name)
    unused = [each for each in settings_of(SourceOptions) if each in values and each not in source.options]
    if unused:
        flags = ", ".join(f"--{each.replace('_', '-')}" for each in source.options) or "none"
        rule = f"--source {name} heeds {flags} of the flags for labels."
        raise UserError(rule, ", ".join(f"--{each.replace('_', '-')}" for each in unused))


def find_subsets(data: GivenData, options: SourceOptions) -> tuple[Subset, ...]:
    """Returns the subsets to read, and warns of those that are left out although nobody asked for it.

    Args:
      data: What to read.
      options: How its labels are read.

    Raises:
      UserError: The input cannot be read, or a wanted subset is missing.
    """
    refuse_archive(data.given)
    source = load_source(data.source)
    if data.media_root is not None and not source.takes_media_root:
        rule = f"--source {data.source} has its pictures in --input: leave out --media-root."
        raise UserError(rule, data.media_root)
    try:
        subsets = source.find_subsets(data.given, options)
    except UserError as error:
        raise name_sources(error, data.given, data.source) from error
    unread = () if data.subset_names else source.unread(data.given, subsets, options)
    if unread:
        names = ", ".join(unread)
        warn(f"not read, although annotations are there: {names} (--subsets chooses, or give one as --input)")
    return subsets


def reads_remote(subsets: tuple[Subset, ...]) -> bool:
    """Returns whether pictures are at an address: in the folder for them, or with the annotations."""
    return any(Place(subset.pictures or subset.path).is_remote for subset in subsets)


def ranges_of(subsets: tuple[Subset, ...]) -> list[Range]:
    """Returns ranges of entries that together cover every subset once, enough of them for many workers."""
    entries = sum(subset.entries for subset in subsets)
    size = min(_ENTRIES_PER_RANGE, max(_FEWEST_PER_RANGE, -(-entries // _RANGES)))
    return [
        Range(subset, start, min(start + size, subset.entries))
        for subset in subsets
        for start in range(0, subset.entries, size)
    ]


def warn(line: str) -> None:
    """Prints a warning on standard error."""
    print(f"warning: {line}", file=sys.stderr)
