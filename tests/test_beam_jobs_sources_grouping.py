"""Which characters are one number: by hand, on genuine numbers, and against a slower reading of the same rule."""

import random
import time

import pytest

from beam_jobs.sources.grouping import (
    LEAST_OVERLAP,
    MOST_GAP,
    character_of,
    group_numbers,
    in_reading_order,
)
from beam_jobs.sources.marks import Fault, Mark, join
from tests.digit_rows import read_real_rows
from tfrecords.images.crop import BoundingBox


def box(left: float, top: float = 0, width: float = 10, height: float = 20) -> BoundingBox:
    return BoundingBox(top, left, top + height, left + width)


@pytest.mark.parametrize(
    ("name", "character"),
    [("7", "7"), (" A ", "A"), (".", "."), ("Seven", "7"), (7, "7"), ("\u0663", "\u0663"), ("zero", "0")],
)
def test_a_class_of_one_character_or_a_digits_word_is_a_character(name: object, character: str) -> None:
    assert character_of(name) == character


@pytest.mark.parametrize("name", ["", " ", "10", 10, -1, True, None, 7.0, ["7"], "digit_7", "ten"])
def test_any_other_class_is_none(name: object) -> None:
    assert character_of(name) is None


@pytest.mark.parametrize(
    ("boxes", "numbers"),
    [
        ([], []),
        ([box(0)], [[0]]),
        ([box(0), box(11), box(22)], [[0, 1, 2]]),
        ([box(0), box(30)], [[0, 1]]),
        ([box(0), box(30.1)], [[0], [1]]),
        ([box(60), box(0), box(11), box(71)], [[0, 3], [1, 2]]),
        ([box(0), box(11, 10)], [[0, 1]]),
        ([box(0), box(11, 10.1)], [[0], [1]]),
        ([box(0), box(0, 25)], [[0], [1]]),
        # A decimal point, low and narrow, between two digits.
        ([box(0), box(12, 17, 2, 3), box(16)], [[0, 1, 2]]),
        # Three slim ones, each as far from the next as a wide digit would allow only next to one.
        ([box(0, 0, 3), box(8, 0, 3), box(17.1, 0, 3)], [[0, 1], [2]]),
        # A wide box over two others connects them.
        ([box(0), box(50), box(0, 0, 60)], [[0, 1, 2]]),
    ],
)
def test_boxes_become_numbers(boxes: list[BoundingBox], numbers: list[list[int]]) -> None:
    assert group_numbers(boxes) == numbers


def slow(boxes: list[BoundingBox]) -> list[list[int]]:
    """Returns what `group_numbers` is said to return, from every pair of boxes."""

    def near(a: BoundingBox, b: BoundingBox) -> bool:
        overlap = min(a.ymax, b.ymax) - max(a.ymin, b.ymin)
        gap = max(a.xmin, b.xmin) - min(a.xmax, b.xmax)
        return overlap >= LEAST_OVERLAP * min(a.height, b.height) and gap <= MOST_GAP * max(a.width, b.width)

    left, found = set(range(len(boxes))), []
    while left:
        number, edge = set(), [min(left)]
        while edge:
            at = edge.pop()
            if at not in number:
                number.add(at)
                edge += [other for other in left if near(boxes[at], boxes[other])]
        left -= number
        found.append(sorted(number))
    return found


def test_random_boxes_are_grouped_as_every_pair_says() -> None:
    source = random.Random(7)
    for _ in range(300):
        size = source.choice([1, 3, 8])
        count, span = source.randint(1, 14), source.choice([60, 200])
        boxes = [
            box(source.randrange(span), source.randrange(60), source.randint(1, 4 * size), source.randint(1, 9 * size))
            for _ in range(count)
        ]
        assert group_numbers(boxes) == slow(boxes)
        stretched = [BoundingBox(ymin / 4, xmin * 2, ymax / 4, xmax * 2) for ymin, xmin, ymax, xmax in boxes]
        assert group_numbers(stretched) == group_numbers(boxes)


def test_genuine_numbers_stay_one() -> None:
    rows = read_real_rows("test", 13_068)
    whole = sum(len(group_numbers([box for _, box in characters])) == 1 for characters in rows.values())
    assert whole / len(rows) > 0.985


def test_five_hundred_characters_take_no_time() -> None:
    start = time.process_time()
    assert len(group_numbers([box(0, 0, 100) for _ in range(500)])) == 1
    assert time.process_time() - start < 2


def test_reading_order() -> None:
    characters = [("2", box(5)), ("3", box(9)), ("1", box(1)), ("x", box(5))]
    assert "".join(text for text, _ in in_reading_order(characters, "left")) == "12x3"
    assert in_reading_order(characters, "stored") == characters


FAULT, OTHER = Fault("bad_box", "A rule.", 1), Fault("unknown_class", "A rule.", 2)
AROUND = Fault("other_class", "A box around characters, whose own class is no character, is no number.", 2, True)
PERSON = Fault("unknown_class", "A rule.", 3, True)


@pytest.mark.parametrize(
    ("marks", "numbers"),
    [
        ([Mark("1", "", box(0)), Mark("2", "", box(11))], [([0, 1], None)]),
        (
            [Mark("1", "", box(0), "a"), Mark("2", "", box(11), "b"), Mark("3", "", box(22), "a")],
            [([0, 2], None), ([1], None)],
        ),
        # Without a box, it may be a part of either number.
        ([Mark("1", "", box(0)), Mark("2", "", box(90)), Mark("", "", None, None, FAULT)], [([0, 1, 2], FAULT)]),
        (
            [Mark("1", "", box(0)), Mark("2", "", box(90), 1), Mark("", "", None, 1, FAULT)],
            [([0], None), ([1, 2], FAULT)],
        ),
        ([Mark("1", "", box(0)), Mark("", "", box(11), None, OTHER)], [([0, 1], OTHER)]),
        ([Mark("1", "", box(0)), Mark("", "", box(0, 0, 60), None, OTHER)], [([0], None), ([1], AROUND)]),
        ([Mark("", "", box(0, 0, 60), None, OTHER)], [([0], OTHER)]),
        ([Mark("", "", box(0), None, OTHER), Mark("", "", None, None, FAULT)], [([0, 1], FAULT)]),
        # A class that is no number says so for itself, and not for a character that it is next to.
        ([Mark("1", "", box(0)), Mark("", "", box(90), None, PERSON)], [([0], None), ([1], PERSON)]),
        ([Mark("1", "", box(0)), Mark("", "", box(11), None, PERSON)], [([0, 1], PERSON._replace(no_number=False))]),
    ],
)
def test_a_fault_takes_its_number_with_it(marks: list[Mark], numbers: list[tuple[list[int], Fault | None]]) -> None:
    assert join(marks) == numbers
