"""Crop, jitter and boxes, against hand-made figures."""

import csv
import gzip
import math
from typing import Any

import numpy as np
import pytest

from tests.examples import noise
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox, CropSpec, boxes_in_windows, crop_box, union, window
from tfrecords.images.decode import cut, evaluation_view

NINETEEN = [BoundingBox(77, 246, 296, 327), BoundingBox(81, 323, 300, 419)]
"""SVHN's train/1.png, 741 x 350 pixels, which reads 19."""


def test_the_crop_is_the_union_grown_about_its_centre() -> None:
    # Union 77..300 x 246..419: 223 high and 173 wide; 15 % more on each side.
    assert union(NINETEEN) == BoundingBox(77, 246, 300, 419)
    expected = BoundingBox(round(77 - 33.45), round(246 - 25.95), round(300 + 33.45), round(419 + 25.95))
    assert crop_box(NINETEEN, 0.3, 350, 741) == expected


def test_the_crop_is_clipped_to_the_picture() -> None:
    assert crop_box([BoundingBox(-1, -1, 30, 20)], 0.3, 32, 22) == BoundingBox(0, 0, 32, 22)
    assert crop_box([BoundingBox(-1e300, -1e300, 1e300, 1e300)], 0.3, 32, 22) == BoundingBox(0, 0, 32, 22)


OUTSIDE = {
    "above": BoundingBox(-9, 0, 0, 10),
    "left": BoundingBox(0, -30, 10, -5),
    "below": BoundingBox(32, 0, 50, 10),
    "right": BoundingBox(0, 22, 10, 23),
}


@pytest.mark.parametrize("box", OUTSIDE.values(), ids=OUTSIDE)
def test_a_digit_outside_the_picture_is_refused_alone_and_beside_others(box: BoundingBox) -> None:
    inside = BoundingBox(2, 2, 20, 20)
    for boxes in ([box], [inside, box], [box, inside]):
        with pytest.raises(UserError, match=r"must overlap the picture \(32 x 22, height x width\)\. Received: "):
            crop_box(boxes, 0.3, 32, 22)


def test_a_digit_of_which_a_part_is_in_the_picture_is_cut() -> None:
    inside = BoundingBox(2, 2, 20, 20)
    for part in (BoundingBox(-9, 0, 0.1, 10), BoundingBox(31.9, 0, 50, 10), BoundingBox(0, 21.9, 9, 99)):
        assert crop_box([inside, part], 0.3, 32, 22).height > 18


def test_a_crop_of_less_than_half_a_pixel_is_refused() -> None:
    with pytest.raises(UserError, match="must overlap the picture"):
        crop_box([BoundingBox(0, 0, 0.1, 9)], 0.0, 32, 22)


@pytest.mark.parametrize(("subset", "pictures"), [("train", 33_402), ("test", 13_068)])
def test_no_published_number_lies_outside_its_picture(subset: str, pictures: int) -> None:
    boxes: dict[tuple[str, int, int], list[BoundingBox]] = {}
    with gzip.open(data_folder() / "svhn_annotations" / f"{subset}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            left, top, width, height = (int(row[field]) for field in ("left", "top", "width", "height"))
            picture = row["name"], int(row["image_height"]), int(row["image_width"])
            boxes.setdefault(picture, []).append(BoundingBox(top, left, top + height, left + width))
    assert len(boxes) == pictures
    for (_, height, width), of_picture in boxes.items():
        crop_box(of_picture, 0.3, height, width)


def test_jitters_reach_every_place_and_none_else_about_equally_often() -> None:
    spec = CropSpec()
    places = [spec.jitter(0, f"train/{picture}.png#{jitter}") for picture in range(2420) for jitter in range(5)]
    counts = np.zeros((11, 11))
    for y, x in places:
        counts[y, x] += 1
    # 12,100 jitters over 121 places: 100 each; six standard deviations are 60.
    assert counts.min() > 40 and counts.max() < 160


def test_jitters_follow_from_seed_and_key_alone() -> None:
    assert CropSpec().jitter(0, "train/1.png#0") == CropSpec(jitters=9).jitter(0, "train/1.png#0")
    assert len({CropSpec().jitter(seed, "train/1.png#0") for seed in range(50)}) > 30


def test_boxes_follow_the_picture_into_the_window() -> None:
    box = BoundingBox(10, 20, 42, 84)
    placed = boxes_in_windows([BoundingBox(10, 20, 26, 52)], box, (64, 64), [(0, 0), (4, 6)], 5)[1]
    # The crop is enlarged twice in height, and not at all in width.
    np.testing.assert_allclose(placed[0], [0 - 4, 0 - 6, 32 - 4, 32 - 6])
    assert (placed[1:] == 0).all() and placed.dtype == np.float32


def test_the_box_of_a_drawn_mark_stands_on_the_mark_in_every_jitter() -> None:
    pixels = np.zeros((100, 160, 3), np.uint8)
    mark = BoundingBox(40, 60, 70, 110)
    pixels[40:70, 60:110] = 255
    spec = CropSpec()
    box = crop_box([mark], spec.growth, 100, 160)
    crop = cut(pixels, box, spec.crop_shape)
    for jitter in range(20):
        offset = spec.jitter(0, f"train/1.png#{jitter}")
        image = window(crop, offset, spec.record_shape)
        ymin, xmin, ymax, xmax = boxes_in_windows([mark], box, spec.crop_shape, [offset], 1)[0, 0]
        rows, columns = np.where(image[:, :, 0] > 127)
        found = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        expected = (max(ymin, 0), max(xmin, 0), min(ymax, 54), min(xmax, 54))
        assert max(map(abs, np.subtract(found, expected))) <= 1


def test_the_evaluation_view_is_the_centre_of_the_crop() -> None:
    picture = noise(80, 100)
    boxes = [BoundingBox(20, 20, 60, 70)]
    spec = CropSpec()
    crop = cut(picture, crop_box(boxes, 0.3, 80, 100), (64, 64))
    np.testing.assert_array_equal(evaluation_view(picture, boxes, spec), crop[5:59, 5:59])


def test_without_a_box_the_whole_picture_is_the_view() -> None:
    picture = noise(54, 54)
    np.testing.assert_array_equal(evaluation_view(picture, [], CropSpec()), picture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growth": -0.1}, "growth must be"),
        ({"growth": math.nan}, "growth must be"),
        ({"record_size": 65}, "record_size must be at least 1 and at most crop_size"),
        ({"record_size": 0}, "record_size must be at least 1"),
        ({"jitters": -1}, "jitters must be"),
    ],
)
def test_a_crop_that_cannot_be_made_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CropSpec(**options)
