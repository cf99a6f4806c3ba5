"""SVHN Format 1: digitStruct.mat, as MATLAB 7.3 saves it, to Annotations.

The file is HDF5. `/digitStruct/name` and `/digitStruct/bbox` are columns of object
references: a name is an array of UTF-16 codes, a bbox a group of the fields height,
left, top, width and label, each one number, or, where the picture has several
digits, a column of references to one number each. Label 10 stands for the digit 0
(http://ufldl.stanford.edu/housenumbers/).
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5r, h5s

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from tfrecords.boxes import BoundingBox
from tfrecords.errors import UserError
from tfrecords.schema import MAX_LENGTH

FILE_NAME = "digitStruct.mat"
FIELDS = ("label", "left", "top", "width", "height")
DIGIT_ORDERS = ("left", "stored")
"""`left`: by the boxes' left edges, ties as stored; `stored`: as the file has them. They differ in 5 pictures
of SVHN's train (262, 10855, 16278, 18702, 19970) and 3 of test (7314, 10036, 12100), stored out of order."""
_LIMIT = 1e9


def count_entries(path: Path) -> int:
    """Returns how many pictures a digitStruct.mat names.

    Raises:
      UserError: there is no such file, or it is not a digitStruct.mat.
    """
    with _open(path) as file:
        return len(file["digitStruct/name"])


def read_annotations(path: Path, subset: str, start: int, stop: int, digit_order: str = "left") -> Iterator[Annotation]:
    """Yields the pictures of the entries `start` to below `stop`; a bad one as a rejected Annotation.

    Args:
      path: of the digitStruct.mat.
      subset: what its pictures belong to.
      start: first entry, from 0.
      stop: entry behind the last.
      digit_order: one of `DIGIT_ORDERS`.

    Raises:
      UserError: the file as a whole cannot be read.
    """
    with _open(path) as file:
        columns = [file[f"digitStruct/{column}"][start:stop].ravel() for column in ("name", "bbox")]
        for index, (name_ref, bbox_ref) in enumerate(zip(*columns, strict=True), start):
            name = f"#{index + 1}"
            try:
                name = _read_name(file, name_ref)
                digits, boxes = _digits_and_boxes(name, _read_fields(file, bbox_ref), digit_order)
            except RejectedError as error:
                yield Annotation(subset, name, index, (), (), error.letter)
            except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
                # h5py's errors for damage inside one entry; the others are still good.
                letter = RejectedError(
                    "annotation", "unreadable_entry", f"{FILE_NAME}: entry {index + 1} cannot be read.", error
                ).letter
                yield Annotation(subset, name, index, (), (), letter)
            else:
                yield Annotation(subset, name, index, digits, boxes, _too_long(name, digits))


def _too_long(name: str, digits: tuple[int, ...]) -> DeadLetter | None:
    if len(digits) <= MAX_LENGTH:
        return None
    rule = f"{name}: A number must have at most {MAX_LENGTH} digits."
    return RejectedError("annotation", "too_long", rule, len(digits)).letter


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise UserError(f"{path} must be SVHN's {FILE_NAME}: there is no such file.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} must be an HDF5 file (MATLAB v7.3).", error) from error
    columns = [file.get(f"digitStruct/{column}") for column in ("name", "bbox")]
    if (
        not all(isinstance(c, h5py.Dataset) and h5py.check_ref_dtype(c.dtype) for c in columns)
        or len({c.size for c in columns}) != 1
    ):
        received = [repr(column) for column in columns]
        file.close()
        raise UserError(f"{path} must hold digitStruct/name and digitStruct/bbox, equally long references.", received)
    return file


def _read_array(dataset: h5d.DatasetID) -> Any:
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, values)
    return values.ravel()


def _read_name(file: h5py.File, reference: h5py.Reference) -> str:
    codes = _read_array(h5r.dereference(reference, file.id))
    name = "".join(map(chr, codes.tolist()))
    # The name comes from outside: it must not lead out of the subset's folder, on any system.
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    if not plain or name in ("", ".", "..") or "\0" in name:
        raise RejectedError("annotation", "bad_name", "A picture's name must be a plain file name.", repr(name))
    return name


def _read_fields(file: h5py.File, reference: h5py.Reference) -> dict[str, list[float]]:
    """Reads the five fields through h5py's low-level calls, some ten times as fast as its objects."""
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
    name: str, fields: dict[str, list[float]], digit_order: str
) -> tuple[tuple[int, ...], tuple[BoundingBox, ...]]:
    """Checks one picture's fields and returns its digits and boxes in reading order.

    Raises:
      RejectedError: a rule is broken.
    """

    def check(good: bool, reason: str, rule: str, received: object) -> None:
        if not good:
            raise RejectedError("annotation", reason, f"{name}: {rule}", received)

    lengths = {field: len(values) for field, values in fields.items()}
    check(len(set(lengths.values())) == 1, "uneven_fields", "Every field must have a value for each digit.", lengths)
    rows = list(zip(*(fields[field] for field in FIELDS), strict=True))
    check(bool(rows), "no_digits", "A picture must have at least one digit.", 0)
    if digit_order == "left":
        rows.sort(key=lambda row: row[1])
    for label, *box in rows:
        check(label in range(11), "bad_label", "A label must be 0..10.", label)
        check(all(map(math.isfinite, box)), "bad_box", "A box must be finite.", box)
        check(max(map(abs, box)) < _LIMIT, "bad_box", f"A box's numbers must be below {_LIMIT:g}.", box)
        check(box[2] > 0 and box[3] > 0, "empty_box", "A box must have width and height above 0.", box)
    digits = tuple(int(label) % 10 for label, *_ in rows)
    boxes = tuple(BoundingBox(top, left, top + height, left + width) for _, left, top, width, height in rows)
    return digits, boxes
