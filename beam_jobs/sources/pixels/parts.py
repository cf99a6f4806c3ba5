"""Files of pixels: subsets by name, their digests, and the annotations of pictures that are numbered from 0."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import FOR_VALIDATION, Subset, check_subset_names
from beam_jobs.sources.marks import Fault, rejected
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place

PREDICT = "predict"
"""Name of a subset without labels, whose numbers are to be predicted. The texts of its annotations are empty."""
CLASSES = 10
_TEXTS = tuple(map(str, range(CLASSES)))
_ORDER = ("train", *FOR_VALIDATION, "test", PREDICT)
_GZIP = b"\x1f\x8b"
_NAME_DIGITS = 5
T = TypeVar("T")


@contextmanager
def unpacked(place: Place) -> Iterator[BinaryIO]:
    """Opens a file for reading in order; one that gzip has packed is unpacked, whatever its name is.

    Raises:
      UserError: The file cannot be read, or is no complete gzip file although it begins as one.
    """
    try:
        with place.open() as stream:
            is_packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            if is_packed:
                with gzip.GzipFile(fileobj=stream) as content:
                    yield content  # type: ignore[misc]  # it reads as a BinaryIO does
            else:
                yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{place} must be a complete gzip file, as it begins as one.", error) from error
    except OSError as error:
        raise UserError(f"{place} cannot be read.", one_line(error)) from error


def digest(places: Iterable[Place]) -> str:
    """Returns one SHA-256, hexadecimal, of the names and contents of files, in the order of their names.

    Raises:
      UserError: A file cannot be read.
    """
    total = hashlib.sha256()
    for place in sorted(places, key=lambda place: place.name):
        try:
            total.update(f"{place.name}\n{place.sha256()}\n".encode())
        except OSError as error:
            raise UserError(f"{place} cannot be read.", one_line(error)) from error
    return total.hexdigest()


def add_part(found: dict[str, T], subset: str, part: T, what: str) -> None:
    """Adds a part of the input to those found, by the subset that it is.

    Raises:
      UserError: There is one of this subset already.
    """
    if subset in found:
        rule = f"Each subset must be in one place, and {subset} is in several: give one of them as the input."
        raise UserError(rule, f"{found[subset]}, {what}")
    found[subset] = part


def select(found: Mapping[str, T], wanted: tuple[str, ...], place: Place, is_one: bool) -> dict[str, T]:
    """Returns the wanted parts of an input by the names of their subsets: train, validation, test, predict, others.

    The order of the wanted names does not matter, so that it does not change the bytes.

    Args:
      found: Parts by the names of their subsets.
      wanted: Names to read, in any case; empty for all.
      place: Input, for messages.
      is_one: Whether the input is a single subset, so that one wanted name renames it.

    Raises:
      UserError: A wanted subset is missing, or its name cannot be the first part of keys.
    """
    check_subset_names((*wanted, *found))
    if is_one and len(wanted) > 1:
        raise UserError(f"{place} is one subset: give it one name.", ",".join(wanted))
    if is_one and wanted:
        return {wanted[0]: next(iter(found.values()))}
    names = sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    if missing := [name for name in wanted if name.lower() not in found]:
        raise UserError(f"{place} holds the subsets {', '.join(names)}.", ",".join(missing))
    chosen = {name.lower() for name in wanted} or found
    return {name: found[name] for name in names if name in chosen}


def annotations(
    subset: Subset,
    labels: NDArray[np.integer] | None,
    faults: Mapping[int, Fault],
    start: int,
    stop: int,
) -> Iterator[Annotation]:
    """Yields the annotations of a range of pictures, each of which is a number of one digit.

    Args:
      subset: Subset that the pictures are.
      labels: (entries,), label of each picture; None if there are none, which gives empty texts.
      faults: Faults by index.
      start: Index of the first picture.
      stop: Index after the last picture.
    """
    width = _width(subset)
    texts = _TEXTS if labels is not None else ("",)
    # As a list of Python's integers: half the time of NumPy's, one by one.
    known = [0] * (stop - start) if labels is None else labels[start:stop].tolist()
    for index, label in enumerate(known, start):
        name = str(index).zfill(width)
        if index in faults or not 0 <= label < len(texts):
            yield rejected(subset.name, name, index, faults.get(index) or _bad_label(subset, index, label))
        else:
            yield Annotation(subset.name, name, index, texts[label])


def _bad_label(subset: Subset, index: int, label: int) -> Fault:
    """Returns the fault of a picture whose label is no digit."""
    rule = f"picture {index} of {Place(subset.path).name}: a label must be one of 0..{CLASSES - 1}."
    return Fault("bad_label", rule, str(label))


def _width(subset: Subset) -> int:
    """Returns the length of the pictures' names: indices, with zeros so that names sort as pictures do."""
    return max(_NAME_DIGITS, len(str(subset.entries - 1)))


def index_of(subset: Subset, name: str) -> int:
    """Returns the index of the picture of a name.

    Raises:
      FileNotFoundError: The subset has no such picture.
    """
    index = int(name) if name.isascii() and name.isdecimal() else -1
    if not 0 <= index < subset.entries or len(name) != _width(subset):
        raise FileNotFoundError(2, f"there is no picture {name}", subset.path)
    return index
