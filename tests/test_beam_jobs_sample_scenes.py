"""Drawn scenes: boxes around the ink, shares of numbers, what is hidden or faint, and equal bytes."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from beam_jobs.sample.command import draw_number, picture_rng
from beam_jobs.sample.glyphs import STROKE_FACES, find_faces
from beam_jobs.sample.photo import INK_THRESHOLD
from beam_jobs.sample.scenes import lettering, placing, signs, surfaces
from beam_jobs.sample.scenes.content import STREET, draw_numbers
from beam_jobs.sample.scenes.draw import moved, warp_part
from beam_jobs.sample.scenes.picture import ScenePicture, draw_scene

FACES = find_faces() + STROKE_FACES


def draw(index: int) -> ScenePicture:
    rng = picture_rng(0, "scene/train", index)
    return draw_scene(rng, FACES, draw_numbers(rng, draw_number))


def decoded(scene: ScenePicture) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(scene.jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


@pytest.fixture(scope="module")
def scenes() -> list[ScenePicture]:
    return [draw(index) for index in range(240)]


def test_counts_of_numbers_follow_the_style() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(min(len(draw_numbers(rng, draw_number)), 2) for _ in range(4000))
    for kind, share in enumerate(STREET.counts):
        assert counts[kind] / 4000 == pytest.approx(share, abs=0.03)


def test_long_numbers_are_more_frequent_than_in_svhn() -> None:
    rng = np.random.default_rng(0)
    numbers = [number for _ in range(3000) for number in draw_numbers(rng, draw_number)]
    assert 0.06 < np.mean([len(number) >= 4 for number in numbers]) < 0.13
    assert {len(number) for number in numbers} == {1, 2, 3, 4, 5}
    assert all(number[0] != 0 for number in numbers)


def test_hardly_a_number_is_lost_for_want_of_room(scenes: list[ScenePicture]) -> None:
    found = Counter(min(len(scene.annotated.numbers), 2) for scene in scenes)
    assert found[0] / 240 == pytest.approx(STREET.counts[0], abs=0.06)
    assert found[1] / 240 == pytest.approx(STREET.counts[1], abs=0.1)
    assert found[2] / 240 == pytest.approx(STREET.counts[2], abs=0.08)
    assert 0 < sum(scene.annotated.again > 0 for scene in scenes) < 24


def test_pictures_are_jpeg_files_of_the_annotated_size(scenes: list[ScenePicture]) -> None:
    for scene in scenes:
        assert scene.jpeg.startswith(b"\xff\xd8")
        pixels = decoded(scene)
        assert pixels.shape == (scene.annotated.height, scene.annotated.width, 3)
        assert max(pixels.shape) <= 1.5 * STREET.longest_px[1]


def test_boxes_are_inside_the_picture_and_in_order_from_the_left(scenes: list[ScenePicture]) -> None:
    for scene in (scene.annotated for scene in scenes):
        for number in scene.numbers:
            assert len(number.boxes) == len(number.digits)
            lefts = [left for left, _, _, _ in number.boxes]
            assert lefts == sorted(set(lefts))
            for left, top, width, height in number.boxes:
                assert left >= 0 and top >= 0 and width > 0 and height > 0
                assert left + width <= scene.width and top + height <= scene.height


def test_numbers_are_from_small_to_nearly_as_wide_as_the_picture(scenes: list[ScenePicture]) -> None:
    shares, heights = [], []
    for scene in (scene.annotated for scene in scenes):
        for number in scene.numbers:
            left, right = number.boxes[0][0], max(box[0] + box[2] for box in number.boxes)
            shares.append((right - left) / scene.width)
            heights += [box[3] * min(1, 320 / max(scene.width, scene.height)) for box in number.boxes]
    assert np.quantile(shares, 0.1) < 0.12
    assert np.quantile(shares, 0.9) > 0.5
    assert 0.06 < np.mean(np.array(shares) > 0.6) < 0.2
    assert min(heights) >= 6  # A digit of 8 pixels, less what a face's digits differ by and slanted walls take.
    assert np.mean(np.array(heights) < 8) < 0.03


def test_a_digit_s_box_is_tight_around_its_ink() -> None:
    mask = np.zeros((40, 30), np.uint8)
    mask[5:35, 10:20] = 255
    letters = lettering.Lettering((mask,), (np.eye(3),), np.array((15.0, 20.0)))
    (ink,) = signs.inks_of(letters, moved(50, 60), (200, 100)) or []
    assert ink.box == (60, 65, 70, 95)


def test_numbers_drawn_at_an_angle_have_tight_boxes() -> None:
    for index in range(60):
        rng = np.random.default_rng(index)
        stage = placing.stage(rng, 320, 240)
        number = lettering.number(rng, FACES, (4, 7), STREET)
        matrix = placing.place(rng, stage, number, 90, 8, STREET.turn)
        inks = None if matrix is None else signs.inks_of(number, matrix, (320, 240))
        for ink in inks or []:
            canvas = np.zeros((240, 320), np.uint8)
            (left, top), (rows, columns) = ink.at, ink.mask.shape
            canvas[top : top + rows, left : left + columns] = ink.mask
            y, x = np.nonzero(canvas >= INK_THRESHOLD)
            assert ink.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
            assert x.min() > 0 and y.min() > 0 and x.max() < 319 and y.max() < 239


def test_the_digits_of_a_scene_differ_from_what_is_around_them(scenes: list[ScenePicture]) -> None:
    """The boxes fit the pixels: the mean contrast of a box's inside is far above that of a box next to it."""
    inside, aside = [], []
    for scene in scenes:
        grey = decoded(scene).mean(axis=2)
        for number in scene.annotated.numbers:
            for left, top, width, height in number.boxes:
                inside.append(grey[top : top + height, left : left + width].std())
            other = top + (2 * height if top + 3 * height < grey.shape[0] else -2 * height)
            if other >= 0:
                aside.append(grey[other : other + height, left : left + width].std())
    assert np.median(inside) > 1.8 * np.median(aside)


def test_hidden_and_faint_digits_are_measured() -> None:
    ink = signs.Ink(np.full((10, 8), 255, np.uint8), (20, 30), (20, 30, 28, 40))
    cover = np.zeros((60, 60), np.uint8)
    cover[30:35] = 255
    assert signs.hidden_shares([ink], cover) == pytest.approx([0.5])
    mask = np.zeros((14, 12), np.uint8)
    mask[2:12, 2:10] = 255
    image = np.full((60, 60, 3), 100, np.uint8)
    digit = [signs.Ink(mask, (20, 30), (22, 32, 30, 42))]
    assert signs.contrasts(digit, image) == pytest.approx([0])
    image[32:42, 22:30] = (100, 130, 100)
    assert signs.contrasts(digit, image) == pytest.approx([30])


def test_a_digit_with_an_outline_alone_is_not_faint() -> None:
    mask = np.zeros((60, 50), np.uint8)
    mask[10:50, 10:40] = 255
    image = np.full((60, 50, 3), 100, np.uint8)
    image[8:52, 8:42] = 60
    image[10:50, 10:40] = 100
    assert signs.contrasts([signs.Ink(mask, (0, 0), (10, 10, 40, 50))], image) == pytest.approx([40])


def test_what_cannot_be_read_is_drawn_again_and_in_the_end_without_a_number() -> None:
    covered = replace(STREET, hidden=-1.0, photos=0.0)
    scene = draw_scene(np.random.default_rng(0), FACES, ((4, 2),), covered).annotated
    assert (scene.numbers, scene.again) == ((), 4)


def test_numbers_and_words_of_a_picture_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    stage = placing.stage(rng, 320, 240)
    for _ in range(12):
        placing.place(rng, stage, lettering.number(rng, FACES, (1, 2, 3), STREET), 60, 8, STREET.turn)
    assert 3 <= len(stage.taken) < 12
    for index, box in enumerate(stage.taken):
        for other in stage.taken[:index]:
            assert (box[:2] >= other[2:] - 13).any() or (box[2:] <= other[:2] + 13).any()


def test_signs_of_letters_have_no_digit_and_none_that_reads_as_one() -> None:
    texts = set()

    def keep(face: str, text: str, stroke: int) -> np.ndarray:
        texts.add(text)
        return np.full((20, 20), 255, np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lettering, "_word", keep)
        for index in range(500):
            lettering.word(np.random.default_rng(index), FACES)
    assert len(texts) > 150
    assert not any(character.isdigit() for text in texts for character in text)
    assert all(set(text) - set("OIQSZBGDlo") or text in "SZBGQ" for text in texts)


@pytest.mark.parametrize("kind", surfaces.WALLS)
def test_walls_have_the_size_and_bytes_of_a_canvas(kind: str) -> None:
    for index, (height, width) in enumerate([(48, 64), (300, 90), (51, 400)]):
        wall = surfaces.wall(np.random.default_rng(index), kind, height, width)
        assert wall.shape == (height, width, 3) and wall.dtype == np.uint8
        assert wall.std() > 0


def test_a_mask_moved_by_whole_pixels_keeps_its_values() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    mask = cv2.copyMakeBorder(mask, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    found = warp_part(mask, moved(7, 9), (60, 60))
    assert found is not None
    part, (left, top) = found
    canvas = np.zeros((60, 60), np.uint8)
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    np.testing.assert_array_equal(canvas[9:33, 7:41], mask)


def test_a_mask_outside_the_picture_is_none() -> None:
    assert warp_part(np.full((5, 5), 255, np.uint8), moved(100, 0), (50, 50)) is None


def test_a_generator_determines_a_scene() -> None:
    assert draw(5).jpeg == draw(5).jpeg
    assert draw(5).jpeg != draw(6).jpeg
