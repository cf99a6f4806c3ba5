"""Annotations of a COCO file as columns: what each one says, and which of them can be read in bulk.

Most annotations of most files are plain: a box of four numbers and a known category. Their checks are NumPy's; only
the others cost Python a look at each.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from beam_jobs.sources.coco.document import Document, attribute
from beam_jobs.sources.marks import UNKNOWN_CLASS, Fault, is_other_class
from tfrecords.images.crop import BoundingBox

BOX_LIMIT = 1e9
"""Bound of a box's numbers, pixels."""
_GROUPS = ("group", "group_id")


@dataclass(frozen=True)
class Columns:
    """Annotations of a file, one row each.

    Attributes:
      texts: Character or number; empty with a fault.
      boxes: Box; None if it is faulty or there is none.
      groups: Group of the number that a character is in, or None.
      faults: What is wrong, by row.
      special: (rows,) bool: whether a row has a fault, a group or no box.
      edges: (4, rows) float64, ymin, xmin, ymax and xmax of the boxes; zeros without one.
    """

    texts: list[str]
    boxes: list[BoundingBox | None]
    groups: dict[int, Hashable]
    faults: dict[int, Fault]
    special: NDArray[np.bool_]
    edges: NDArray[np.float64]


def columns_of(document: Document) -> Columns:
    """Returns the annotations of a file as columns."""
    rows = document.annotations
    groups: dict[int, Hashable] = {}
    faults = {
        index: Fault("damaged", "An annotation must be an object.", str(row)) for index, row in document.damaged.items()
    }
    texts = _texts(document, faults)
    boxes, edges = _boxes(document, faults)
    crowds = document.column("iscrowd") if "iscrowd" in document.keys else []
    for index, crowd in enumerate(crowds if any(crowds) else ()):
        if crowd:
            faults.setdefault(index, Fault("crowd", "A box must be of one object, not of a crowd.", "iscrowd 1"))
    if document.keys & {"attributes", "rotation", *_GROUPS}:
        for index, row in enumerate(rows):
            _read_special(index, row, groups, faults)
    special = edges[2] <= edges[0]
    special[[*faults, *groups]] = True
    return Columns(texts, boxes, groups, faults, special, edges)


def _texts(document: Document, faults: dict[int, Fault]) -> list[str]:
    """Returns the rows' characters or numbers."""
    rows = document.annotations
    if document.text_name is not None:
        texts = [_text(attribute(row, document.text_name), index, faults) for index, row in enumerate(rows)]
        _mark_other_classes(document, texts, faults)
        return texts
    characters, ids = document.characters, document.column("category_id")
    try:
        found = list(map(characters.get, ids))
    except TypeError:  # a list or an object as an id
        found = [characters.get(each) if isinstance(each, int | str) else None for each in ids]
    if None not in found:
        return cast(list[str], found)
    for index, character in enumerate(found):
        if character is None:
            faults.setdefault(index, _unknown_class(document, ids[index]))
    return [character or "" for character in found]


def _unknown_class(document: Document, category: Any) -> Fault:
    name = document.classes.get(category) if isinstance(category, int | str) else None
    rule = "The category of an annotation must be a character that `categories` lists."
    if name is None:
        return Fault(UNKNOWN_CLASS, rule, f"category_id {category}")
    return Fault(UNKNOWN_CLASS, rule, f"category {name}", is_other_class(name))


def _mark_other_classes(document: Document, texts: list[str], faults: dict[int, Fault]) -> None:
    """Marks rows without a text as no numbers if no row of their category has one, as of a category `person`."""
    if not any(fault.reason == "no_text" for fault in faults.values()):
        return
    ids = [each if isinstance(each, int | str) else None for each in document.column("category_id")]
    with_text = {key for key, text in zip(ids, texts, strict=True) if text}
    for index, fault in list(faults.items()):
        key = ids[index]
        if fault.reason == "no_text" and key is not None and key not in with_text:
            faults[index] = fault._replace(no_number=is_other_class(document.classes.get(key, "")))


def _text(value: Any, index: int, faults: dict[int, Fault]) -> str:
    """Returns the number that an attribute holds; an integer is its digits, as they were written."""
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        rule = "The number must be a string: JSON's 12.50 is the same as 12.5."
        faults.setdefault(index, Fault("not_text", rule, value))
        return ""
    text = "" if value is None else str(value).strip()
    if not text:
        faults.setdefault(index, Fault("no_text", "An annotation must have the number as its text.", repr(value)))
    return text


def _boxes(document: Document, faults: dict[int, Fault]) -> tuple[list[BoundingBox | None], NDArray[np.float64]]:
    """Returns the rows' boxes, and their edges as in `Columns`."""
    rows = document.annotations
    values = _four_numbers(document.column("bbox"))
    boxes: list[BoundingBox | None]
    if values is None:
        boxes = [_box(document, row, index, faults) for index, row in enumerate(rows)]
        return boxes, np.array([box or (0, 0, 0, 0) for box in boxes], np.float64).reshape(-1, 4).T
    left, top, width, height = values
    edges = np.stack([top, left, top + height, left + width])
    # BoundingBox._make takes three times as long, to count what zip has counted.
    boxes = list(map(tuple.__new__, repeat(BoundingBox), zip(*edges.tolist(), strict=True)))
    good = (np.abs(values) < BOX_LIMIT).all(axis=0) & (width > 0) & (height > 0)
    for index in np.flatnonzero(~good).tolist():
        boxes[index] = _box(document, rows[index], index, faults)
        edges[:, index] = boxes[index] or 0
    return boxes, edges


def _four_numbers(stored: list[Any]) -> NDArray[np.float64] | None:
    """Returns boxes, (4, rows) float64; None if some are anything else than four numbers."""
    if not stored or set(map(type, stored)) != {list} or set(map(len, stored)) != {4}:
        return None
    numbers = list(chain.from_iterable(stored))
    if not set(map(type, numbers)) <= {int, float}:
        return None
    try:
        return np.array(numbers, np.float64).reshape(-1, 4).T
    except OverflowError:
        return None


def _box(document: Document, row: dict[str, Any], index: int, faults: dict[int, Fault]) -> BoundingBox | None:
    """Returns the box of a row: its `bbox`, or what its polygons span; None with a fault, or for a text without one."""
    stored = row.get("bbox")
    if stored in (None, []):
        stored = _span(row.get("segmentation"))
        if stored is None:
            # The text of the complete picture, if it is alone there.
            if document.text_name is None or row.get("segmentation"):
                rule = "An annotation must have a bbox, or polygons as its segmentation."
                faults.setdefault(index, Fault("no_box", rule, "none"))
            return None
    if not isinstance(stored, list) or len(stored) != 4 or not all(map(_is_number, stored)):
        rule = f"A bbox must be four finite numbers below {BOX_LIMIT:g}: left, top, width and height."
        faults.setdefault(index, Fault("bad_box", rule, stored))
        return None
    left, top, width, height = map(float, stored)
    if width <= 0 or height <= 0:
        faults.setdefault(index, Fault("empty_box", "A bbox must have width and height above 0.", stored))
        return None
    return BoundingBox(top, left, top + height, left + width)


def _span(segmentation: Any) -> list[float] | None:
    """Returns left, top, width and height of what polygons span; None if it is none of polygons."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    if not all(isinstance(each, list) and len(each) >= 6 and len(each) % 2 == 0 for each in segmentation):
        return None
    flat = [list(map(float, each)) for each in segmentation if all(map(_is_number, each))]
    if len(flat) < len(segmentation):
        return None
    x, y = [each for polygon in flat for each in polygon[::2]], [each for polygon in flat for each in polygon[1::2]]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < BOX_LIMIT


def _read_special(index: int, row: dict[str, Any], groups: dict[int, Hashable], faults: dict[int, Fault]) -> None:
    """Reads the group and the rotation of an annotation. CVAT and Datumaro write 0 for no group and no rotation."""
    rotation = attribute(row, "rotation")
    if type(rotation) in (int, float) and rotation % 360 != 0:
        rule = "A box must be upright: a bbox does not say where a rotated one is."
        faults.setdefault(index, Fault("rotated_box", rule, f"rotation {rotation}"))
    group = next((each for name in _GROUPS if (each := attribute(row, name)) not in (None, "", 0, "0")), None)
    if isinstance(group, str | int | float):
        groups[index] = group
