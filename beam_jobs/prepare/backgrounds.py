"""Crops without a digit, beside the number of a picture: examples of what is no number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beam_jobs.prepare.assign import digest
from tfrecords.images.crop import BoundingBox, union

MARK = "#background"
"""Between the key of a number and the index of the window, in the keys of crops without a digit."""
_MIN_SIDE = 8
"""Smallest height and width of a crop, pixels: smaller ones are one colour."""
_LEAST_ASPECT, _ASPECT_OF_CHARACTER = 0.7, 0.5
"""Width of a crop in heights: the least, that of numbers of one digit, and of each character of the longest number."""
_BUSY, _TRIES = 0.5, 6
"""Share of the pictures whose box is the one with the most contrast, and of how many."""


def has_background(key: str, seed: int, share: float) -> bool:
    """Returns whether a picture is one of the `share` of pictures that give a crop without a digit, if one fits."""
    return digest(seed, "background", key) < share * 2**64


def background_box(
    key: str, seed: int, boxes: Sequence[BoundingBox], picture: NDArray[np.uint8], max_length: int
) -> BoundingBox | None:
    """Returns a random box that no digit's box reaches into; None if none of at least 8 x 8 pixels fits.

    The box lies left or right of all digits, above or below them: a place with more room is more probable. For half of
    the pictures it is the one of `_TRIES` with the most contrast, where letters, edges and leaves are: most boxes are
    plain wall, which no model takes for a number for long.

    Args:
      key: Key of the picture, from which the box follows.
      seed: Random seed of the dataset.
      boxes: Boxes of all digits in the picture.
      picture: Pixels, (height, width, channels) uint8.
      max_length: Characters of the dataset's longest number, as wide as which the box may be.
    """
    height, width = picture.shape[:2]
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
    tries = _TRIES if rng.random() < _BUSY else 1
    chosen = rng.choice(len(places), tries, p=areas / areas.sum())
    found = [_box_in(rng, places[place], max_length) for place in chosen]
    return max(found, key=lambda box: _contrast(picture, box))


def _box_in(rng: np.random.Generator, place: tuple[int, int, int, int], max_length: int) -> BoundingBox:
    """Returns a random box in a place: its first row and column, and those after its last."""
    top, left, bottom, right = place
    rows, columns = bottom - top, right - left
    aspect = float(rng.uniform(_LEAST_ASPECT, max(_LEAST_ASPECT, _ASPECT_OF_CHARACTER * max_length)))
    largest = min(rows, columns / aspect)
    tall = max(_MIN_SIDE, round(rng.uniform(0.4, 1.0) * largest))
    wide = min(columns, max(_MIN_SIDE, round(tall * aspect)))
    y, x = (int(rng.integers(space + 1)) for space in (rows - tall, columns - wide))
    return BoundingBox(top + y, left + x, top + y + tall, left + x + wide)


def _contrast(picture: NDArray[np.uint8], box: BoundingBox) -> float:
    """Returns the deviation of the pixels in a box whose edges are whole numbers."""
    top, left, bottom, right = map(int, box)
    # Exact in float64, so that every machine chooses the same box.
    values = picture[top:bottom, left:right].astype(np.int64)
    return float(values.size * (values * values).sum() - values.sum() ** 2) / values.size**2
