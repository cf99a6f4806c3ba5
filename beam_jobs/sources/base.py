"""What `prepare` needs from a format of labelled pictures: the `Source` protocol.

A new format is a module with a `SOURCE` that implements the protocol, listed in `beam_jobs.sources.SOURCES`. Beam's
workers get a source by its name, so nothing of it is pickled but `Subset`s and `SourceOptions`. Sources import neither
each other nor `prepare`, and libraries only when they read.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import setting
from tfrecords.images.formats import SUFFIXES

DIGIT_ORDERS = ("left", "stored")
"""Reading orders of a picture's characters: by the left edges of their boxes, ties as stored; or as the source has
them."""
FOR_VALIDATION = ("val", "valid", "validation", "dev")
"""Names that a subset for validation usually has."""
BOX_FORMATS = ("ltwh", "ltrb")
"""Meanings of a box's four numbers: left, top, width, height; or left, top, right, bottom."""
PICTURE_SUFFIXES = SUFFIXES
"""Endings, in lower case, of the names of files that are taken for pictures."""
CORRECTIONS = ("corrections.csv", "corrections.jsonl")
"""Names of files of corrections, which a batch of a stream may hold next to its annotations: no source reads them."""
_SPLITS = {"test": "test", "testing": "test", "predict": "predict", **dict.fromkeys(FOR_VALIDATION, "validation")}
_SUBSET_NAME = re.compile(r"[\w-]+")
_OF_SOURCES = "labels of some sources (see python -m beam_jobs sources)"
REJECTED_ROWS = b"streetdigits.rejected"
"""Key of the metadata of a Parquet table that this package writes: a JSON object of `[reason, rule, received]` by the
index of a row that is no number. The reader of tables heeds it."""


def published_split(subset: str) -> str | None:
    """Returns the split that a subset is published as, by its name in any case; None if it is for training.

    Pictures whose numbers are not known, as those of a competition, are the subset and the split `predict`. That of a
    batch of a stream is named after an `@`: `2026-11@test` is for test.
    """
    return _SPLITS.get(subset.rpartition("@")[2].lower())


def own_name(name: str, present: Collection[str]) -> str:
    """Returns the name that a source gives to a subset, which may be read under another.

    `2026-11@val` is the subset val of a batch of a stream, and the only subset may have any name.

    Args:
      name: Name under which the subset is read.
      present: Names that the source finds.

    Raises:
      UserError: None of them is meant.
    """
    own = name.rpartition("@")[2]
    if own in present:
        return own
    if len(present) == 1:
        return next(iter(present))
    raise UserError(f"The subset must be one of {', '.join(present)}.", name)


def check_subset_names(names: tuple[str, ...]) -> None:
    """Checks that names can be the first part of keys.

    Raises:
      UserError: A name has other characters than letters, digits, - and _.
    """
    if unfit := [name for name in names if not _SUBSET_NAME.fullmatch(name)]:
        raise UserError("The name of a subset must be of letters, digits, - and _.", ",".join(unfit))


def subset_of(name: str) -> str:
    """Returns the name of the subset that a file is, by the words of its name: `train` if none says otherwise.

    `instances_val2017.json` is val, `_annotations.coco.json` is train.

    Args:
      name: Name of the file, without its folder.
    """
    words = re.findall("[a-z]+", name.lower())
    return next((word for word in words if word in _SPLITS), "train")


@dataclass(frozen=True)
class Input:
    """What a user gives to read.

    Attributes:
      place: File or folder, local or remote.
      wanted: Names of the subsets to read; empty for all.
      media_root: Folder of the pictures that the annotations name; None if they are next to the annotations.
    """

    place: Place
    wanted: tuple[str, ...] = ()
    media_root: Place | None = None


@dataclass(frozen=True)
class SourceOptions:
    """How the labels of a source are to be read. A source names those that it heeds in its `options`.

    The help line of each setting describes it; None leaves the choice to the source.

    Attributes:
      as_stored: Whether pictures are not turned as their files say, which relative boxes need for a size in pixels. It
        is no setting, but follows from `prepare --orientation`.
    """

    picture_column: str | None = setting(None, "table: column of pictures' paths or URLs", group=_OF_SOURCES)
    text_column: str | None = setting(None, "table: column of the numbers", group=_OF_SOURCES)
    box_columns: str | None = setting(
        None, "table: four columns of the number's box, comma-separated, or one that holds a list", group=_OF_SOURCES
    )
    box_format: str | None = setting(
        None,
        "table: meaning of the box's numbers: left, top, width, height or left, top, right, bottom",
        choices=BOX_FORMATS,
        group=_OF_SOURCES,
    )
    split_column: str | None = setting(None, "table: column of the subset's name", group=_OF_SOURCES)
    text_attribute: str | None = setting(
        None, "coco, cvat, label-studio, voc: attribute or field that holds the number of a box", group=_OF_SOURCES
    )
    pattern: str | None = setting(
        None,
        "image-folder: regular expression, searched in the file's relative path, whose group is the number",
        group=_OF_SOURCES,
    )
    as_stored: bool = False

    def __post_init__(self) -> None:
        if self.box_format not in (None, *BOX_FORMATS):
            raise UserError(f"box_format must be one of {', '.join(BOX_FORMATS)}.", self.box_format)


@dataclass(frozen=True)
class Subset:
    """One published part of a source: pictures and their annotations. It is pickled for the workers.

    Attributes:
      name: Name as published, the first part of its pictures' keys: train, val, test, extra.
      path: Path or address of the file or folder that holds the annotations.
      entries: Number of entries: numbers, and pictures without one.
      annotations_sha256: SHA-256 of the annotations, hexadecimal: another one is another dataset.
      pictures: Path or address of the folder that pictures' names are relative to; empty if the source needs none.
    """

    name: str
    path: str
    entries: int
    annotations_sha256: str
    pictures: str = ""


class Source(Protocol):
    """Reader of one format; it has no state, so that every worker can load its own.

    Attributes:
      packages: Names of the installed packages that decide, for this format alone, a dataset's bytes.
      title: Noun phrase for lists: `COCO detection JSON`.
      expects: One or two lines that say what `--input` must be and how labels are found.
      options: Names of the `SourceOptions` that the source heeds.
      defaults: Settings of `prepare`, by name, whose defaults differ for this source: as `max_length` for MNIST.
      has_boxes: Whether every number has a box, which needs no look at the annotations then.
      takes_media_root: Whether the pictures may be in a folder of their own, `Input.media_root`.
    """

    title: str
    expects: str
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = MappingProxyType({})
    has_boxes: bool = False
    takes_media_root: bool = False

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an input, in the order in which they are read.

        Args:
          given: What to read.
          options: How to read it.

        Raises:
          UserError: The input cannot be read, or a wanted subset is missing.
        """

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns what in an input has annotations and is in none of the subsets, sorted: paths or addresses.

        Args:
          given: What was to be read.
          subsets: Subsets that are read.
          options: How they are read.
        """

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries, one for each; a bad entry becomes a rejected `Annotation`.

        Args:
          subset: Subset to read.
          start: Index of the first entry.
          stop: Index after the last entry.
          digit_order: One of `DIGIT_ORDERS`.
          options: How to read it.

        Raises:
          UserError: The annotations as a whole cannot be read.
        """

    def read_picture(self, subset: Subset, name: str) -> bytes | NDArray[np.uint8]:
        """Returns the bytes of a picture's file; or pixels, where the format holds no files.

        Where a source does not say otherwise, the file is that of the name in the subset's folder of pictures.

        Args:
          subset: Subset of the picture.
          name: Name of the picture, as in its annotation.

        Returns:
          A file of any format that `tfrecords.images.decode` reads; or (height, width, 1 or 3) uint8.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        return (Place(subset.pictures) / name).read_bytes()

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns where the file of a picture may be, for readers that need its beginning only; the first counts.

        Args:
          subset: Subset of the picture.
          name: Name of the picture, as in its annotation.

        Returns:
          Places, of which one at least is there if the picture is; none where only `read_picture` can read it, as of
          formats that hold no files.
        """
        return (Place(subset.pictures) / name,)
