"""Annotations and the sizes of their pictures to statistics: the geometry of a block, all boxes at once."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import BOX_OUTSIDE, Annotation
from beam_jobs.explore.statistics import (
    ASPECT_BIN,
    BIN_DEGREES,
    MILLIONTHS,
    SIDES,
    TAILS_DEGREES,
    VERTICAL_DEGREES,
    Statistics,
    count_values,
)
from tfrecords.images.crop import Shape

_LARGEST = 1e9
"""Largest side of a box that is told from larger ones, pixels."""


def measure(annotations: Sequence[Annotation], sizes: Sequence[Shape | None], growth: float) -> Statistics:
    """Returns the statistics of annotations of which none is rejected, without the number of entries.

    Args:
      annotations: Annotations.
      sizes: Height and width of the picture of each, pixels; None if it is not known.
      growth: Growth of the union of the boxes, as a fraction of its size, as of `CropSpec`.
    """
    found = Statistics()
    # A picture counts with the first of its numbers.
    found.sizes = Counter(size for one, size in zip(annotations, sizes, strict=True) if size and one.part <= 1)
    found.pictures = sum(found.sizes.values())
    texts = [annotation.text for annotation in annotations]
    found.characters = Counter("".join(texts))
    found.lengths = Counter(map(len, filter(None, texts)))
    found.unlabelled = texts.count("")
    placed = [annotation.placed for annotation in annotations]
    counts = np.array([len(boxes) for boxes in placed], np.int64)
    if counts.any():
        edges = np.array([edge for boxes in placed for box in boxes for edge in box], np.float64).reshape(-1, 4)
        _add_boxes(found, edges)
        _add_slopes(found, slopes(edges, counts[counts > 0]))
        _add_crops(
            found, edges, counts[counts > 0], [size for size, boxes in zip(sizes, placed, strict=True) if boxes], growth
        )
    return found


def slopes(edges: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the slope of each number of two or more characters: (numbers,) float64, degrees, -180..180.

    The slope is that of the line from the centre of the first character's box to the centre of the last one's, in
    reading order: positive where the number rises, above 90 or below -90 where it is read from right to left. A line
    through all centres by least squares would have no direction, and no slope where they are above each other.

    Args:
      edges: Boxes of all numbers, (boxes, 4) float64, in pixels: ymin, xmin, ymax, xmax.
      counts: Number of boxes of each number, above 0.
    """
    last = np.cumsum(counts) - 1
    first = last - counts + 1
    several = counts > 1
    y, x = (edges[:, 0] + edges[:, 2]) / 2, (edges[:, 1] + edges[:, 3]) / 2
    rise, run = (y[first] - y[last])[several], (x[last] - x[first])[several]
    angles: NDArray[np.float64] = np.degrees(np.arctan2(rise, run))
    return angles


def _add_slopes(found: Statistics, angles: NDArray[np.float64]) -> None:
    found.slopes = count_values(np.floor(angles / BIN_DEGREES).astype(np.int64))
    for limit in TAILS_DEGREES:
        found.tails[limit] = int((angles > limit).sum())
        found.tails[-limit] = int((angles < -limit).sum())
    found.upwards = int((np.abs(angles - 90) < VERTICAL_DEGREES).sum())
    found.downwards = int((np.abs(angles + 90) < VERTICAL_DEGREES).sum())


def _add_boxes(found: Statistics, edges: NDArray[np.float64]) -> None:
    height, width = (np.clip(edges[:, axis + 2] - edges[:, axis], 0, _LARGEST) for axis in (0, 1))
    found.box_heights = count_values(np.rint(height).astype(np.int64))
    found.box_widths = count_values(np.rint(width).astype(np.int64))
    aspect = np.clip(width / np.maximum(height, 1 / _LARGEST), 0, _LARGEST)
    found.box_aspects = count_values(np.floor(aspect / ASPECT_BIN + 1e-9).astype(np.int64))


def _add_crops(
    found: Statistics,
    edges: NDArray[np.float64],
    counts: NDArray[np.int64],
    sizes: Sequence[Shape | None],
    growth: float,
) -> None:
    """Adds how much of each grown union of boxes lies outside its picture, and rejects numbers that do themselves."""
    starts = np.cumsum(counts) - counts
    # Where the size is not known, nothing is outside.
    limits = np.array([size or (np.inf, np.inf) for size in sizes], np.float64)
    of_box = np.repeat(limits, counts, axis=0)
    outside = np.logical_or.reduceat(((edges[:, :2] >= of_box) | (edges[:, 2:] <= 0)).any(1), starts)
    if outside.any():
        found.rejected[BOX_OUTSIDE] = int(outside.sum())
    used = np.isfinite(limits[:, 0]) & ~outside
    low = np.minimum.reduceat(edges[:, :2], starts)[used]
    high = np.maximum.reduceat(edges[:, 2:], starts)[used]
    margin = (high - low) * growth / 2
    low, high, limits = low - margin, high + margin, limits[used]
    inside = np.clip(np.minimum(high, limits) - np.maximum(low, 0), 0, None)
    # The share of each side, since the area of a box of any size may be too large a number.
    share = 1 - (inside / np.maximum(high - low, 1 / _LARGEST)).clip(0, 1).prod(1)
    # Rounding takes a little off a box that is inside.
    millionths = np.rint(share * MILLIONTHS).astype(np.int64)
    found.crops = len(millionths)
    found.cut = count_values(-(-millionths * 100 // MILLIONTHS))
    found.cut_millionths = int(millionths.sum())
    beyond = (low[:, 1] < 0, low[:, 0] < 0, high[:, 1] > limits[:, 1], high[:, 0] > limits[:, 0])
    found.cut_sides = Counter({side: int(cut.sum()) for side, cut in zip(SIDES, beyond, strict=True)})
