"""The boxes of a table's rows: four columns of numbers, or one that holds all four."""

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_jobs.sources.table.columns import Fault, shown
from tfrecords.images.crop import BoundingBox

MAKE_BOX = partial(tuple.__new__, BoundingBox)
"""`BoundingBox(*edges)` without its layer of Python, which takes three times as long."""
_BETWEEN_NUMBERS = re.compile(r"[\s,;]+")


def make_boxes(
    columns: Sequence[Sequence[Any]], box_format: str | None
) -> "NDArray[np.float64] | list[BoundingBox | Fault | None] | None":
    """Returns the box of each row: None if there are none, an array if all are good, else a list with what is wrong."""
    if not columns:
        return None
    if len(columns) == 1:
        return [make_box(_numbers_of(cell), box_format) for cell in columns[0]]
    usual = _usual_boxes(columns, box_format)
    return [make_box(cells, box_format) for cells in zip(*columns, strict=True)] if usual is None else usual


def _usual_boxes(columns: Sequence[Sequence[Any]], box_format: str | None) -> "NDArray[np.float64] | None":
    """Returns the boxes of rows that all have a good one, column by column; None if a row has not."""
    try:
        xmin, ymin, third, fourth = (np.fromiter(map(float, column), np.float64, len(column)) for column in columns)
    except (TypeError, ValueError):
        return None
    xmax, ymax = (xmin + third, ymin + fourth) if box_format == "ltwh" else (third, fourth)
    edges = np.stack((ymin, xmin, ymax, xmax), 1)
    good = np.isfinite(edges).all(1) & (xmin < xmax) & (ymin < ymax) & ((edges < 0) | (edges > 1)).any(1)
    return edges if good.all() else None


def _numbers_of(cell: Any) -> Sequence[Any]:
    """Returns the numbers that one cell holds: a list, or text as `[1, 2, 3, 4]` or `1 2 3 4`."""
    if isinstance(cell, str):
        inner = cell.strip().strip("[](){} \t")
        return _BETWEEN_NUMBERS.split(inner) if inner else ()
    return () if cell is None else cell if isinstance(cell, list) else (cell,)


def make_box(cells: Sequence[Any], box_format: str | None) -> "BoundingBox | Fault | None":
    """Returns the box of four cells, what is wrong with it, or None if all of them are empty."""
    try:
        first, second, third, fourth = map(float, cells)
    except (TypeError, ValueError):
        if all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells):
            return None
        return "bad_box", "a box must be four numbers.", shown(list(cells))
    xmin, ymin = first, second
    xmax, ymax = (first + third, second + fourth) if box_format == "ltwh" else (third, fourth)
    if not math.isfinite(xmin + ymin + xmax + ymax):
        return "bad_box", "a box must be four finite numbers.", shown(list(cells))
    if not (xmin < xmax and ymin < ymax):
        rule = f"a box ({box_format}) must have a width and a height above 0."
        return "empty_box", rule, shown(list(cells))
    if min(xmin, ymin) >= 0 and max(xmax, ymax) <= 1:
        return "relative_box", "a box must be in pixels, not in fractions of the picture.", shown(list(cells))
    return BoundingBox(ymin, xmin, ymax, xmax)
