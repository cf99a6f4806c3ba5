"""MNIST and data sets like it as a `Source`: idx files, mnist.npz, or CSV, all of pictures of one digit.

Pictures are in the published order, and their names are their indices: `train/00012`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset, own_name
from beam_jobs.sources.marks import Fault
from beam_jobs.sources.mnist.files import Part, annotated_files, find_parts
from beam_jobs.sources.mnist.idx import read_images, read_labels
from beam_jobs.sources.mnist.npz import read_npz, subsets_of_npz
from beam_jobs.sources.mnist.table import layout
from beam_jobs.sources.pixels.parts import PREDICT, annotations, digest, index_of, select
from beam_jobs.sources.pixels.rows import read_head, read_rows
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_SIDE = 28
_MOST = 255
_TRANSPOSED = re.compile("emnist", re.IGNORECASE)
"""Names of files whose pictures are stored by columns."""


@dataclass(frozen=True)
class Digits:
    """Pictures of a subset and their labels.

    Attributes:
      pixels: (pictures, height, width) uint8.
      labels: (pictures,) integers; None if there are none.
      faults: Faults by index.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.integer] | None
    faults: dict[int, Fault] = field(default_factory=dict)


class MnistSource(Source):
    """Reader of MNIST."""

    title = "MNIST"
    expects = (
        "a folder, or one file, of idx files (train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-..., .gz or "
        "not), mnist.npz, or CSV (a label and the pixels in a row, as Kaggle's train.csv)"
    )
    defaults: Mapping[str, Any] = {
        "max_length": 1,
        "channels": 1,
        "growth": 0.0,
        "crop_size": _SIDE,
        "record_size": _SIDE,
        "jitters": 0,
    }

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of a folder, or those of a file.

        Args:
          given: Folder or file. A folder without files that are known may hold one folder with them, as torchvision's
            MNIST/raw. `wanted` selects subsets, and renames that of a file which can hold only one.
          options: Not used.

        Raises:
          UserError: There is nothing to read, or a wanted subset is missing.
        """
        found, is_one = find_parts(given.place)
        return tuple(_describe(*part) for part in select(found, given.wanted, given.place, is_one).items())

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the files in an input folder that may hold labels and are in none of the subsets, sorted."""
        read = {subset.path for subset in subsets}
        # A packed file next to the same unpacked.
        twins = {f"{path}.gz" for path in read}
        return tuple(path for path in annotated_files(given.place) if path not in read | twins)

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of pictures; see `Source`. Texts are empty where there are no labels.

        Raises:
          UserError: The files cannot be read.
        """
        digits = _digits(subset)
        yield from annotations(subset, digits.labels, digits.faults, start, stop)

    def read_picture(self, subset: Subset, name: str) -> NDArray[np.uint8]:
        """Returns the pixels of a picture: (height, width, 1) uint8.

        Raises:
          OSError: There is no such picture.
          UserError: The files cannot be read.
        """
        # A copy, so that no picture keeps a memory map or the array of all alive.
        return np.array(_digits(subset).pixels[index_of(subset, name)], order="C")[..., None]

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns nothing: pictures are no files."""
        return ()


SOURCE = MnistSource()


def _describe(name: str, part: Part) -> Subset:
    """Returns the subset of a part.

    Raises:
      UserError: The files cannot be read, or the subset has another name than `predict` and no labels.
    """
    labels, images = str(part.labels), str(part.images or "")
    sha256 = digest(part.places)
    digits = _read(labels, images, part.array, sha256)
    if digits.labels is None and name != PREDICT:
        raise UserError(f"{part} has no labels, so that its subset must be {PREDICT}.", name)
    return Subset(name, labels, len(digits.pixels), sha256, images)


def _digits(subset: Subset) -> Digits:
    """Returns the pictures of a subset."""
    array = ""
    if subset.path.lower().endswith(".npz"):
        array = own_name(subset.name, _arrays(subset.path, subset.annotations_sha256))
    return _read(subset.path, subset.pictures, array, subset.annotations_sha256)


@lru_cache(maxsize=8)
def _arrays(path: str, sha256: str) -> tuple[str, ...]:
    """Returns the names of the subsets in an .npz file; `sha256` makes a changed file another one."""
    return tuple(subsets_of_npz(Place(path)))


@lru_cache(maxsize=2)
def _read(labels: str, images: str, array: str, sha256: str) -> Digits:
    """Returns the pictures of files; `sha256` makes changed files others.

    Raises:
      UserError: The files cannot be read.
    """
    if array:
        digits = Digits(*read_npz(Place(labels), array))
    elif images:
        digits = Digits(read_images(Place(images)), read_labels(Place(labels)))
    else:
        digits = _read_csv(Place(labels))
    if digits.labels is not None and len(digits.labels) != len(digits.pixels):
        rule = f"{labels} must hold a label for each image."
        raise UserError(rule, f"{len(digits.labels)} labels, {len(digits.pixels)} images")
    # EMNIST stores its pictures mirrored and turned, that is, by columns: see the note in
    # https://www.tensorflow.org/datasets/catalog/emnist.
    if _TRANSPOSED.search(Place(images or labels).name):
        return Digits(digits.pixels.transpose(0, 2, 1), digits.labels, digits.faults)
    return digits


def _read_csv(place: Place) -> Digits:
    """Returns the pictures of a CSV file."""
    rows = read_rows(place, layout(read_head(place), place), _MOST)
    side = isqrt(rows.pixels.shape[1])
    return Digits(rows.pixels.reshape(-1, side, side), rows.labels, rows.faults)
