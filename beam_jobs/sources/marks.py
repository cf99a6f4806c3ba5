"""Boxes that somebody drew in a picture, to the numbers that they mean.

A box is a character, if its class is one, or a complete number, if a text belongs to it. Characters become numbers by
the group that the tool gave them, and by geometry (`sources.grouping`) where there is none.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from beam_jobs.annotation import NO_ANNOTATION, OTHER_CLASS, Annotation, RejectedError
from beam_jobs.sources.grouping import character_of, group_numbers, in_reading_order
from tfrecords.errors import UserError, printable
from tfrecords.images.crop import BoundingBox, union

BOX_LIMIT = 1e9
"""Coordinates at or beyond this are damage: float64 still has a thousandth of a pixel here."""
TEXT_NAMES = ("text", "transcription", "ocr", "number", "value", "plate", "plate_text", "plate_number", "reading")
"""Names, in lower case, of the attributes that hold a number unless another is given."""
UNKNOWN_CLASS = "unknown_class"
"""Reason of a box whose class is no character."""
_MAY_BE_NUMBERS = (
    *TEXT_NAMES,
    *("digit", "char", "letter", "word", "label", "sign", "meter", "display", "jersey", "bib", "figure", "amount"),
    *("illegible", "legible", "unread", "readable", "unknown", "ignore", "care", "blur", "difficult"),
)
"""Parts, in lower case, of names of classes that may be numbers which nobody has read: these are no background."""
_MOST_RECEIVED = 200
"""Longest value that a message quotes, characters."""


class Fault(NamedTuple):
    """Why a box cannot be used.

    Attributes:
      reason: One word to count by.
      rule: Sentence that says what is allowed, without the picture's name.
      received: Offending value.
      no_number: Whether the source says that there is no number; see `DeadLetter`.
    """

    reason: str
    rule: str
    received: object = None
    no_number: bool = False

    def error(self, where: str) -> RejectedError:
        """Returns the error of the picture, `subset/name`, that has the box."""
        received = None if self.received is None else printable(str(self.received)[:_MOST_RECEIVED])
        rule = f"{where}: {self.rule}"
        return RejectedError("annotation", self.reason, rule, received, no_number=self.no_number)


class Mark(NamedTuple):
    """One box as drawn.

    Attributes:
      label: Class of the box, or the character that it is; empty if it has none.
      text: Number that an attribute of the box holds; empty if there is none.
      box: Box, in pixels or relative; None for the complete picture, or if it cannot be read.
      group: Number that a character belongs to, as annotated; empty or None if that is not said.
      fault: Why the box cannot be used, or None.
    """

    label: str
    text: str
    box: BoundingBox | None
    group: Hashable = ""
    fault: Fault | None = None


class _Number(NamedTuple):
    """A number of a picture; `around` is its box whether it is known by characters or not."""

    position: int
    text: str = ""
    boxes: tuple[BoundingBox, ...] = ()
    box: BoundingBox | None = None
    around: BoundingBox | None = None
    fault: Fault | None = None


def make_box(xmin: object, ymin: object, xmax: object, ymax: object) -> tuple[BoundingBox | None, Fault | None]:
    """Returns the box of four edges, or why it is none.

    Args:
      xmin: Left edge, pixels: a number, or its text.
      ymin: Top edge.
      xmax: Right edge.
      ymax: Bottom edge.
    """
    edges = (xmin, ymin, xmax, ymax)
    try:
        left, top, right, bottom = map(float, edges)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None, Fault("bad_box", "The edges of a box must be numbers.", _shown(edges))
    if not (-BOX_LIMIT < left < BOX_LIMIT and -BOX_LIMIT < top < BOX_LIMIT and right < BOX_LIMIT > bottom):
        return None, Fault("bad_box", f"The edges of a box must be finite and below {BOX_LIMIT:g}.", _shown(edges))
    if right > left and bottom > top:
        return BoundingBox(top, left, bottom, right), None
    if math.isnan(right) or math.isnan(bottom):
        return None, Fault("bad_box", "The edges of a box must be finite.", _shown(edges))
    rule = "A box must be wider and higher than 0: its right and bottom edges beyond the left and top ones."
    return None, Fault("empty_box", rule, _shown(edges))


def check_attribute(attribute: str | None, annotations: list[Annotation], place: object) -> None:
    """Checks that the attribute that holds the numbers is there, where other boxes would be numbers without it.

    Args:
      attribute: Name of the attribute; None if none was named.
      annotations: Annotations of a subset.
      place: Where they are, for the message.

    Raises:
      UserError: All numbers are made of boxes that are characters.
    """
    good = [each for each in annotations if not each.dead]
    if attribute and good and all(each.boxes for each in good):
        rule = f"{place}: no box has a text under the name that --text-attribute gives; without it, boxes of characters"
        raise UserError(f"{rule} are read.", attribute)


def rejected(subset: str, name: str, index: int, fault: Fault, part: int = 0) -> Annotation:
    """Returns the rejected annotation of a picture.

    Args:
      subset: Subset of the picture.
      name: Name of the picture, or what stands for it.
      index: Index of the entry.
      fault: Why the annotation cannot be used.
      part: Position of the number in its picture, from 1; 0 if it is the only one.
    """
    return Annotation(subset, name, index, "", dead=fault.error(f"{subset}/{printable(name)}").letter, part=part)


def unannotated(
    subset: str, name: str, index: int, rule: str = "The picture has no annotation.", is_empty: bool = False
) -> Annotation:
    """Returns the annotation of a picture that has none; it is no fault.

    Args:
      subset: Subset of the picture.
      name: Name of the picture.
      index: Index of the entry.
      rule: Sentence that says what is missing.
      is_empty: Whether somebody has looked at the picture, and there is no number.
    """
    return rejected(subset, name, index, Fault(NO_ANNOTATION, rule, no_number=is_empty))


def is_other_class(name: str) -> bool:
    """Returns whether boxes of a class are no numbers, by its name: neither those nor what may be one."""
    return bool(name) and not any(word in name.lower() for word in _MAY_BE_NUMBERS)


def annotations_of(subset: str, name: str, index: int, marks: list[Mark], digit_order: str) -> list[Annotation]:
    """Returns the annotations of a picture's boxes: one for each number, and one for each box that cannot be used.

    Characters without a group of which one cannot be used are rejected together, since the number that it was in is
    not known.

    Args:
      subset: Subset of the picture.
      name: Name of the picture.
      index: Index of the first annotation.
      marks: Boxes in the order in which they are stored.
      digit_order: One of `beam_jobs.sources.base.DIGIT_ORDERS`.
    """
    if not marks:
        return [unannotated(subset, name, index, is_empty=True)]
    if len(marks) == 1 and marks[0].text and not marks[0].fault:  # most pictures of numbers with texts
        return [Annotation(subset, name, index, marks[0].text, (), None, marks[0].box)]
    if plain := _only_number(marks, digit_order):
        return [Annotation(subset, name, index, *plain)]
    numbers = sorted(_numbers(marks, digit_order))
    if len(numbers) == 1 and not (only := numbers[0]).fault:
        return [Annotation(subset, name, index, only.text, only.boxes, None, only.box)]
    several = len(numbers) > 1
    found = []
    for part, number in enumerate(numbers, 1):
        at = index + part - 1
        if number.fault:
            found.append(rejected(subset, name, at, number.fault, part if several else 0))
        else:
            others = tuple(other.around for other in numbers if other is not number and other.around)
            found.append(Annotation(subset, name, at, number.text, number.boxes, None, number.box, part, others))
    return found


def join(marks: Sequence[Mark]) -> list[tuple[list[int], Fault | None]]:
    """Returns the numbers of a picture whose annotations are characters, and what is wrong with those.

    Characters of one group are one number, and `group_numbers` groups those that have none. A character that cannot be
    read would leave a gap in its number, so it takes the number with it. Which one that is, its group or its box says;
    without either, all characters of the picture that have no group are rejected. A box of another class that covers
    the centre of a character is no character, but what it stands on, and is rejected alone.

    Args:
      marks: Annotations of the picture.

    Returns:
      Indices of each number's characters, as stored, and its fault or None; in the order of the first characters.
    """
    if not any(mark.fault or mark.group or mark.box is None for mark in marks):
        return [(number, None) for number in group_numbers([mark.box for mark in marks if mark.box])]
    grounds = [index for index, mark in enumerate(marks) if _is_ground(mark, marks)]
    left = [index for index in range(len(marks)) if index not in grounds]
    grouped: dict[Hashable, list[int]] = {}
    for index in left:
        if marks[index].group:
            grouped.setdefault(marks[index].group, []).append(index)
    alone = [index for index in left if not marks[index].group]
    boxes = [box for index in alone if (box := marks[index].box)]
    if len(boxes) < len(alone):
        numbers = [alone]
    else:
        numbers = [[alone[index] for index in number] for number in group_numbers(boxes)]
    found = sorted([*grouped.values(), *numbers, *([index] for index in grounds)])
    return [(number, _around(marks[number[0]]) if number[0] in grounds else _fault(marks, number)) for number in found]


def _around(mark: Mark) -> Fault:
    """Returns why a box of another class around characters is no number."""
    rule = "A box around characters, whose own class is no character, is no number."
    return Fault(OTHER_CLASS, rule, mark.fault.received if mark.fault else _described(mark), no_number=True)


def _is_ground(mark: Mark, marks: Sequence[Mark]) -> bool:
    """Returns whether a mark is of another class, and covers the centre of a character."""
    if mark.fault is None or mark.fault.reason != UNKNOWN_CLASS or mark.box is None or mark.group:
        return False
    return _covers(mark.box, [other.box for other in marks if other.box and not other.fault])


def _covers(around: BoundingBox, boxes: Iterable[BoundingBox]) -> bool:
    """Returns whether a box covers the centre of another."""
    ymin, xmin, ymax, xmax = around
    return any(ymin <= (box.ymin + box.ymax) / 2 <= ymax and xmin <= (box.xmin + box.xmax) / 2 <= xmax for box in boxes)


def _fault(marks: Sequence[Mark], number: list[int]) -> Fault | None:
    """Returns the fault of a number's characters, first that of one without a box, which is the reason for the others.

    It says that there is no number only if all of them say so.
    """
    faults = [marks[index].fault for index in sorted(number, key=lambda index: marks[index].box is not None)]
    first = next((fault for fault in faults if fault), None)
    no_number = all(fault is not None and fault.no_number for fault in faults)
    return first._replace(no_number=no_number) if first else None


@lru_cache(maxsize=4096)
def character(label: str) -> str:
    """Returns the character that a class is, by its name; empty if it is none."""
    return character_of(label) or ""


def _shown(edges: Iterable[object]) -> str:
    return ", ".join(str(edge)[:40] for edge in edges)


def _only_number(marks: list[Mark], digit_order: str) -> tuple[str, tuple[BoundingBox, ...]] | None:
    """Returns the text and the boxes of marks that are nothing but the characters of one number: most pictures.

    Returns None if a mark needs a closer look, for which `_numbers` takes twice as long.
    """
    placed = []
    for label, text, box, group, fault in marks:
        if text or group or fault or not box or not (known := character(label)):
            return None
        placed.append((known, box))
    if len(set(placed)) < len(placed) or len(group_numbers([box for _, box in placed])) > 1:
        return None
    ordered = in_reading_order(placed, digit_order)
    return "".join([known for known, _ in ordered]), tuple([box for _, box in ordered])


def _numbers(marks: list[Mark], digit_order: str) -> list[_Number]:
    """Returns the numbers of a picture, in no order."""
    numbers: list[_Number] = []
    groups: dict[Hashable, list[int]] = {}
    seen: set[Mark] = set()
    for position, mark in enumerate(marks):
        if mark in seen and not mark.fault:
            rule = "A box with the same class, text and edges must not be there twice."
            fault: Fault | None = Fault("duplicate_box", rule, _described(mark))
            numbers.append(_Number(position, fault=fault))
            continue
        seen.add(mark)
        if mark.text:
            numbers.append(_Number(position, mark.text, (), mark.box, mark.box, mark.fault))
        elif character(mark.label):
            groups.setdefault(mark.group, []).append(position)
        else:
            fault = mark.fault or _unknown(mark, marks)
            numbers.append(_Number(position, around=mark.box, fault=fault))
    for group, positions in groups.items():
        numbers += _of_characters(marks, positions, bool(group), digit_order)
    return numbers


def _unknown(mark: Mark, marks: list[Mark]) -> Fault:
    """Returns the fault of a box that is no number, by whether the picture has characters."""
    characters = [each for each in marks if character(each.label) and not each.text]
    if mark.box and _covers(mark.box, [each.box for each in characters if each.box]):
        return _around(mark)
    rule = "A box must have a text, or a class of one character."
    if characters:
        return Fault(UNKNOWN_CLASS, rule, _described(mark), no_number=is_other_class(mark.label))
    return Fault("no_text", rule, _described(mark))


def _described(mark: Mark) -> str:
    return f"class {mark.label or 'none'}" + (f", text {mark.text}" if mark.text else "")


def _of_characters(marks: list[Mark], positions: list[int], is_group: bool, digit_order: str) -> list[_Number]:
    """Returns the numbers that characters form: one, if they are a group, else those that geometry finds."""
    characters = [marks[position] for position in positions]
    for mark in characters:
        if mark.fault:
            known = [each.box for each in characters if each.box]
            return [_Number(positions[0], around=union(known) if known else None, fault=mark.fault)]
    placed = [(character(mark.label), mark.box) for mark in characters if mark.box]
    boxes = [box for _, box in placed]
    parts = [list(range(len(placed)))] if is_group else group_numbers(boxes)
    numbers = []
    for part in parts:
        ordered = in_reading_order([placed[each] for each in part], digit_order)
        text, inside = "".join([label for label, _ in ordered]), tuple([box for _, box in ordered])
        around = union(inside) if len(parts) > 1 or len(positions) < len(marks) else None
        numbers.append(_Number(positions[min(part)], text, inside, None, around))
    return numbers
