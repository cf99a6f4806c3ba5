"""Feature maps: what each convolution puts out for one image, as one picture per layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.inside.draw import best_factor, grey, tiles, wrap
from trainer.inside.forward import layer_outputs
from trainer.inside.layers import convolutions

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class FeatureMaps:
    """The output of one convolution for an image, with the activation that is part of the layer.

    Attributes:
      layer: Name of the layer.
      image: Maps in grey, channel by channel in `columns` columns, row by row, with white lines between them:
        (height, width, 1) uint8. All maps share one scale, so that a channel that responds weakly is even. Places
        after the last map are white.
      low: Value that is black: the smallest of all maps.
      high: Value that is white: the largest of all maps.
      shape: Shape of the output: height, width, channels.
      factor: Side of a value in the picture, pixels.
      columns: Number of maps in a row.
    """

    layer: str
    image: NDArray[np.uint8]
    low: float
    high: float
    shape: tuple[int, ...]
    factor: int
    columns: int


def feature_maps(model: keras.Model, image: NDArray[np.uint8]) -> list[FeatureMaps]:
    """Returns the feature maps of each convolution of images, in the order of the layers; none without a convolution.

    Args:
      model: Model.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Raises:
      UserError: The image is not one of the model.
    """
    names = [layer.name for layer in convolutions(model)]
    outputs = layer_outputs(model, names, image[None]) if names else {}
    return [_maps(name, outputs[name][0]) for name in names]


def _maps(name: str, values: NDArray[np.float32]) -> FeatureMaps:
    """Returns the picture of a layer's output (height, width, channels)."""
    height, width, _ = values.shape
    low, high = float(values.min()), float(values.max())
    cells = wrap(grey(values, low, high).transpose(2, 0, 1))
    rows, columns = cells.shape[:2]
    factor = best_factor((rows, columns), (height, width))
    return FeatureMaps(name, tiles(cells, factor), low, high, values.shape, factor, columns)
