"""Boxes that somebody drew in a picture with an annotation tool, to the numbers that they mean.

A box is a character, if its class is one, or a complete number, if a text belongs to it. Characters become numbers by
the group that the tool gave them, and by geometry (`sources.grouping`) where there is none.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from beam_jobs.annotation import NO_ANNOTATION, Annotation, DeadLetter, RejectedError
from beam_jobs.sources.grouping import LEAST_OVERLAP, MOST_GAP, character_of, group_numbers, in_reading_order
from tfrecords.errors import UserError, printable
from tfrecords.images.crop import BoundingBox, union

BOX_LIMIT = 1e9
"""Coordinates at or beyond this are damage: float64 still has a thousandth of a pixel here."""
TEXT_NAMES = ("text", "transcription", "ocr", "number", "value", "plate", "plate_text", "plate_number", "reading")
"""Names, in lower case, of the attributes that hold a number unless another is given."""


_LEFT = itemgetter(1)


class Fault(NamedTuple):
    """Why a box cannot be used.

    Attributes:
      reason: One word to count by.
      rule: Sentence that says what is allowed, without the picture's name.
      received: Offending value.
    """

    reason: str
    rule: str
    received: object = None


class Mark(NamedTuple):
    """One box as drawn.

    Attributes:
      label: Class of the box; empty if it has none.
      text: Number that an attribute of the box holds; empty if there is none.
      box: Box in pixels; None for the complete picture, or if it cannot be read.
      group: Name of the group that the tool gave to the box; empty if it has none.
      fault: Why the box cannot be used, or None.
    """

    label: str
    text: str
    box: BoundingBox | None
    group: str = ""
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
    return Annotation(subset, name, index, "", dead=_letter(subset, name, fault), part=part)


def unannotated(subset: str, name: str, index: int, rule: str = "The picture has no annotation.") -> Annotation:
    """Returns the annotation of a picture that has none; it is no fault."""
    return rejected(subset, name, index, Fault(NO_ANNOTATION, rule))


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
        return [unannotated(subset, name, index)]
    if len(marks) == 1 and marks[0].text and not marks[0].fault:  # most pictures of numbers with texts
        return [Annotation(subset, name, index, marks[0].text, (), None, marks[0].box)]
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


@lru_cache(maxsize=4096)
def character(label: str) -> str:
    """Returns the character that a class is, by its name; empty if it is none."""
    return character_of(label) or ""


def _letter(subset: str, name: str, fault: Fault) -> DeadLetter:
    rule = f"{subset}/{printable(name)}: {fault.rule}"
    received = None if fault.received is None else printable(str(fault.received))
    return RejectedError("annotation", fault.reason, rule, received).letter


def _shown(edges: Iterable[object]) -> str:
    return ", ".join(str(edge)[:40] for edge in edges)


def _numbers(marks: list[Mark], digit_order: str) -> list[_Number]:
    """Returns the numbers of a picture, in no order."""
    numbers: list[_Number] = []
    groups: dict[str, list[int]] = {}
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
    has_characters = any(character(each.label) and not each.text for each in marks)
    rule = "A box must have a text, or a class of one character."
    return Fault("unknown_class" if has_characters else "no_text", rule, _described(mark))


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
    parts = [list(range(len(placed)))] if is_group or _are_one_row(boxes) else group_numbers(boxes)
    numbers = []
    for part in parts:
        ordered = in_reading_order([placed[each] for each in part], digit_order)
        text, inside = "".join([label for label, _ in ordered]), tuple([box for _, box in ordered])
        around = union(inside) if len(parts) > 1 or len(positions) < len(marks) else None
        numbers.append(_Number(positions[min(part)], text, inside, None, around))
    return numbers


def _are_one_row(boxes: list[BoundingBox]) -> bool:
    """Returns whether each box and the next to the right are of one number, so that `group_numbers` finds only one.

    Most pictures are so, and `group_numbers` takes as long as all else that is done with their boxes.
    """
    row = sorted(boxes, key=_LEFT)
    top, left, bottom, right = row[0]
    for box in row[1:]:
        ymin, xmin, ymax, xmax = box
        overlap = (bottom if bottom < ymax else ymax) - (top if top > ymin else ymin)
        if overlap < LEAST_OVERLAP * min(bottom - top, ymax - ymin):
            return False
        if xmin - right > MOST_GAP * max(right - left, xmax - xmin):
            return False
        top, left, bottom, right = box
    return True
