"""The numbers of a table's rows: which picture, which text, where, and what is wrong with a row.

A row is a number in a picture. Several rows of one picture are its numbers, and need a box each. Without boxes, the
same text again is a duplicate, and another text means that none of them can be believed.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.sources.table.columns import Fault, Rows
from beam_jobs.sources.table.delimited import is_text
from tfrecords.errors import printable
from tfrecords.images.crop import BoundingBox

SCHEMES = ("http", "https", "s3", "gs", "gcs", "hdfs", "abfs", "az")
"""Schemes of the addresses that a picture may have. Others of fsspec read this machine, or wrap each other."""
_PLAIN = re.compile(r"[\w -]+(?:[./][\w -]+)*")
"""Most names: nothing in them needs a change or a second look."""
_ADDRESS = re.compile(r"(\w+)://[^/]")
_DRIVE = re.compile(r"[A-Za-z]:/")
_BETWEEN_NUMBERS = re.compile(r"[\s,;]+")
_MOST_SHOWN = 80


class Number(NamedTuple):
    """One entry of a subset: a number, or why it is none.

    Attributes:
      name: Name of the picture; empty if it is not known.
      text: Number.
      box: Box of the number, or None.
      part: Position of the number among those of its picture, from 1; 0 if it is the only one.
      others: Boxes of the picture's other numbers.
      fault: Reason for its rejection, or None.
    """

    name: str
    text: str = ""
    box: BoundingBox | None = None
    part: int = 0
    others: tuple[BoundingBox, ...] = ()
    fault: Fault | None = None

    def annotate(self, subset: str, index: int) -> Annotation:
        """Returns the annotation of this entry, at `index` in its subset."""
        if self.fault is None:
            return Annotation(subset, self.name, index, self.text, (), None, self.box, self.part, self.others)
        name = self.name or f"#{index + 1}"
        reason, rule, received = self.fault
        letter = RejectedError("annotation", reason, f"{subset}/{printable(name)}: {rule}", received).letter
        return Annotation(subset, name, index, "", dead=letter, part=self.part)


def make_numbers(rows: Rows) -> list[Number]:
    """Returns one entry for each row of a subset, in their order."""
    pictures, texts, *boxes = rows.values[: 2 + len(rows.columns.boxes)]
    names = [clean_name(value) for value in pictures]
    placed = _boxes(boxes, rows.columns.box_format, len(names))
    numbers = [
        Number(name, stripped, box)
        if name.__class__ is str
        and box.__class__ is not tuple
        and text.__class__ is str
        and (stripped := text.strip())
        and stripped.isascii()
        else _checked(name, text, box)
        for name, text, box in zip(names, texts, placed, strict=True)
    ]
    for index, fault in rows.faults.items():
        numbers[index] = Number("", fault=fault)
    for several in _repeated(numbers):
        _join(numbers, several)
    # Each message begins with the place in the file, which a name that occurs twice does not give.
    for index, number in enumerate(numbers):
        if number.fault:
            reason, rule, received = number.fault
            place = f"{rows.unit} {rows.lines[index]}: {rule}"
            numbers[index] = number._replace(fault=(reason, place, received))
    return numbers


def _shown(value: Any) -> str:
    """Returns a value for a message: as Python writes it, and not all of a long one."""
    return repr(value)[:_MOST_SHOWN]


def clean_name(value: Any) -> "str | Fault":
    """Returns the name of the picture that a cell names: a relative path with `/`, or an address; or what is wrong."""
    if value.__class__ is not str:
        if value is None:
            return "no_picture", "a row must name its picture.", None
        return "bad_path", "the path of a picture must be text.", _shown(value)
    name: str = value.strip()
    if _PLAIN.fullmatch(name):
        return name
    if not name:
        return "no_picture", "a row must name its picture.", _shown(value)
    if not is_text(name):
        return "not_utf8", "the path of a picture must be UTF-8.", _shown(name)
    if any(character < " " or character == "\x7f" for character in name):
        return "bad_path", "the path of a picture must have no control characters.", _shown(name)
    if "://" in name:
        return _clean_address(name)
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts or not parts:
        rule = "the path of a picture must be relative to the table's folder or --media-root, and stay inside."
        return "bad_path", rule, _shown(value)
    return "/".join(parts)


def _clean_address(name: str) -> "str | Fault":
    """Returns an address as it is; or what is wrong with it."""
    found = _ADDRESS.match(name)
    if not found or found[1].lower() not in SCHEMES or "::" in name:
        return "bad_path", f"the address of a picture must be one of {', '.join(SCHEMES)}.", _shown(name)
    return name


def _checked(name: "str | Fault", text: Any, box: "BoundingBox | Fault | None") -> Number:
    """Returns the entry of a row that is not quite usual."""
    if isinstance(name, tuple):
        return Number("", fault=name)
    if text is None or (isinstance(text, str) and not text.strip()):
        return Number(name, box=_box_only(box), fault=("no_text", "a row must hold a number.", _shown(text)))
    if not isinstance(text, str):
        fault = ("bad_text", "the number of a row must be text, or a number.", _shown(text))
        return Number(name, box=_box_only(box), fault=fault)
    if not is_text(text):
        return Number(name, box=_box_only(box), fault=("not_utf8", "the number of a row must be UTF-8.", _shown(text)))
    if box is not None and not isinstance(box, BoundingBox):
        return Number(name, fault=box)
    return Number(name, text.strip(), box)


def _box_only(box: "BoundingBox | Fault | None") -> BoundingBox | None:
    return box if isinstance(box, BoundingBox) else None


def _boxes(
    columns: Sequence[Sequence[Any]], box_format: str | None, count: int
) -> "Iterator[BoundingBox | Fault | None]":
    """Yields the box of each of `count` rows, what is wrong with it, or None where its cells are empty."""
    if not columns:
        yield from repeat(None, count)
        return
    for cells in zip(*columns, strict=True):
        yield make_box(_numbers_of(cells[0]) if len(cells) == 1 else cells, box_format)


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
        return "bad_box", "a box must be four numbers.", _shown(list(cells))
    xmin, ymin = first, second
    xmax, ymax = (first + third, second + fourth) if box_format == "ltwh" else (third, fourth)
    if not math.isfinite(xmin + ymin + xmax + ymax):
        return "bad_box", "a box must be four finite numbers.", _shown(list(cells))
    if not (xmin < xmax and ymin < ymax):
        rule = f"a box ({box_format}) must have a width and a height above 0."
        return "empty_box", rule, _shown(list(cells))
    if min(xmin, ymin) >= 0 and max(xmax, ymax) <= 1:
        return "relative_box", "a box must be in pixels, not in fractions of the picture.", _shown(list(cells))
    return BoundingBox(ymin, xmin, ymax, xmax)


def _repeated(numbers: list[Number]) -> list[list[int]]:
    """Returns the indices of the rows of each picture that has several."""
    first: dict[str, int] = {}
    several: dict[str, list[int]] = {}
    for index, number in enumerate(numbers):
        if number.name and (earlier := first.setdefault(number.name, index)) != index:
            several.setdefault(number.name, [earlier]).append(index)
    return list(several.values())


def _join(numbers: list[Number], rows: list[int]) -> None:
    """Makes the rows of one picture its numbers, in place: parts, others' boxes, and what cannot be."""
    _reject_repeated(numbers, rows)
    distinct = [index for index in rows if not _is(numbers[index], "duplicate")]
    repeated = [index for index in rows if _is(numbers[index], "duplicate")]
    boxed = [(index, box) for index in distinct if (box := numbers[index].box)]
    for part, index in enumerate([*distinct, *repeated], 1):
        others = tuple(box for other, box in boxed if other != index)
        only = len(distinct) == 1 and part == 1
        fault = numbers[index].fault
        numbers[index] = numbers[index]._replace(part=0 if only else part, others=() if fault else others)


def _is(number: Number, reason: str) -> bool:
    return number.fault is not None and number.fault[0] == reason


def _reject_repeated(numbers: list[Number], rows: list[int]) -> None:
    """Rejects the rows of one picture that say the same again, or contradict each other."""
    texts: dict[BoundingBox | None, set[str]] = {}
    good = [index for index in rows if numbers[index].fault is None]
    for index in good:
        texts.setdefault(numbers[index].box, set()).add(numbers[index].text)
    seen: set[BoundingBox | None] = set()
    for index in good:
        number = numbers[index]
        found = texts[number.box]
        if len(found) > 1:
            where = "in the same box" if number.box else "and no box"
            rule = f"the picture has several numbers {where}."
            fault: Fault = ("conflicting", rule, ", ".join(map(repr, sorted(found)))[:_MOST_SHOWN])
        elif number.box is None and len(texts) > 1:
            fault = ("conflicting", "a number without a box is in a picture with boxes.", _shown(number.text))
        elif number.box in seen:
            fault = ("duplicate", "the picture has this number already.", _shown(number.text))
        else:
            seen.add(number.box)
            continue
        numbers[index] = number._replace(fault=fault)
