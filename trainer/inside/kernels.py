"""All kernels of a convolution as one grey picture with a shared scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.inside.draw import best_factor, gap, grey, tiles, wrap
from trainer.inside.layers import convolutions

if TYPE_CHECKING:
    import keras

MOST_SIDE = 2000
"""Largest side of a picture, pixels."""


@dataclass(frozen=True)
class KernelGrid:
    """The kernels of one convolution.

    Attributes:
      layer: Name of the layer; for one with two kernels, followed by the name of the kernel.
      image: Kernels in grey, a row per input channel and a column per output channel, with white lines between them:
        (height, width, 1) uint8. A depthwise kernel, whose channels do not mix, has a column per input channel and a
        row per output of it. A single row is wrapped into several, and places after the last kernel are white.
      low: Weight that is black: the smallest of the kernels.
      high: Weight that is white: the largest of the kernels.
      shape: Shape of the kernels: height, width, inputs, outputs.
      factor: Side of a weight in the picture, pixels.
      drawn: Number of rows and columns in the picture. Where their product is below that of inputs and outputs, the
        other kernels do not fit.
    """

    layer: str
    image: NDArray[np.uint8]
    low: float
    high: float
    shape: tuple[int, ...]
    factor: int
    drawn: tuple[int, int]


def kernel_grids(model: keras.Model, most_side: int = MOST_SIDE) -> list[KernelGrid]:
    """Returns a picture of the kernels of each convolution of images, in the order of the layers.

    Args:
      model: Model with weights.
      most_side: Largest side of a picture, pixels; what does not fit is left out, as `KernelGrid.drawn` states.
    """
    return [
        _grid(name, kernel, is_depthwise, most_side)
        for layer in convolutions(model)
        for name, kernel, is_depthwise in _kernels(layer)
    ]


def layers_without_picture(model: keras.Model) -> list[str]:
    """Returns the names of layers with windows of weights that `kernel_grids` does not draw.

    They are convolutions of other than two dimensions, and layers with other weights at each location.
    """
    drawn = {layer.name for layer in convolutions(model)}
    return [
        layer.name
        for layer in model.layers
        if layer.name not in drawn
        and any(weight.name.endswith("kernel") and len(weight.shape) > 2 for weight in layer.weights)
    ]


def _kernels(layer: keras.layers.Layer) -> list[tuple[str, NDArray[np.float32], bool]]:
    """Returns name, weights (height, width, inputs, outputs) and whether they are depthwise, of a layer's kernels."""
    from keras import layers, ops

    if isinstance(layer, layers.SeparableConv2D):
        deep, pointwise = ops.convert_to_numpy(layer.depthwise_kernel), ops.convert_to_numpy(layer.pointwise_kernel)
        return [(f"{layer.name} depthwise", deep, True), (f"{layer.name} pointwise", pointwise, False)]
    kernel = ops.convert_to_numpy(layer.kernel)
    if isinstance(layer, layers.Conv2DTranspose):
        kernel = kernel.transpose(0, 1, 3, 2)
    return [(layer.name, kernel, isinstance(layer, layers.DepthwiseConv2D))]


def _grid(name: str, kernel: NDArray[np.float32], is_depthwise: bool, most_side: int) -> KernelGrid:
    low, high = float(kernel.min()), float(kernel.max())
    height, width = kernel.shape[:2]
    cells = grey(kernel.transpose((3, 2, 0, 1) if is_depthwise else (2, 3, 0, 1)), low, high)
    cells = wrap(cells[0]) if len(cells) == 1 else cells
    drawn = min(cells.shape[0], _fitting(height, most_side)), min(cells.shape[1], _fitting(width, most_side))
    factor = best_factor(drawn, (height, width), most_side)
    picture = tiles(cells[: drawn[0], : drawn[1]], factor)
    return KernelGrid(name, picture, low, high, kernel.shape, factor, drawn)


def _fitting(side: int, most_side: int) -> int:
    """Returns how many kernels of `side` weights fit into a picture, at one pixel a weight; at least one."""
    return max(1, (most_side - gap(1)) // (side + gap(1)))
