"""Peaks of the heat map of a model that finds numbers, with their boxes. Pure keras.ops."""

from typing import Any

from keras import ops

from trainer.finding.losses import place_boxes, take_places

MOST_PEAKS = 20
"""Peaks that are looked at in a picture, the hottest ones."""
_NEIGHBOURHOOD = 3
"""Rows and columns of places in which a peak is the hottest."""

Tensor = Any
"""Tensor of the backend that Keras runs on."""


def peaks(outputs: dict[str, Tensor], stride: int) -> tuple[Tensor, Tensor]:
    """Returns the hottest peaks of each heat map, the hottest first.

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
