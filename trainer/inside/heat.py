"""The heat map of a model that finds numbers: where it sees the centre of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.inside.forward import layer_outputs

if TYPE_CHECKING:
    import keras

_HEAT = "heat_logits"


def heat_map(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the probability that a number has its centre at each place.

    Args:
      model: Model that finds numbers.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Returns:
      (rows, columns) float32, 0..1.

    Raises:
      UserError: The image is not one of the model.
    """
    logits = layer_outputs(model, [_HEAT], image[None])[_HEAT][0, ..., 0]
    # Both tails without overflow.
    heat: NDArray[np.float32] = np.exp(-np.logaddexp(0, -logits.astype(np.float64))).astype(np.float32)
    return heat


def over_pixels(heat: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Returns the probability of the place that each pixel of an image belongs to: (height, width) float32.

    Args:
      heat: Probabilities, (rows, columns).
      shape: Height and width of the image, pixels.
    """
    rows, columns = (
        (np.arange(side) * places // side).clip(0, places - 1) for side, places in zip(shape, heat.shape, strict=True)
    )
    return heat[np.ix_(rows, columns)]
