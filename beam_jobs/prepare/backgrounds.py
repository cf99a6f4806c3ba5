"""Crops without a digit, beside the number of a picture: examples of what is no number."""

from collections.abc import Sequence

import numpy as np

from beam_jobs.prepare.assign import digest
from tfrecords.images.crop import BoundingBox, union

MARK = "#background"
"""Between the key of a number and the index of the window, in the keys of crops without a digit."""
_MIN_SIDE = 8
"""Smallest height and width of a crop, pixels: smaller ones are one colour."""
_LEAST_ASPECT, _ASPECT_OF_CHARACTER = 0.7, 0.5
"""Width of a crop in heights: the least, that of numbers of one digit, and of each character of the longest number."""


def has_background(key: str, seed: int, share: float) -> bool:
    """Returns whether a picture is one of the `share` of pictures that give a crop without a digit, if one fits."""
    return digest(seed, "background", key) < share * 2**64


def background_box(
    key: str, seed: int, boxes: Sequence[BoundingBox], height: int, width: int, max_length: int
) -> BoundingBox | None:
    """Returns a random box that no digit's box reaches into; None if none of at least 8 x 8 pixels fits.

    The box lies left or right of all digits, above or below them: a place with more room is more probable.

    Args:
      key: Key of the picture, from which the box follows.
      seed: Random seed of the dataset.
      boxes: Boxes of all digits in the picture.
      height: Height of the picture, pixels.
      width: Width of the picture, pixels.
      max_length: Characters of the dataset's longest number, as wide as which the box may be.
    """
    around = union(boxes).clip(height, width)
    top, left, bottom, right = (
        int(np.floor(around.ymin)),
        int(np.floor(around.xmin)),
        int(np.ceil(around.ymax)),
        int(np.ceil(around.xmax)),
    )
    places = [(0, 0, height, left), (0, right, height, width), (0, 0, top, width), (bottom, 0, height, width)]
    room = [(ymax - ymin, xmax - xmin) for ymin, xmin, ymax, xmax in places]
    areas = np.array([rows * columns if min(rows, columns) >= _MIN_SIDE else 0 for rows, columns in room], float)
    if not areas.any():
        return None
    rng = np.random.default_rng(digest(seed, "background box", key))
    place = int(rng.choice(len(places), p=areas / areas.sum()))
    rows, columns = room[place]
    aspect = float(rng.uniform(_LEAST_ASPECT, max(_LEAST_ASPECT, _ASPECT_OF_CHARACTER * max_length)))
    largest = min(rows, columns / aspect)
    tall = max(_MIN_SIDE, round(rng.uniform(0.4, 1.0) * largest))
    wide = min(columns, max(_MIN_SIDE, round(tall * aspect)))
    y, x = (int(rng.integers(space + 1)) for space in (rows - tall, columns - wide))
    ymin, xmin = places[place][0] + y, places[place][1] + x
    return BoundingBox(ymin, xmin, ymin + tall, xmin + wide)
