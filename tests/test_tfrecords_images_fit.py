"""A picture fitted into a square: its size there, its pixels, and the way of a box there and back."""

import numpy as np
import pytest

from tests.pictures import NOISE
from tfrecords.images.crop import BoundingBox
from tfrecords.images.decode import cut
from tfrecords.images.fit import content_shape, fit_to_canvas


@pytest.mark.parametrize(
    ("size", "content"),
    [
        ((50, 100), (160, 320)),
        ((1000, 400), (320, 128)),
        ((320, 320), (320, 320)),
        ((1, 1), (320, 320)),
        ((4000, 3), (320, 1)),  # 0.24 pixels
        ((3, 64_000_000), (1, 320)),
        ((101, 64), (320, 203)),  # 202.8
        ((128, 1), (320, 3)),  # 2.5, of which Python's own rounding makes 2
    ],
)
def test_the_longest_side_is_that_of_the_square_and_the_other_keeps_the_aspect(
    size: tuple[int, int], content: tuple[int, int]
) -> None:
    assert content_shape(*size, 320) == content


@pytest.mark.parametrize("canvas", [32, 64, 96, 201])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_resized_as_a_crop_is_in_the_upper_left_corner_of_black(canvas: int, channels: int) -> None:
    picture = NOISE[:40, :, :channels]
    image, _, (height, width) = fit_to_canvas(picture, canvas)
    assert image.shape == (canvas, canvas, channels) and image.dtype == np.uint8 and width == canvas
    expected = cut(picture, BoundingBox(0, 0, *picture.shape[:2]), (height, width))
    np.testing.assert_array_equal(image[:height, :width], expected)
    assert not image[height:].any()
    assert height == round(40 * canvas / 64)


def test_boxes_find_their_pixels_in_the_image_and_come_back() -> None:
    picture = np.zeros((77, 311, 3), np.uint8)
    picture[20:50, 100:180] = 255
    boxes = np.array([[20, 100, 50, 180], [0, 0, 77, 311]])
    image, scale, content = fit_to_canvas(picture, 100)
    placed = boxes * scale
    np.testing.assert_allclose(placed[1], [0, 0, *content])
    ymin, xmin, ymax, xmax = placed[0].round().astype(int)
    assert image[ymin + 1 : ymax - 1, xmin + 1 : xmax - 1].min() > 200
    outside = image.copy()
    outside[ymin - 1 : ymax + 1, xmin - 1 : xmax + 1] = 0
    assert outside.max() < 20
    np.testing.assert_allclose(placed / scale, boxes)
