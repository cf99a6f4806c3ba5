"""Characters with boxes to numbers: what a class means, the reading order, and which characters are one number.

Sources whose labels are characters share these rules. All of them keep the same answer if the picture is stretched in
either direction, so that boxes relative to a picture's size need no size to be grouped.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from beam_jobs.annotation import RejectedError
from tfrecords.errors import printable
from tfrecords.images.crop import BoundingBox

LEAST_OVERLAP = 0.5
"""Least vertical overlap of two characters of one number, as a fraction of the smaller height."""
MOST_GAP = 2.0
"""Widest horizontal gap between two neighbours of one number, as a multiple of the larger width."""
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Character = tuple[str, BoundingBox]
"""A character and its box."""
_MOST_RECEIVED = 200
"""Longest value that a message quotes, characters."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with an annotation.

    Attributes:
      reason: One word to count by.
      rule: Sentence that says what an annotation must be.
      received: Offending value.
    """

    reason: str
    rule: str
    received: object

    def error(self, where: str) -> RejectedError:
        """Returns the error of the picture, `subset/name`, that has the annotation."""
        received = printable(str(self.received)[:_MOST_RECEIVED])
        return RejectedError("annotation", self.reason, f"{where}: {self.rule}", received)


@dataclass(frozen=True)
class Mark:
    """One annotation of a picture whose annotations are characters.

    Attributes:
      text: Character; empty with a fault.
      box: Box; None if it cannot be known.
      group: Number that it belongs to, as annotated; None if that is not said.
      fault: What is wrong with it, or None.
    """

    text: str
    box: BoundingBox | None
    group: Hashable | None = None
    fault: Fault | None = None


UNKNOWN_CLASS = "unknown_class"
"""Reason of an annotation whose class is no character."""


def character_of(name: object) -> str | None:
    """Returns the character that a class is, by its name; None if it is none.

    A name of exactly one character, without white space around it, is that character; the English words zero to nine
    are digits, in any case. An integer of 0 to 9, as JSON and YAML may have it, is that digit.
    """
    text = str(name).strip() if isinstance(name, str | int) and not isinstance(name, bool) else ""
    if text.lower() in _WORDS:
        return str(_WORDS.index(text.lower()))
    return text if len(text) == 1 else None


def in_reading_order(characters: Sequence[Character], digit_order: str) -> list[Character]:
    """Returns the characters of one number in reading order.

    Args:
      characters: Characters and their boxes, as stored.
      digit_order: `left`, by the left edges of the boxes, ties as stored; or `stored`.
    """
    if digit_order != "left":
        return list(characters)
    return sorted(characters, key=lambda character: character[1].xmin)


def group_numbers(boxes: Sequence[BoundingBox]) -> list[list[int]]:
    """Returns which characters of a picture are one number, by their boxes alone.

    Two characters are of one number if their boxes overlap vertically by at least half of the smaller height, and the
    horizontal gap between them is at most twice the larger width; and so are the characters that such pairs connect.
    Of SVHN's pictures, each with one number, 99.4 % of train and 98.9 % of test become one number: as many as with a
    gap of one height, which would need the size of the picture. Digits that stand one below the other become a number
    each: such pictures need a group in their annotations.

    Args:
      boxes: Boxes of all characters of a picture: in pixels, or relative to its height and width.

    Returns:
      Indices of the characters of each number, as stored; numbers in the order of their first character.
    """
    if len(boxes) < 2:
        return [[index] for index in range(len(boxes))]
    order = sorted(range(len(boxes)), key=lambda index: boxes[index].xmin)
    if all(_are_neighbours(boxes[left], boxes[right]) for left, right in pairwise(order)):
        return [list(range(len(boxes)))]  # most pictures have one number
    root = list(range(len(boxes)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    reach = MOST_GAP * max(box.width for box in boxes)
    near: list[int] = []
    for index in order:
        box = boxes[index]
        near = [other for other in near if box.xmin - boxes[other].xmax <= reach]
        for other in near:
            if _are_neighbours(boxes[other], box):
                first, second = sorted((find(other), find(index)))
                root[second] = first
        near.append(index)
    numbers: dict[int, list[int]] = {}
    for index in range(len(boxes)):
        numbers.setdefault(find(index), []).append(index)
    return list(numbers.values())


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
    if not any(mark.fault or mark.group is not None or mark.box is None for mark in marks):
        return [(number, None) for number in group_numbers([mark.box for mark in marks if mark.box])]
    grounds = [index for index, mark in enumerate(marks) if _is_ground(mark, marks)]
    left = [index for index in range(len(marks)) if index not in grounds]
    grouped: dict[Hashable, list[int]] = {}
    for index in left:
        if marks[index].group is not None:
            grouped.setdefault(marks[index].group, []).append(index)
    alone = [index for index in left if marks[index].group is None]
    boxes = [box for index in alone if (box := marks[index].box)]
    if len(boxes) < len(alone):
        numbers = [alone]
    else:
        numbers = [[alone[index] for index in number] for number in group_numbers(boxes)]
    found = sorted([*grouped.values(), *numbers, *([index] for index in grounds)])
    return [(number, next(_faults(marks, number), None)) for number in found]


def _is_ground(mark: Mark, marks: Sequence[Mark]) -> bool:
    """Returns whether a mark is of another class, and covers the centre of a character."""
    if mark.fault is None or mark.fault.reason != UNKNOWN_CLASS or mark.box is None or mark.group is not None:
        return False
    ymin, xmin, ymax, xmax = mark.box
    boxes = [other.box for other in marks if other.box and not other.fault]
    return any(ymin <= (box.ymin + box.ymax) / 2 <= ymax and xmin <= (box.xmin + box.xmax) / 2 <= xmax for box in boxes)


def _faults(marks: Sequence[Mark], number: list[int]) -> Iterator[Fault]:
    """Yields the faults of a number's characters, first those without a box, which are the reason for the others."""
    faulty = [index for index in number if marks[index].fault]
    for index in sorted(faulty, key=lambda index: marks[index].box is not None):
        if fault := marks[index].fault:
            yield fault


def _are_neighbours(left: BoundingBox, right: BoundingBox) -> bool:
    """Returns whether two characters are of one number, the left edge of `left` not being right of the other's."""
    (ymin, _, ymax, xmax), (other_ymin, xmin, other_ymax, _) = left, right
    height, other_height = ymax - ymin, other_ymax - other_ymin
    overlap = (ymax if ymax < other_ymax else other_ymax) - (ymin if ymin > other_ymin else other_ymin)
    if overlap < LEAST_OVERLAP * (height if height < other_height else other_height):
        return False
    return xmin - xmax <= MOST_GAP * max(left.width, right.width)
