"""UCI's optical recognition of handwritten digits (https://archive.ics.uci.edu/dataset/80) as a `Source`.

A row of optdigits.tra or optdigits.tes is one digit: 64 counts, 0..16, of the black pixels in 4x4 blocks of a 32x32
bitmap, row by row, and the class, 0..9.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import CORRECTIONS, Input, Source, SourceOptions, Subset, subset_of
from beam_jobs.sources.pixels.parts import add_part, annotations, digest, index_of, select
from beam_jobs.sources.pixels.rows import Rows, layout_of, read_head, read_rows
from tfrecords.errors import UserError
from tfrecords.files.place import Place

SIDE = 8
MOST = 16
"""Largest count of a block."""
STORED = np.array([round(count * 255 / MOST) for count in range(MOST + 1)], np.uint8)
"""Pixel for each count, (17,) uint8: all differ, and `round(pixel * 16 / 255)` is the count again."""
_SUBSETS = {".tra": "train", ".tes": "test"}
_ENDINGS = (*_SUBSETS, ".csv", ".data")
_ORIGINAL = "optdigits-orig"


class OptdigitsSource(Source):
    """Reader of the rows of optdigits."""

    title = "UCI optdigits"
    expects = (
        "a folder with optdigits.tra (train) and optdigits.tes (test), or one such file, or .csv or .data with the "
        "same 65 integers a row: 64 pixels 0..16 and the digit"
    )
    defaults: Mapping[str, Any] = {
        "max_length": 1,
        "channels": 1,
        "growth": 0.0,
        "crop_size": SIDE,
        "record_size": SIDE,
        "jitters": 0,
    }

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of a folder, or the one of a file.

        Args:
          given: Folder with files of rows, or one file. `wanted` selects subsets, and renames the one of a file.
          options: Not used.

        Raises:
          UserError: There is nothing to read, or a wanted subset is missing.
        """
        place = given.place
        is_file = place.is_file()
        if is_file:
            if _is_original(place.name):
                rule = f"{place} holds the 32x32 bitmaps, which are not read: give optdigits.tra or optdigits.tes."
                raise UserError(rule, place.name)
            found = {_subset(place.name): place}
        else:
            found = _files(place)
        return tuple(_describe(*part) for part in select(found, given.wanted, place, is_file).items())

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the files in an input folder that have labels and are in none of the subsets: the bitmaps too."""
        if given.place.is_file():
            return ()
        read = {subset.path for subset in subsets}
        names = [entry.name for entry in given.place.entries() if not entry.is_folder]
        places = [given.place / name for name in names if _is_rows(name) or _is_original(name)]
        return tuple(str(place) for place in places if str(place) not in read)

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of rows; see `Source`.

        Raises:
          UserError: The file cannot be read.
        """
        rows = _read(subset.path, subset.annotations_sha256)
        yield from annotations(subset, rows.labels, rows.faults, start, stop)

    def read_picture(self, subset: Subset, name: str) -> NDArray[np.uint8]:
        """Returns the pixels of a picture: (8, 8, 1) uint8, its counts by the map `STORED`.

        Raises:
          OSError: There is no such picture.
          UserError: The file cannot be read.
        """
        rows = _read(subset.path, subset.annotations_sha256)
        pixels: NDArray[np.uint8] = STORED[rows.pixels[index_of(subset, name)]]
        return pixels.reshape(SIDE, SIDE, 1)

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns nothing: pictures are no files."""
        return ()


SOURCE = OptdigitsSource()


def _is_original(name: str) -> bool:
    """Returns whether a file is one of the 32x32 bitmaps: optdigits-orig.cv, .tra, .wdep, .windep, packed or not."""
    return name.lower().startswith(_ORIGINAL) and not name.lower().endswith(".names")


def _is_rows(name: str) -> bool:
    """Returns whether a file is one of rows, by its name."""
    is_known = name.lower().removesuffix(".gz").endswith(_ENDINGS) and name not in CORRECTIONS
    return is_known and not _is_original(name)


def _subset(name: str) -> str:
    """Returns the subset that a file is, by its name."""
    plain = name.lower().removesuffix(".gz")
    return next((subset for ending, subset in _SUBSETS.items() if plain.endswith(ending)), "") or subset_of(plain)


def _files(folder: Place) -> dict[str, Place]:
    """Returns the files of rows in a folder by subset; of a file that is there packed and unpacked, the unpacked."""
    if not folder.is_dir():
        raise UserError("The input must be a file or a folder that exists.", folder)
    names = {entry.name for entry in folder.entries() if not entry.is_folder and _is_rows(entry.name)}
    found: dict[str, Place] = {}
    for name in sorted(names):
        if not (name.endswith(".gz") and name.removesuffix(".gz") in names):
            add_part(found, _subset(name), folder / name, str(folder / name))
    if not found:
        raise UserError(f"The folder must hold optdigits.tra, optdigits.tes or files *{', *'.join(_ENDINGS)}.", folder)
    return found


def _describe(name: str, place: Place) -> Subset:
    """Returns the subset of a file."""
    sha256 = digest([place])
    return Subset(name, str(place), len(_read(str(place), sha256).pixels), sha256)


@lru_cache(maxsize=2)
def _read(path: str, sha256: str) -> Rows:
    """Returns the rows of a file; `sha256` makes a changed file another one.

    Raises:
      UserError: The file cannot be read, or its rows are not those of optdigits.
    """
    place = Place(path)
    head = read_head(place)
    layout = layout_of(head, SIDE * SIDE if head.columns == SIDE * SIDE + 1 else None)
    if layout.label is None or len(layout.pixels) != SIDE * SIDE:
        rule = f"{place} must have {SIDE * SIDE} pixels and a label in a row."
        if head.names is None and head.columns == 1:
            rule += " The 32x32 bitmaps (optdigits-orig) are not read."
        raise UserError(rule, f"{head.columns} columns")
    return read_rows(place, layout, MOST)
