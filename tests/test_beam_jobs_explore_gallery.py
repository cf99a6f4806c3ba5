"""The pictures of a page: their boxes, their size in bytes, and the steps of a preparation."""

import numpy as np
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.explore.gallery import COLUMNS, ROWS, Gallery, drawn_boxes, make_gallery, preparation
from beam_jobs.explore.page import image_uri
from tests.pictures import saved
from tfrecords.images.crop import BoundingBox, CropSpec, crop_box, window
from tfrecords.images.decode import cut

NOISE = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
SPEC = CropSpec()


def annotation(*boxes: BoundingBox, name: str = "1.png") -> Annotation:
    return Annotation("train", name, 0, "12"[: len(boxes)] or "7", boxes)


def test_the_steps_end_with_the_windows_that_prepare_stores() -> None:
    boxes = [BoundingBox(5, 10, 45, 30), BoundingBox(10, 32, 50, 50)]
    picture, one = NOISE[:60, :80], annotation(*boxes)
    steps = preparation(one, picture, SPEC, seed=3)
    assert [step.title for step in steps] == ["Boxes", "Union", "Grown", "Clipped", "Resized", "Jittered"]
    # 40 x 45 pixels, grown by 12 x 13.5: rows from -1.75, which the edge cuts off.
    assert [step.detail for step in steps[1:4]] == [
        "40 x 45 pixels",
        "by 30 %, to 52 x 58.5 pixels",
        "to whole pixels of the picture: 52 x 57",
    ]
    crop = cut(picture, crop_box(boxes, 0.3, 60, 80), (64, 64))
    np.testing.assert_array_equal(steps[4].images[0], crop)
    for index, image in enumerate(steps[5].images):
        np.testing.assert_array_equal(image, window(crop, SPEC.jitter(3, f"train/1.png#{index}"), (54, 54)))
    assert len(steps[5].images) == 5


def test_a_picture_without_boxes_is_stored_whole() -> None:
    whole = CropSpec(growth=0, crop_size=28, record_size=28, jitters=0)
    steps = preparation(annotation(), NOISE[:28, :28, :1], whole, seed=0)
    assert [step.title for step in steps] == ["Complete picture"]
    steps = preparation(annotation(), NOISE[:40, :40, :1], whole, seed=0)
    assert [step.title for step in steps] == ["Complete picture", "Resized"]
    assert steps[1].images[0].shape == (28, 28, 1)


def test_boxes_are_drawn_around_their_pixels_also_where_they_reach_outside() -> None:
    black = np.zeros((50, 100, 3), np.uint8)
    drawn = drawn_boxes(black, [BoundingBox(10, 20, 30, 40)], side=100)
    rows, columns = np.nonzero(drawn.any(2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 20, 39)
    assert drawn_boxes(black, [BoundingBox(-1e300, -5, 1e300, 1e9)], side=100).shape == (50, 100, 3)
    around = drawn_boxes(black, [], 120, around=BoundingBox(-10, -10, 60, 110))
    assert around.shape == (70, 120, 3) and (around[:10] == around[0, 0]).all() and not around[10:60, 10:110].any()


def test_small_pictures_are_enlarged_by_whole_pixels() -> None:
    drawn = drawn_boxes(NOISE[:8, :8], [], side=200)
    assert drawn.shape == (200, 200, 3)
    np.testing.assert_array_equal(drawn[::25, ::25], NOISE[:8, :8])


def gallery(count: int, damaged: int) -> Gallery:
    files = {f"train/{index}": saved(NOISE[index : index + 40, :60], "PNG") for index in range(damaged, count)}
    files |= {f"train/{index}": b"no picture" for index in range(damaged)}
    sample = [annotation(BoundingBox(5, 5, 30, 20), name=str(index)) for index in range(count)]
    return make_gallery(sample, files.__getitem__, True, SPEC, 0)


def test_pictures_that_cannot_be_decoded_are_replaced_and_counted() -> None:
    found = gallery(20, damaged=3)
    assert [one.key for one in found.grid] == [f"train/{index}" for index in range(3, 3 + ROWS * COLUMNS)]
    assert found.damaged == 3 and found.key == "train/3" and len(found.steps) == 6
    assert gallery(2, damaged=2) == Gallery((), (), "", 2)


@pytest.mark.parametrize("shape", [(900, 900, 3), (900, 600, 1)])
def test_even_pictures_of_noise_leave_a_page_below_two_megabytes(shape: tuple[int, int, int]) -> None:
    picture = NOISE[: shape[0], : shape[1], : shape[2]]
    grid = len(image_uri(drawn_boxes(picture, [], side=200)))
    step = len(image_uri(drawn_boxes(picture, [], side=300)))
    windows = 6 * len(image_uri(NOISE[:64, :64]))
    assert ROWS * COLUMNS * grid + 4 * step + windows < 1_800_000
