"""Displays and meters: segments, layouts, and that a photo of them is labelled digit by digit."""

from dataclasses import replace
from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest

from beam_jobs.sample import photo
from beam_jobs.sample.command import draw_number
from beam_jobs.sample.counters import display_counter, meter_counter, segment_mask
from beam_jobs.sample.difficulty import STYLES
from beam_jobs.sample.glyphs import find_faces
from beam_jobs.sample.photo import INK_THRESHOLD, draw_photo

FORM = (0.5, 0.14, 0.01)


def test_each_segment_is_where_data_sheets_draw_it() -> None:
    height, width = np.asarray(segment_mask("", *FORM)).shape
    where = {
        "a": (0.08, 0.5), "b": (0.25, 0.9), "c": (0.75, 0.9), "d": (0.92, 0.5), "e": (0.75, 0.1), "f": (0.25, 0.1),
        "g": (0.5, 0.5),
    }  # fmt: skip
    for segment in where:
        mask = np.asarray(segment_mask(segment, *FORM))
        lit = {name for name, (y, x) in where.items() if mask[int(y * height), int(x * width)] > 128}
        assert lit == {segment}


def test_the_segments_of_the_ten_digits_are_different_and_inside_their_cell() -> None:
    style = STYLES["display"]
    glyphs = [display_counter(np.random.default_rng(4), (digit,), style).glyphs[0][0] for digit in range(10)]
    assert len({glyph.tobytes() for glyph in glyphs}) == 10 and len({glyph.size for glyph in glyphs}) == 1
    for glyph in map(np.asarray, glyphs):
        assert not (glyph[0].any() or glyph[-1].any() or glyph[:, 0].any() or glyph[:, -1].any())


def test_two_displays_in_three_show_the_segments_that_are_off() -> None:
    shown = [bool(display_counter(np.random.default_rng(i), (1, 2), STYLES["display"]).others) for i in range(200)]
    assert 0.55 < np.mean(shown) < 0.78


def test_a_drum_shows_the_digits_before_and_after_its_own() -> None:
    counter = meter_counter(np.random.default_rng(0), find_faces()[0], (9, 0, 0), STYLES["meter"])
    assert (len(counter.glyphs), len(counter.others), len(counter.cells)) == (3, 6, 3)
    assert {mask.size for mask, _ in counter.glyphs + counter.others + counter.cells} == {counter.cells[0][0].size}


def test_the_last_drum_alone_is_between_two_digits_in_half_of_the_meters() -> None:
    middles = []
    for index in range(60):
        counter = meter_counter(np.random.default_rng(index), find_faces()[0], (8, 8), STYLES["meter"])
        rows = [np.flatnonzero(np.asarray(mask).any(axis=1)) for mask, _ in counter.glyphs]
        middles.append([(row[0] + row[-1]) / 2 - 48 for row in rows])
    first, last = np.abs(np.array(middles)).T
    assert first.max() < 5
    assert 0.3 < np.mean(last > 5) < 0.6


def test_counters_have_numbers_of_every_length_and_leading_zeros() -> None:
    rng = np.random.default_rng(0)
    numbers = [draw_number(rng, "counter") for _ in range(400)]
    assert {len(number) for number in numbers} == {1, 2, 3, 4, 5}
    assert 0.04 < np.mean([number[0] == 0 for number in numbers]) < 0.16


def test_logarithmic_numbers_of_several_digits_begin_with_1_most_often_and_single_digits_are_even() -> None:
    rng = np.random.default_rng(0)
    numbers = [draw_number(rng, "logarithmic") for _ in range(6000)]
    # Benford's law: log10(1 + 1 / digit).
    for several, expected in ((True, np.log10(1 + 1 / np.arange(1, 10))), (False, np.full(9, 1 / 9))):
        first = [number[0] for number in numbers if (len(number) > 1) == several]
        shares = np.bincount(first, minlength=10) / len(first)
        assert np.allclose(shares[1:], expected, atol=0.04) and shares[0] == 0


@pytest.mark.parametrize("name", ["display", "meter", "device"])
def test_each_digit_of_a_device_has_a_box_around_its_ink(name: str) -> None:
    style = replace(STYLES[name], slack=(0.0, 0.0))
    for index in range(30):
        drawn = draw_photo(np.random.default_rng(index), find_faces(), (0, 7, 4), style)
        assert [box.label for box in drawn.boxes] == [10, 7, 4]
        assert all(one.left + one.width <= other.left + 3 for one, other in pairwise(drawn.boxes))
        outside = drawn.ink >= INK_THRESHOLD
        for box in drawn.boxes:
            outside[box.top : box.top + box.height, box.left : box.left + box.width] = False
        assert not outside.any()


def test_a_device_is_a_display_or_a_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Mock(side_effect=display_counter)
    monkeypatch.setattr(photo, "display_counter", display)
    for index in range(60):
        draw_photo(np.random.default_rng(index), find_faces(), (4, 2), STYLES["device"])
    assert 15 < display.call_count < 45
