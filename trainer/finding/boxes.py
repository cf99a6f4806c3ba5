"""The numbers found in a picture: boxes of peaks above a threshold, each number once. NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox

SAME_IOU = 0.5
"""IoU from which two boxes are taken for one number."""
PART = 0.8
"""Share of the smaller of two boxes in the other one from which it is taken for a part of that number, or for it with
its surroundings: numbers are not in numbers."""


@dataclass(frozen=True)
class Found:
    """A number that was found in a picture.

    Attributes:
      box: Box of the number, pixels.
      confidence: Probability of a number there, 0..1.
    """

    box: BoundingBox
    confidence: float


def select(
    boxes: NDArray[np.float32],
    confidence: NDArray[np.float32],
    size: tuple[float, float],
    threshold: float,
    scale: Sequence[float] | NDArray[np.float64] = (1.0, 1.0, 1.0, 1.0),
) -> list[Found]:
    """Returns the numbers of one picture, the most confident first, each once.

    Args:
      boxes: Boxes of the peaks in pixels of the image: (peaks, 4).
      confidence: Their probabilities, in falling order: (peaks,).
      size: Height and width of the picture in the image's upper left corner, pixels of the image.
      threshold: Least probability of a number.
      scale: Pixels of the image per pixel of the picture, of each edge of a box; the boxes returned are divided by it.
    """
    kept: list[Found] = []
    for edges, probability in zip(boxes.tolist(), confidence.tolist(), strict=True):
        box = BoundingBox(*edges).clip(*size)
        if probability < threshold or box.height <= 0 or box.width <= 0:
            continue
        box = BoundingBox(*(float(edge / each) for edge, each in zip(box, scale, strict=True)))
        if not any(_is_same(box, other.box) for other in kept):
            kept.append(Found(box, probability))
    return kept


def box_iou(first: BoundingBox, second: BoundingBox) -> float:
    """Returns the intersection over union of two boxes with an area: 0..1."""
    shared = _shared(first, second)
    return shared / (first.height * first.width + second.height * second.width - shared)


def _is_same(first: BoundingBox, second: BoundingBox) -> bool:
    """Returns whether two boxes are of one number."""
    smaller = min(first.height * first.width, second.height * second.width)
    return box_iou(first, second) >= SAME_IOU or _shared(first, second) >= PART * smaller


def _shared(first: BoundingBox, second: BoundingBox) -> float:
    """Returns the area of the intersection."""
    height = min(first.ymax, second.ymax) - max(first.ymin, second.ymin)
    width = min(first.xmax, second.xmax) - max(first.xmin, second.xmin)
    return max(height, 0.0) * max(width, 0.0)
