"""The loss of a model that finds numbers: focal loss of the heat map, and generalised IoU of the boxes.

The focal loss is that of CenterNet (Zhou et al. 2019, arXiv 1904.07850, equation 1), the generalised intersection over
union that of Rezatofighi et al. 2019 (arXiv 1902.09630), and its weight that of TTFNet (Liu et al. 2020, arXiv
1909.00700, section 4.3). Pure keras.ops.
"""

from typing import Any

from keras import ops

from trainer.finding.targets import Targets, centre_places

_BOX_WEIGHT = 5.0
_FOCUS = 2.0
"""Exponent that lowers the loss of places that are predicted well."""
_NEAR = 4.0
"""Exponent that lowers the loss of places near a centre."""
_MOST_DISTANCE = 8.0
"""Largest logarithm of a distance: 3,000 places, beyond any picture."""
_FOUND = 0.5
"""Probability and IoU from which a number counts as found."""

Tensor = Any
"""Tensor of the backend that Keras runs on."""


def finding_loss(outputs: dict[str, Tensor], targets: Targets, stride: int) -> Tensor:
    """Returns the loss of each picture, divided by its number of numbers if there are several: (batch,) float32.

    Args:
      outputs: `heat_logits` (batch, rows, columns, 1) and `distance_logits` (batch, rows, columns, 4).
      targets: Targets of the pictures.
      stride: Pixels per place.
    """
    heat = focal_loss(outputs["heat_logits"][..., 0], targets)
    overlap = generalised_iou(place_boxes(outputs["distance_logits"], stride), targets.boxes)
    boxes = ops.sum(targets.weight * (1.0 - overlap), axis=(1, 2))
    count = ops.sum(targets.weight, axis=(1, 2))
    return (heat + _BOX_WEIGHT * boxes) / ops.maximum(count, 1.0)


def focal_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Returns the sum of the focal losses of all places that count: (batch,) float32.

    Args:
      logits: (batch, rows, columns) logarithms of the odds of a centre.
      targets: Targets of the pictures.
    """
    probability = ops.sigmoid(logits)
    centre = (1.0 - probability) ** _FOCUS * ops.softplus(-logits)
    other = (1.0 - targets.heat) ** _NEAR * probability**_FOCUS * ops.softplus(logits)
    each = ops.where(targets.heat >= 1.0, centre, other)
    return ops.sum(ops.where(targets.is_counted, each, 0.0), axis=(1, 2))


def place_boxes(distance_logits: Tensor, stride: int) -> Tensor:
    """Returns the box that each place predicts: ymin, xmin, ymax, xmax in pixels, (batch, rows, columns, 4) float32.

    Args:
      distance_logits: Logarithms of the distances up, left, down and right, in places, of the same shape.
      stride: Pixels per place.
    """
    _, rows, columns, _ = ops.shape(distance_logits)
    distances = ops.exp(ops.clip(ops.cast(distance_logits, "float32"), -_MOST_DISTANCE, _MOST_DISTANCE)) * stride
    y, x = ((ops.arange(side, dtype="float32") + 0.5) * stride for side in (rows, columns))
    y, x = y[None, :, None], x[None, None, :]
    edges = (y - distances[..., 0], x - distances[..., 1], y + distances[..., 2], x + distances[..., 3])
    return ops.stack(edges, axis=-1)


def take_places(values: Tensor, places: Tensor) -> Tensor:
    """Returns the values at some places of each picture: (batch, taken, channels).

    Args:
      values: (batch, rows, columns, channels) map.
      places: Indices of places, counted row by row: (batch, taken) int32.
    """
    # `ops.take_along_axis` transposes int64, which oneDNN logs an error for on a CPU without AVX-512 (Keras 3.15).
    batch, rows, columns, channels = ops.shape(values)
    first = rows * columns * ops.arange(batch, dtype="int32")[:, None]
    return ops.take(ops.reshape(values, (-1, channels)), first + places, axis=0)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Returns the generalised IoU of boxes of the shape (..., 4): -1 to 1, of the shape (...).

    Boxes have a height and a width of 0 or more. Two that are empty have 0.
    """
    shared, whole, around = _areas(first, second)
    return shared / ops.maximum(whole, 1e-6) - (around - whole) / ops.maximum(around, 1e-6)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Returns the intersection over union of boxes of the shape (..., 4): 0 to 1, of the shape (...)."""
    shared, whole, _ = _areas(first, second)
    return shared / ops.maximum(whole, 1e-6)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the areas of the intersections, the unions, and the smallest boxes around both."""
    shared = _area(ops.maximum(first[..., :2], second[..., :2]), ops.minimum(first[..., 2:], second[..., 2:]))
    around = _area(ops.minimum(first[..., :2], second[..., :2]), ops.maximum(first[..., 2:], second[..., 2:]))
    whole = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - shared
    return shared, whole, around


def _area(start: Tensor, stop: Tensor) -> Tensor:
    sides = ops.maximum(stop - start, 0.0)
    return sides[..., 0] * sides[..., 1]


def found_pictures(outputs: dict[str, Tensor], boxes: Tensor, is_number: Tensor, stride: int) -> Tensor:
    """Returns whether a model finds all that is in each picture, for progress during training: (batch,) boolean.

    The place with the centre of each number must have a probability of 0.5 and a box of IoU 0.5; in a picture without a
    number, no place may have that probability.

    Args:
      outputs: Outputs of the model, as of `finding_loss`.
      boxes: Boxes of the numbers, (batch, most, 4) float32, pixels.
      is_number: Whether a box is of a number to find: (batch, most) boolean.
      stride: Pixels per place.
    """
    _, rows, columns, _ = ops.shape(outputs["heat_logits"])
    row, column = centre_places(boxes, (rows, columns), stride)
    places = row * columns + column
    heat = ops.sigmoid(outputs["heat_logits"])
    is_hot = take_places(heat, places)[..., 0] >= _FOUND
    is_close = iou(take_places(place_boxes(outputs["distance_logits"], stride), places), boxes) >= _FOUND
    each = ops.logical_or(ops.logical_and(is_hot, is_close), ops.logical_not(is_number))
    is_quiet = ops.logical_or(ops.max(heat, axis=(1, 2, 3)) < _FOUND, ops.any(is_number, axis=1))
    return ops.logical_and(ops.all(each, axis=1), is_quiet)
