"""The numbers found in a picture: boxes of peaks above a threshold, each number once. NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox

_SAME_IOU = 0.5
"""IoU from which two boxes are taken for one number."""


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
        if all(box_iou(box, other.box) < _SAME_IOU for other in kept):
            kept.append(Found(box, probability))
    return kept


def box_iou(first: BoundingBox, second: BoundingBox) -> float:
    """Returns the intersection over union of two boxes with an area: 0..1."""
    height = min(first.ymax, second.ymax) - max(first.ymin, second.ymin)
    width = min(first.xmax, second.xmax) - max(first.xmin, second.xmin)
    shared = max(height, 0.0) * max(width, 0.0)
    return shared / (first.height * first.width + second.height * second.width - shared)
