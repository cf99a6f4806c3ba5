"""Drawn photos: boxes contain the ink, digits contrast with the background, and a generator determines every pixel."""

from dataclasses import replace

import numpy as np
import pytest

from beam_jobs.sample.difficulty import STYLES
from beam_jobs.sample.glyphs import STROKE_FACES, bend, find_faces, glyph_mask
from beam_jobs.sample.photo import INK_THRESHOLD, Photo, draw_photo

NUMBERS = [(7,), (1, 1), (4, 0, 8), (9, 2, 7, 5), (1, 2, 3, 4, 5)]


def draw(index: int, digits: tuple[int, ...], style: str = "clear") -> Photo:
    faces = find_faces() + (STROKE_FACES if style == "street" else ())
    return draw_photo(np.random.default_rng(index), faces, digits, STYLES[style])


@pytest.fixture(scope="module", params=STYLES)
def photos(request: pytest.FixtureRequest) -> list[Photo]:
    return [draw(index, NUMBERS[index % len(NUMBERS)], request.param) for index in range(120)]


@pytest.fixture(scope="module")
def clear_photos() -> list[Photo]:
    return [draw(index, NUMBERS[index % len(NUMBERS)]) for index in range(60)]


def test_pixels_are_rgb_bytes_of_a_street_photo_s_size(photos: list[Photo]) -> None:
    for photo in photos:
        assert photo.pixels.dtype == np.uint8
        assert photo.pixels.shape == (*photo.ink.shape, 3)
        height, width = photo.ink.shape
        assert 10 <= height <= 300
        assert 20 <= width <= 900


def test_boxes_have_the_digits_in_reading_order_with_10_for_zero() -> None:
    photo = draw(3, (4, 0, 8))
    assert [box.label for box in photo.boxes] == [4, 10, 8]
    centres = [box.left + box.width / 2 for box in photo.boxes]
    assert centres == sorted(centres)


def test_boxes_lie_inside_the_picture(photos: list[Photo]) -> None:
    for photo in photos:
        height, width = photo.ink.shape
        for box in photo.boxes:
            assert box.left >= 0 and box.top >= 0
            assert box.width > 0 and box.height > 0
            assert box.left + box.width <= width
            assert box.top + box.height <= height


def test_no_digit_touches_the_edge_where_it_might_be_cut_off(photos: list[Photo]) -> None:
    for photo in photos:
        ink = photo.ink >= INK_THRESHOLD
        assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


@pytest.mark.parametrize("style", [style for style, ranges in STYLES.items() if not any(ranges.slack)])
def test_boxes_contain_all_ink_and_are_tight_around_it(style: str) -> None:
    for index in range(60):
        photo = draw(index, NUMBERS[index % len(NUMBERS)], style)
        outside = photo.ink >= INK_THRESHOLD
        for box in photo.boxes:
            part = photo.ink[box.top : box.top + box.height, box.left : box.left + box.width] >= INK_THRESHOLD
            assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
            outside[box.top : box.top + box.height, box.left : box.left + box.width] = False
        assert not outside.any()


def test_boxes_of_stacked_digits_are_in_reading_order_by_their_left_edges() -> None:
    stacked = replace(STYLES["varied"], stacked=1.0)
    for index in range(30):
        boxes = draw_photo(np.random.default_rng(index), find_faces(), (4, 0, 8), stacked).boxes
        assert [box.label for box in sorted(boxes, key=lambda box: box.left)] == [4, 10, 8]
        middles = [box.top + box.height / 2 for box in boxes]
        assert middles == sorted(middles)


def test_boxes_with_slack_are_those_without_it_moved_outwards_by_at_most_that_much() -> None:
    loose = STYLES["varied"]
    tight, larger = replace(loose, slack=(0.0, 0.0)), 0
    for index in range(40):
        pair = [
            draw_photo(np.random.default_rng(index), find_faces(), NUMBERS[index % len(NUMBERS)], style)
            for style in (loose, tight)
        ]
        assert np.array_equal(pair[0].pixels, pair[1].pixels)
        # A digit of a face may be higher than the 0, whose height the slack is a share of.
        most = 2 + max(loose.slack) * 1.3 * max(box.height for box in pair[1].boxes)
        for one, other in zip(*(photo.boxes for photo in pair), strict=True):
            edges, tight_edges = (
                np.array((box.left, box.left + box.width, box.top, box.top + box.height)) for box in (one, other)
            )
            moved = edges - tight_edges
            assert (np.abs(moved) <= most).all()
            larger += bool(one.width > other.width and one.height > other.height)
    assert larger > 40


def test_digits_are_high_enough_to_read(clear_photos: list[Photo]) -> None:
    heights = [box.height for photo in clear_photos for box in photo.boxes]
    assert min(heights) >= 14
    assert 24 <= np.median(heights) <= 40


def test_digits_contrast_with_their_background(clear_photos: list[Photo]) -> None:
    for photo in clear_photos:
        grey = photo.pixels.mean(axis=2)
        top = min(box.top for box in photo.boxes)
        bottom = max(box.top + box.height for box in photo.boxes)
        left, right = photo.boxes[0].left, photo.boxes[-1].left + photo.boxes[-1].width
        part = np.s_[top:bottom, left:right]
        ink = photo.ink[part]
        # A thin face, out of focus, keeps about a third of the 50 that were painted.
        assert abs(grey[part][ink > 200].mean() - grey[part][ink < 10].mean()) > 15


def test_pictures_are_both_light_on_dark_and_dark_on_light(photos: list[Photo]) -> None:
    lighter = [photo.pixels[photo.ink > 200].mean() > photo.pixels[photo.ink == 0].mean() for photo in photos]
    assert 0.2 < np.mean(lighter) < 0.8


def test_equal_generators_draw_equal_photos() -> None:
    one, other = draw(11, (3, 5)), draw(11, (3, 5))
    assert np.array_equal(one.pixels, other.pixels)
    assert one.boxes == other.boxes


def test_other_generators_draw_other_photos() -> None:
    one, other = draw(11, (3, 5)), draw(12, (3, 5))
    assert one.pixels.shape != other.pixels.shape or not np.array_equal(one.pixels, other.pixels)


def test_street_photos_are_smaller_fainter_and_more_blurred(clear_photos: list[Photo]) -> None:
    street = [draw(index, NUMBERS[index % len(NUMBERS)], "street") for index in range(60)]

    def medians(photos: list[Photo]) -> tuple[float, float]:
        contrasts, heights = [], []
        for photo in photos:
            grey = photo.pixels.mean(axis=2)
            contrasts.append(abs(grey[photo.ink > 200].mean() - grey[photo.ink == 0].mean()))
            heights += [box.height for box in photo.boxes]
        return float(np.median(contrasts)), float(np.median(heights))

    (clear_contrast, clear_height), (street_contrast, street_height) = medians(clear_photos), medians(street)
    assert street_contrast < 0.8 * clear_contrast and street_height < 0.9 * clear_height


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_the_same_numbers_with_the_same_bytes(style: str) -> None:
    one, other = draw(17, (6, 0), style), draw(17, (6, 0), style)
    assert np.array_equal(one.pixels, other.pixels) and one.boxes == other.boxes


@pytest.mark.parametrize("face", STROKE_FACES)
@pytest.mark.parametrize("stroke", [0, 7])
def test_stroke_faces_draw_ten_different_digits_that_nothing_cuts_off(face: str, stroke: int) -> None:
    glyphs = [np.asarray(glyph_mask(face, digit, stroke)) for digit in range(10)]
    assert len({glyph.tobytes() for glyph in glyphs}) == 10
    for glyph in glyphs:
        assert 60 <= glyph.shape[0] <= 120 and glyph.max() == 255
        # A drawing that ran out of its canvas would be as wide or as high as that.
        assert max(glyph.shape) < 150


def test_a_bent_glyph_keeps_its_size_and_most_of_its_ink() -> None:
    glyph = glyph_mask(find_faces()[0], 8, 0)
    bent = bend(np.random.default_rng(0), glyph, 0.05)
    assert bent.size == glyph.size
    one, other = (np.asarray(image, float) for image in (glyph, bent))
    assert 0.8 < other.sum() / one.sum() < 1.2
    assert np.abs(one - other).mean() > 3


@pytest.mark.parametrize("index", range(15))
def test_every_face_draws_ten_different_digits_of_about_one_height(index: int) -> None:
    faces = find_faces()[index : index + 1]
    photos = [draw_photo(np.random.default_rng(5), faces, (digit,), STYLES["clear"]) for digit in range(10)]
    heights = [photo.boxes[0].height for photo in photos]
    assert max(heights) <= 1.25 * min(heights)
    assert len({photo.ink.tobytes() for photo in photos}) == 10
