"""Attention maps of `compact`: where in the image it looks for the character of each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.inside.forward import layer_outputs

if TYPE_CHECKING:
    import keras

_ATTENTION = "attention"
_FEATURES = "features"
"""Layers of `compact`: the weights of the places, (positions, places), and the features at the places, whose input is
the last feature map."""


def attention_weights(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Returns the weight of each place of the last feature map for each position, or None without attention.

    Args:
      model: Model.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Returns:
      (positions, rows, columns) float32, 0..1, whose sum is 1 for each position.

    Raises:
      UserError: The image is not one of the model.
    """
    if not {_ATTENTION, _FEATURES} <= {layer.name for layer in model.layers}:
        return None
    _, rows, columns, _ = model.get_layer(_FEATURES).input.shape
    weights = layer_outputs(model, [_ATTENTION], image[None])[_ATTENTION]
    return weights.reshape(-1, rows, columns)


def attention_maps(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Returns the attention of each position over the pixels of an image, or None without attention.

    The weights are interpolated between the centres of the places. Each map is then divided by its largest value, so
    that maps of different positions have the same range and not the same sum.

    Args:
      model: Model.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Returns:
      (positions, height, width) float32, 0..1.

    Raises:
      UserError: The image is not one of the model.
    """
    from keras import ops

    weights = attention_weights(model, image)
    if weights is None:
        return None
    large = ops.image.resize(weights[..., None], image.shape[:2], "bilinear", data_format="channels_last")
    maps = ops.convert_to_numpy(large)[..., 0]
    scaled: NDArray[np.float32] = maps / maps.max(axis=(1, 2), keepdims=True)
    return scaled
