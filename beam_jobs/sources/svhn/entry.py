"""Reads one entry of digitStruct.mat through HDF5's library: in any layout, with a message for every broken rule.

The messages become the details of dead letters, so a change of their words changes the bytes of datasets.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5r, h5s

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from tfrecords.images.crop import BoundingBox
from tfrecords.record.schema import MAX_LENGTH

FILE_NAME = "digitStruct.mat"
FIELDS = ("label", "left", "top", "width", "height")
BOX_LIMIT = 1e9
HDF5_ERRORS = (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError, OverflowError)
"""Errors that h5py and NumPy raise for damaged files."""

_MAX_VALUES = 1 << 16
"""Largest number of values of one name or field: a damaged size must not fill the memory."""
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*", re.ASCII)
_NOT_IN_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories: controls, lone surrogates (not in UTF-8, so not in JSON or Parquet), ends of lines."""


def read_entry(
    file: h5py.File, subset: str, index: int, references: Sequence[h5py.Reference], digit_order: str
) -> Annotation:
    """Returns the annotation of an entry; a bad entry becomes a rejected `Annotation`.

    Args:
      file: Open digitStruct.mat.
      subset: Name of the pictures' subset.
      index: Index of the entry, from 0.
      references: References to the entry's name and bbox.
      digit_order: One of `beam_jobs.sources.base.DIGIT_ORDERS`.
    """
    name, where = f"#{index + 1}", f"{FILE_NAME}: entry {index + 1}"
    try:
        name = _read_name(file, references[0], where)
        where = f"{subset}/{name}"
        digits, boxes = _digits_and_boxes(where, _read_fields(file, references[1]), digit_order)
        return Annotation(subset, name, index, digits, boxes, too_long(subset, name, digits))
    except RejectedError as error:
        letter = error.letter
    except HDF5_ERRORS as error:
        # Damage inside one entry; the other entries are still good.
        letter = RejectedError("annotation", "unreadable_entry", f"{where}: The entry must be whole.", error).letter
    return Annotation(subset, name, index, (), (), letter)


def is_plain_name(name: str) -> bool:
    """Returns whether a picture's name is a plain file name on every system, and printable on one line.

    Names come from outside: such a name cannot point out of the subset's folder.
    """
    if _PLAIN_NAME.fullmatch(name):  # all names of SVHN; twenty times as fast
        return True
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return plain and name not in ("", ".", "..") and _NOT_IN_NAMES.isdisjoint(map(unicodedata.category, name))


def too_long(subset: str, name: str, digits: tuple[int, ...]) -> DeadLetter | None:
    """Returns the dead letter of a number that is too long for an example, or None."""
    if len(digits) <= MAX_LENGTH:
        return None
    rule = f"{subset}/{name}: A number must have at most {MAX_LENGTH} digits."
    return RejectedError("annotation", "too_long", rule, len(digits)).letter


def _read_array(dataset: Any) -> Any:
    """Returns the values of a low-level dataset, as a flat array."""
    if not isinstance(dataset, h5d.DatasetID):
        raise TypeError(f"values must be a dataset, not {type(dataset).__name__}")
    if math.prod(dataset.shape) > _MAX_VALUES:
        raise ValueError(f"there must be at most {_MAX_VALUES} values, not {dataset.shape}")
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, values)
    return values.ravel()


def _read_name(file: h5py.File, reference: h5py.Reference, where: str) -> str:
    """Returns the name that a reference points to.

    Raises:
      RejectedError: It is not a plain file name.
    """
    codes = "".join(map(chr, _read_array(h5r.dereference(reference, file.id)).tolist()))
    # A pair of surrogates becomes its letter; a lone surrogate stays, and no plain name contains one.
    name = codes.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if not is_plain_name(name):
        rule = f"{where}: A picture's name must be a plain file name."
        raise RejectedError("annotation", "bad_name", rule, repr(name))
    return name


def _read_fields(file: h5py.File, reference: h5py.Reference) -> dict[str, list[float]]:
    """Returns the five fields of a bbox, through h5py's low-level calls, ten times as fast as its objects."""
    group = h5r.dereference(reference, file.id)
    if not isinstance(group, h5g.GroupID):
        raise TypeError(f"bbox must be a group, not {type(group).__name__}")
    fields = {}
    for field in FIELDS:
        values = _read_array(h5d.open(group, field.encode()))
        if values.dtype == object:
            values = [_read_array(h5r.dereference(value, file.id))[0] for value in values]
        fields[field] = [float(value) for value in values]
    return fields


def _digits_and_boxes(
    key: str, fields: dict[str, list[float]], digit_order: str
) -> tuple[tuple[int, ...], tuple[BoundingBox, ...]]:
    """Checks one picture's fields and returns its digits and boxes in reading order.

    Raises:
      RejectedError: The fields break a rule.
    """

    def check(good: bool, reason: str, rule: str, received: object) -> None:
        if not good:
            raise RejectedError("annotation", reason, f"{key}: {rule}", received)

    lengths = {field: len(values) for field, values in fields.items()}
    check(len(set(lengths.values())) == 1, "uneven_fields", "Every field must have a value for each digit.", lengths)
    rows = list(zip(*(fields[field] for field in FIELDS), strict=True))
    check(bool(rows), "no_digits", "A picture must have at least one digit.", 0)
    if digit_order == "left":
        rows.sort(key=lambda row: row[1])
    for label, *box in rows:
        check(label in range(11), "bad_label", "A label must be 0..10.", label)
        check(all(map(math.isfinite, box)), "bad_box", "A box must be finite.", box)
        check(max(map(abs, box)) < BOX_LIMIT, "bad_box", f"A box's numbers must be below {BOX_LIMIT:g}.", box)
        check(box[2] > 0 and box[3] > 0, "empty_box", "A box must have width and height above 0.", box)
    digits = tuple(int(label) % 10 for label, *_ in rows)
    boxes = tuple(BoundingBox(top, left, top + height, left + width) for _, left, top, width, height in rows)
    return digits, boxes
