"""Targets of a model that finds numbers: a heat map of their centres, and the box that each place is to predict.

A number is a Gaussian around the place with its centre, as wide and high as its box demands (training-time-friendly
network, TTFNet, Liu et al. 2020, arXiv 1909.00700, section 4): numbers are wide, and round Gaussians would not be.
"""

from typing import Any, NamedTuple

from keras import ops

_DEVIATION = 0.54 / 6
"""Standard deviation of the Gaussian over the side of the box (TTFNet, section 4.1)."""
_LEAST_DEVIATION = 0.5
"""Smallest standard deviation, places: the next place then has 0.14."""
_LEAST_WEIGHT = 0.1
"""Value of the Gaussian from which a place in the box predicts it."""

Tensor = Any
"""Tensor of the backend that Keras runs on."""


class Targets(NamedTuple):
    """What a model is to predict at each place.

    Attributes:
      heat: 1 at the place with a number's centre, falling to 0 around it: (batch, rows, columns) float32.
      is_counted: Whether the place counts for the heat map: (batch, rows, columns) boolean.
      boxes: ymin, xmin, ymax, xmax of the number that the place belongs to, pixels: (batch, rows, columns, 4) float32.
      weight: Weight of the place's box; those of a number add up to 1: (batch, rows, columns) float32.
    """

    heat: Tensor
    is_counted: Tensor
    boxes: Tensor
    weight: Tensor


def make_targets(boxes: Tensor, is_number: Tensor, is_ignored: Tensor, size: tuple[int, int], stride: int) -> Targets:
    """Returns the targets of images.

    Args:
      boxes: ymin, xmin, ymax, xmax of the numbers in pixels, padded with any values: (batch, most, 4) float32.
      is_number: Whether a box is of a number to find: (batch, most) boolean.
      is_ignored: Whether the places in a box count neither as a number nor as none: (batch, most) boolean.
      size: Rows and columns of places.
      stride: Pixels per place.
    """
    each = _gaussians(boxes, size, stride) * _per_place(is_number)
    heat, owner = ops.max(each, axis=1), ops.cast(ops.argmax(each, axis=1), "int32")
    # A place belongs to the number that it is hottest for.
    is_owner = ops.cast(ops.arange(boxes.shape[1], dtype="int32")[None, :, None, None] == owner[:, None], "float32")
    chosen = ops.einsum("bnrc,bne->brce", is_owner, boxes)
    # From a place beside the box, the distances to its edges would not be positive.
    inside = _inside(boxes, size, stride)
    predicts = ops.logical_or(ops.logical_and(each >= _LEAST_WEIGHT, inside), each >= 1.0)
    owned = ops.where(predicts, is_owner * each, 0.0)
    total = ops.sum(owned, axis=(2, 3), keepdims=True)
    weight = ops.sum(owned / ops.maximum(total, 1e-6), axis=1)
    in_ignored = ops.any(ops.logical_and(inside, _per_place(is_ignored, "bool")), axis=1)
    is_counted = ops.logical_or(ops.logical_not(in_ignored), heat >= _LEAST_WEIGHT)
    return Targets(heat, is_counted, chosen, weight)


def centre_places(boxes: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """Returns the row and the column of the place with each box's centre: (batch, most) int32 each."""
    middles = (boxes[..., :2] + boxes[..., 2:]) / (2.0 * stride)
    places = [ops.clip(ops.floor(middles[..., axis]), 0, size[axis] - 1) for axis in (0, 1)]
    row, column = (ops.cast(place, "int32") for place in places)
    return row, column


def _gaussians(boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Returns the Gaussian of each box, 1 at the place with its centre: (batch, most, rows, columns) float32."""
    falling = []
    for axis, place in enumerate(centre_places(boxes, size, stride)):
        side = (boxes[..., axis + 2] - boxes[..., axis]) / stride
        deviation = ops.maximum(side * _DEVIATION, _LEAST_DEVIATION)[..., None]
        away = ops.arange(size[axis], dtype="float32") - ops.cast(place, "float32")[..., None]
        falling.append(ops.exp(-ops.square(away / deviation) / 2))
    return falling[0][..., :, None] * falling[1][..., None, :]


def _inside(boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Returns whether the middle of each place is in each box: (batch, most, rows, columns) boolean."""
    within = []
    for axis in (0, 1):
        middle = (ops.arange(size[axis], dtype="float32") + 0.5) * stride
        within.append(ops.logical_and(middle >= boxes[..., axis, None], middle < boxes[..., axis + 2, None]))
    return ops.logical_and(within[0][..., :, None], within[1][..., None, :])


def _per_place(flags: Tensor, dtype: str = "float32") -> Tensor:
    return ops.cast(flags, dtype)[:, :, None, None]
