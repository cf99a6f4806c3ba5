"""Characters with boxes to numbers: what a class means, the reading order, and which characters are one number.

Sources whose labels are characters share these rules. All of them keep the same answer if the picture is stretched in
either direction, so that boxes relative to a picture's size need no size to be grouped.
"""

from collections.abc import Hashable, Sequence

from tfrecords.images.crop import BoundingBox

LEAST_OVERLAP = 0.5
"""Least vertical overlap of two characters of one number, as a fraction of the smaller height."""
MOST_GAP = 2.0
"""Widest horizontal gap between two neighbours of one number, as a multiple of the larger width."""
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Character = tuple[str, BoundingBox]
"""A character and its box."""


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
    Of the 33,402 pictures that SVHN has for training, each with one number, 99.4 % become one number: as many as with a
    gap of one height, which would need the size of the picture. Digits that stand
    one below the other become a number each: such pictures need a group in their annotations.

    Args:
      boxes: Boxes of all characters of a picture: in pixels, or relative to its height and width.

    Returns:
      Indices of the characters of each number, as stored; numbers in the order of their first character.
    """
    if len(boxes) < 2:
        return [[index] for index in range(len(boxes))]
    root = list(range(len(boxes)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    reach = MOST_GAP * max(box.width for box in boxes)
    near: list[int] = []
    for index in sorted(root, key=lambda index: boxes[index].xmin):
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


def group_by(groups: Sequence[Hashable | None], boxes: Sequence[BoundingBox]) -> list[list[int]]:
    """Returns which characters of a picture are one number, by their groups where they have one.

    Args:
      groups: Group of each character, as annotated; None for one without, which `group_numbers` groups with the
        others that have none.
      boxes: Boxes of the characters.

    Returns:
      As `group_numbers`.
    """
    if all(group is None for group in groups):
        return group_numbers(boxes)
    numbers: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        if group is not None:
            numbers.setdefault(group, []).append(index)
    alone = [index for index, group in enumerate(groups) if group is None]
    found = [[alone[index] for index in number] for number in group_numbers([boxes[index] for index in alone])]
    return sorted([*numbers.values(), *found])


def _are_neighbours(left: BoundingBox, right: BoundingBox) -> bool:
    """Returns whether two characters are of one number, the left edge of `left` not being right of the other's."""
    overlap = min(left.ymax, right.ymax) - max(left.ymin, right.ymin)
    if overlap < LEAST_OVERLAP * min(left.height, right.height):
        return False
    return right.xmin - left.xmax <= MOST_GAP * max(left.width, right.width)
