"""Rows of pixels: the fast conversion of a block against the reading line by line, on damaged blocks too."""

import random

import numpy as np
import pytest

from beam_jobs.sources.pixels import rows
from beam_jobs.sources.pixels.rows import Layout

VALUES = [0, 1, 9, 10, 99, 100, 255]
DAMAGE = b"0123456789,,\n\r x#;-\0"


def block_of(generator: random.Random, columns: int) -> bytes:
    """A block of some rows, with up to two characters changed."""
    count = generator.randint(1, 6)
    written = [",".join(str(generator.choice(VALUES)) for _ in range(columns)) for _ in range(count)]
    # A label of more than one digit would make each row a bad one.
    block = bytearray("\n".join(f"{index}{row[row.index(',') :]}" for index, row in enumerate(written)).encode())
    for _ in range(generator.choice([0, 0, 1, 2])):
        block[generator.randrange(len(block))] = generator.choice(DAMAGE)
    ending = generator.choice([b"", b"\n", b"\r\n"])
    return bytes(block).replace(b"\n", ending or b"\n") + ending


@pytest.mark.parametrize(
    "layout", [Layout(5, 0), Layout(5, None), Layout(6, 0, (1,)), Layout(6, 0, (3,)), Layout(6, None, (5,))], ids=str
)
def test_a_block_is_converted_as_its_lines_are(layout: Layout) -> None:
    generator = random.Random(0)
    converted = 0
    for _ in range(400):
        block = rows._normal(block_of(generator, layout.columns))
        fast = rows._convert(block, layout, 255)
        slow, faults = rows._read_lines(block, 1, layout, 255)
        if fast is not None:
            assert not faults, block
            np.testing.assert_array_equal(fast.pixels, slow.pixels)
            np.testing.assert_array_equal(fast.labels, slow.labels)
            converted += 1
    assert converted > 150


def test_a_value_above_the_most_is_left_to_the_lines() -> None:
    layout = Layout(5, 4)
    assert rows._convert(b"1,2,3,16,9\n", layout, 16) is not None
    for bad in (
        b"1,2,3,17,9",
        b"1,2,3,16,10",
        b"1,2,3,1016,9",
        b"1,2,,16,9",
        b"1,2,3,16",
        b"1,2,3,16,9,",
        b"1,2\n3,16,9",
    ):
        assert rows._convert(bad, layout, 16) is None
        assert rows._read_lines(bad, 1, layout, 16)[1]
