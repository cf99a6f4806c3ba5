"""The boxes of the numbers in pictures from the outputs of a model: peaks of its heat map, each number once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox
from trainer.finding.losses import place_boxes, take_places

MOST_PEAKS = 20
"""Peaks that are looked at in a picture, the hottest ones."""
_NEIGHBOURHOOD = 3
"""Rows and columns of places in which a peak is the hottest."""
_SAME_IOU = 0.5
"""IoU from which two boxes are taken for one number."""

Tensor = Any
"""Tensor of the backend that Keras runs on."""


@dataclass(frozen=True)
class Found:
    """A number that was found in a picture.

    Attributes:
      box: Box of the number, pixels.
      confidence: Probability of a number there, 0..1.
    """

    box: BoundingBox
    confidence: float


def peaks(outputs: dict[str, Tensor], stride: int) -> tuple[Tensor, Tensor]:
    """Returns the hottest peaks of each heat map, the hottest first. Pure keras.ops.

    Args:
      outputs: `heat_logits` (batch, rows, columns, 1) and `distance_logits` (batch, rows, columns, 4).
      stride: Pixels per place.

    Returns:
      Boxes in pixels, (batch, peaks, 4) float32, and probabilities, (batch, peaks) float32; 0 where there are fewer
      peaks than `MOST_PEAKS`, or than places.
    """
    logits = outputs["heat_logits"]
    _, rows, columns, _ = ops.shape(logits)
    hottest = ops.max_pool(logits, _NEIGHBOURHOOD, strides=1, padding="same")
    heat = ops.where(logits >= hottest, ops.sigmoid(logits), 0.0)
    confidence, places = ops.top_k(ops.reshape(heat, (-1, rows * columns)), min(MOST_PEAKS, rows * columns))
    return take_places(place_boxes(outputs["distance_logits"], stride), ops.cast(places, "int32")), confidence


def select(
    boxes: NDArray[np.float32],
    confidence: NDArray[np.float32],
    size: tuple[float, float],
    threshold: float,
    scale: float = 1.0,
) -> list[Found]:
    """Returns the numbers of one picture, the most confident first, each once.

    Args:
      boxes: Boxes of the peaks in pixels of the image: (peaks, 4).
      confidence: Their probabilities, in falling order: (peaks,).
      size: Height and width of the picture in the image's upper left corner, pixels of the image.
      threshold: Least probability of a number.
      scale: Pixels of the image per pixel of the picture.
    """
    kept: list[Found] = []
    for edges, each in zip(boxes.tolist(), confidence.tolist(), strict=True):
        box = BoundingBox(*edges).clip(*size)
        if each < threshold or box.height <= 0 or box.width <= 0:
            continue
        box = BoundingBox(*(edge / scale for edge in box))
        if all(box_iou(box, other.box) < _SAME_IOU for other in kept):
            kept.append(Found(box, each))
    return kept


def box_iou(first: BoundingBox, second: BoundingBox) -> float:
    """Returns the intersection over union of two boxes with an area: 0..1."""
    height = min(first.ymax, second.ymax) - max(first.ymin, second.ymin)
    width = min(first.xmax, second.xmax) - max(first.xmin, second.xmin)
    shared = max(height, 0.0) * max(width, 0.0)
    return shared / (first.height * first.width + second.height * second.width - shared)
