"""The numbers of a table's rows: which picture, which text, where, and what is wrong with a row.

A row is a number in a picture. Several rows of one picture are its numbers, and need a box each. Without boxes, the
same text again is a duplicate, and another text means that none of them can be believed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import NO_ANNOTATION, Annotation, RejectedError
from beam_jobs.sources.table.boxes import MAKE_BOX, make_boxes
from beam_jobs.sources.table.columns import MOST_SHOWN, Fault, Rows, shown
from beam_jobs.sources.table.delimited import is_text
from tfrecords.errors import printable
from tfrecords.images.crop import BoundingBox

SCHEMES = ("http", "https", "s3", "gs", "gcs", "hdfs", "abfs", "az")
"""Schemes of the addresses that a picture may have. Others of fsspec read this machine, or wrap each other."""
_PLAIN = re.compile(r"[\w -]+(?:[./][\w -]+)*")
"""Most names: nothing in them needs a change or a second look."""
_UNUSUAL = ("\\", ":", "//", "/.", "\n.", "\n/", "\n ", " \n", "\n\n")
"""What one of many names, with a line break around each, may have that needs a second look."""
_ADDRESS = re.compile(r"(\w+)://[^/]")
_DRIVE = re.compile(r"[A-Za-z]:/")
_UNNAMED: Fault = (NO_ANNOTATION, "no row names the picture.", None)


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


@dataclass(frozen=True)
class Entries:
    """Entries of a subset, column by column: an object for each of 200,000 rows costs more time than parsing them.

    Attributes:
      names: Name of the picture of each row; what is wrong with it, for some special ones.
      texts: Number of each row.
      boxes: Box of each row: (rows, 4) float64, or a list; None without boxes.
      special: Entries of rejected rows and of pictures with several rows, by index.
      unnamed: Names of pictures that no row names; they follow the rows.
    """

    names: "Sequence[str | Fault]"
    texts: Sequence[str]
    boxes: "NDArray[np.float64] | list[BoundingBox | Fault | None] | None"
    special: dict[int, Number]
    unnamed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names) + len(self.unnamed)

    def box(self, index: int) -> "BoundingBox | Fault | None":
        """Returns the box of a row, or what is wrong with it."""
        if self.boxes is None or isinstance(self.boxes, list):
            return self.boxes[index] if self.boxes else None
        return BoundingBox(*self.boxes[index].tolist())

    def annotate(self, subset: str, start: int, stop: int) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries."""
        names, texts, special = self.names[start:stop], self.texts[start:stop], self.special
        boxes: Iterable[Any] = repeat(None)
        if self.boxes is not None:
            part = self.boxes[start:stop]
            boxes = part if isinstance(part, list) else map(MAKE_BOX, part.tolist())
        # Rows and boxes are as many; repeat is endless.
        for index, (name, text, box) in enumerate(zip(names, texts, boxes, strict=False), start):
            if index in special:
                yield special[index].annotate(subset, index)
            else:
                yield Annotation(subset, name, index, text, (), None, box)  # type: ignore[arg-type]
        for index in range(max(start, len(self.names)), min(stop, len(self))):
            missing = Number(self.unnamed[index - len(self.names)], fault=_UNNAMED)
            yield missing.annotate(subset, index)


def make_entries(rows: Rows) -> Entries:
    """Returns one entry for each row of a subset, in their order."""
    pictures, given, *boxes = rows.values[: 2 + len(rows.columns.boxes)]
    plain = _are_plain(pictures)
    names = pictures if plain else [clean_name(value) for value in pictures]
    texts, irregular = _strip(given)
    placed = make_boxes(boxes, rows.columns.box_format)
    if not plain:
        irregular.update(index for index, name in enumerate(names) if name.__class__ is not str)
    if isinstance(placed, list):
        irregular.update(index for index, box in enumerate(placed) if box.__class__ is tuple)
    entries = Entries(names, texts, placed, {})
    special = entries.special
    for index in sorted(irregular):
        special[index] = _checked(names[index], given[index], entries.box(index))
    special.update((index, Number("", fault=fault)) for index, fault in rows.faults.items())
    if len(set(names)) < len(names):
        for several in _repeated(names, special):
            _join(entries, several)
    # Each message begins with the place in the file, which a name that occurs twice does not give.
    for index, number in special.items():
        if number.fault:
            reason, rule, received = number.fault
            place = f"{rows.unit} {rows.lines[index]}: {rule}"
            special[index] = number._replace(fault=(reason, place, received))
    return entries


def _strip(texts: Sequence[Any]) -> tuple[list[str], set[int]]:
    """Returns numbers without white space around them, and the indices of those that are none."""
    try:
        stripped = [text.strip() for text in texts]
        if all(stripped) and is_text("".join(stripped)):
            return stripped, set()
    except (AttributeError, TypeError):
        pass
    stripped = [text.strip() if isinstance(text, str) else "" for text in texts]
    return stripped, {index for index, text in enumerate(stripped) if not text or not is_text(text)}


def _are_plain(names: Sequence[Any]) -> bool:
    """Returns whether all names stay as they are: one look at all of them, instead of one at each."""
    try:
        joined = "\n".join(names)
    except TypeError:
        return False
    if joined.count("\n") != len(names) - 1 or not joined.replace("\n", "").isprintable():
        return False
    joined = f"\n{joined}\n"
    return not any(unusual in joined for unusual in _UNUSUAL)


def clean_name(value: Any) -> "str | Fault":
    """Returns the name of the picture that a cell names: a relative path with `/`, or an address; or what is wrong."""
    if value.__class__ is not str:
        if value is None:
            return "no_picture", "a row must name its picture.", None
        return "bad_path", "the path of a picture must be text.", shown(value)
    name: str = value.strip()
    if _PLAIN.fullmatch(name):
        return name
    if not name:
        return "no_picture", "a row must name its picture.", shown(value)
    if not is_text(name):
        return "not_utf8", "the path of a picture must be UTF-8.", shown(name)
    if any(character < " " or character == "\x7f" for character in name):
        return "bad_path", "the path of a picture must have no control characters.", shown(name)
    if "://" in name:
        return _clean_address(name)
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts or not parts:
        rule = "the path of a picture must be relative to the table's folder or --media-root, and stay inside."
        return "bad_path", rule, shown(value)
    return "/".join(parts)


def _clean_address(name: str) -> "str | Fault":
    """Returns an address as it is; or what is wrong with it."""
    found = _ADDRESS.match(name)
    if not found or found[1].lower() not in SCHEMES or "::" in name:
        return "bad_path", f"the address of a picture must be one of {', '.join(SCHEMES)}.", shown(name)
    return name


def _checked(name: "str | Fault", text: Any, box: "BoundingBox | Fault | None") -> Number:
    """Returns the entry of a row that is not quite usual."""
    if isinstance(name, tuple):
        return Number("", fault=name)
    if text is None or (isinstance(text, str) and not text.strip()):
        return Number(name, box=_box_only(box), fault=("no_text", "a row must hold a number.", shown(text)))
    if not isinstance(text, str):
        fault = ("bad_text", "the number of a row must be text, or a number.", shown(text))
        return Number(name, box=_box_only(box), fault=fault)
    if not is_text(text):
        return Number(name, box=_box_only(box), fault=("not_utf8", "the number of a row must be UTF-8.", shown(text)))
    if box is not None and not isinstance(box, BoundingBox):
        return Number(name, fault=box)
    return Number(name, text.strip(), box)


def _box_only(box: "BoundingBox | Fault | None") -> BoundingBox | None:
    return box if isinstance(box, BoundingBox) else None


def _repeated(names: "Sequence[str | Fault]", special: dict[int, Number]) -> list[list[int]]:
    """Returns the indices of the rows of each picture that has several."""
    first: dict[str, int] = {}
    several: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if not isinstance(name, str) or (index in special and not special[index].name):
            continue
        if (earlier := first.setdefault(name, index)) != index:
            several.setdefault(name, [earlier]).append(index)
    return list(several.values())


def _join(entries: Entries, rows: list[int]) -> None:
    """Makes the rows of one picture its numbers: special entries with parts, others' boxes, and what cannot be."""
    numbers = {}
    for index in rows:
        usual = (str(entries.names[index]), entries.texts[index], _box_only(entries.box(index)))
        numbers[index] = entries.special.get(index) or Number(*usual)
    _reject_repeated(numbers)
    distinct = [index for index in rows if not _is_duplicate(numbers[index])]
    repeated = [index for index in rows if _is_duplicate(numbers[index])]
    boxed = [(index, box) for index in distinct if (box := numbers[index].box)]
    for part, index in enumerate([*distinct, *repeated], 1):
        others = tuple(box for other, box in boxed if other != index)
        only = len(distinct) == 1 and part == 1
        fault = numbers[index].fault
        entries.special[index] = numbers[index]._replace(part=0 if only else part, others=() if fault else others)


def _is_duplicate(number: Number) -> bool:
    return number.fault is not None and number.fault[0] == "duplicate"


def _reject_repeated(numbers: dict[int, Number]) -> None:
    """Rejects the rows of one picture that say the same again, or contradict each other."""
    texts: dict[BoundingBox | None, set[str]] = {}
    good = {index: number for index, number in numbers.items() if number.fault is None}
    for number in good.values():
        texts.setdefault(number.box, set()).add(number.text)
    seen: set[BoundingBox | None] = set()
    for index, number in good.items():
        found = texts[number.box]
        if len(found) > 1:
            where = "in the same box" if number.box else "and no box"
            rule = f"the picture has several numbers {where}."
            fault: Fault = ("conflicting", rule, ", ".join(map(repr, sorted(found)))[:MOST_SHOWN])
        elif number.box is None and len(texts) > 1:
            fault = ("conflicting", "a number without a box is in a picture with boxes.", shown(number.text))
        elif number.box in seen:
            fault = ("duplicate", "the picture has this number already.", shown(number.text))
        else:
            seen.add(number.box)
            continue
        numbers[index] = number._replace(fault=fault)
