"""Reads one entry of digitStruct.mat through HDF5's library: in any layout, with a message for every broken rule.

The messages become the details of dead letters, so a change of their words changes the bytes of datasets.
"""

import math
from collections.abc import Sequence
from typing import Any

import h5py
from h5py import h5d, h5g, h5r

from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.sources.svhn import FILE_NAME
from beam_jobs.sources.svhn.matlab import (
    NUMBER_CLASSES,
    class_of,
    is_empty,
    is_references,
    list_names,
    open_member,
    read_array,
    wrong_class,
)
from beam_jobs.sources.svhn.name import read_name
from tfrecords.images.crop import BoundingBox

FIELDS = ("label", "left", "top", "width", "height")
BOX_LIMIT = 1e9
_INTEGER_CLASSES = (None, *NUMBER_CLASSES)
HDF5_ERRORS = (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError, OverflowError)
"""Errors that h5py and NumPy raise for damaged files."""


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
        name = read_name(file, references[0], where)
        where = f"{subset}/{name}"
        text, boxes = _text_and_boxes(where, _read_fields(file, references[1], where), digit_order)
        return Annotation(subset, name, index, text, boxes)
    except RejectedError as error:
        letter = error.letter
    except HDF5_ERRORS as error:
        # Damage inside one entry; the other entries are still good.
        letter = RejectedError("annotation", "unreadable_entry", f"{where}: The entry must be whole.", error).letter
    return Annotation(subset, name, index, "", (), letter)


def _read_fields(file: h5py.File, reference: h5py.Reference, where: str) -> dict[str, list[float]]:
    """Returns the five fields of a bbox, through h5py's low-level calls, ten times as fast as its objects.

    Raises:
      RejectedError: The bbox is no struct of these fields, or a digit has no value or several values of a field.
    """
    group = h5r.dereference(reference, file.id)
    if isinstance(group, h5d.DatasetID) and is_empty(group):
        return {field: [] for field in FIELDS}
    if not isinstance(group, h5g.GroupID):
        raise wrong_class(group, where, "a bbox", "struct")
    try:
        stored = [open_member(group, field.encode()) for field in FIELDS]
    except (KeyError, RuntimeError):
        if all(field.encode() in group for field in FIELDS):
            raise
        rule = f"{where}: A bbox must have the fields {', '.join(FIELDS)}."
        present = (name.decode("utf-8", "surrogateescape") for name in group)
        raise RejectedError("annotation", "wrong_fields", rule, list_names(present) or "none") from None
    return {field: _read_field(file, item, where, field) for field, item in zip(FIELDS, stored, strict=True)}


def _read_field(file: h5py.File, stored: Any, where: str, field: str) -> list[float]:
    """Returns a field's values, one per digit: those stored, or those that the stored references lead to."""
    if not is_references(stored):
        return _read_numbers(stored, where, field)
    values = []
    for digit, reference in enumerate(read_array(stored), 1):
        found = _read_numbers(h5r.dereference(reference, file.id), where, field)
        if not found:
            rule = f"{where}: Every field must have a value for each digit."
            raise RejectedError("annotation", "no_value", rule, f"no {field} of digit {digit}")
        if len(found) > 1:
            rule = f"{where}: Every field must have one value for each digit."
            raise RejectedError("annotation", "uneven_fields", rule, f"{len(found)} values as {field} of digit {digit}")
        values += found
    return values


def _read_numbers(stored: Any, where: str, field: str) -> list[float]:
    """Returns the numbers of a low-level dataset."""
    values = read_array(stored)
    # MATLAB stores double and single as floating point numbers, and no other class.
    is_number = values.dtype.kind == "f" or (values.dtype.kind in "iub" and class_of(stored) in _INTEGER_CLASSES)
    if len(values) and not is_number:
        raise wrong_class(stored, where, f"a {field}", "numeric")
    return [float(value) for value in values]


def _text_and_boxes(key: str, fields: dict[str, list[float]], digit_order: str) -> tuple[str, tuple[BoundingBox, ...]]:
    """Checks one picture's fields and returns its number and the digits' boxes in reading order.

    Raises:
      RejectedError: The fields break a rule.
    """

    def check(good: bool, reason: str, rule: str, received: object) -> None:
        if not good:
            raise RejectedError("annotation", reason, f"{key}: {rule}", received)

    lengths = {field: len(values) for field, values in fields.items()}
    reason = "uneven_fields" if all(lengths.values()) else "no_value"
    check(len(set(lengths.values())) == 1, reason, "Every field must have a value for each digit.", lengths)
    rows = list(zip(*(fields[field] for field in FIELDS), strict=True))
    check(bool(rows), "no_digits", "A picture must have at least one digit.", 0)
    if digit_order == "left":
        rows.sort(key=lambda row: row[1])
    for label, *box in rows:
        check(label in range(11), "bad_label", "A label must be 0..10.", label)
        check(all(map(math.isfinite, box)), "bad_box", "A box must be finite.", box)
        check(max(map(abs, box)) < BOX_LIMIT, "bad_box", f"A box's numbers must be below {BOX_LIMIT:g}.", box)
        check(box[2] > 0 and box[3] > 0, "empty_box", "A box must have width and height above 0.", box)
    text = "".join(str(int(label) % 10) for label, *_ in rows)
    boxes = tuple(BoundingBox(top, left, top + height, left + width) for _, left, top, width, height in rows)
    return text, boxes
