"""The picture of all kernels: each weight, sliced by hand, is at its place."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from tests.small_network import small
from trainer.inside.kernels import KernelGrid, kernel_grids, layers_without_picture


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


def check_grid(grid: KernelGrid, kernel: NDArray[np.float32], is_depthwise: bool = False) -> None:
    """Compares each weight, sliced by hand, with its pixels, and the rest with the lines."""
    assert grid.shape == kernel.shape and (grid.low, grid.high) == (kernel.min(), kernel.max())
    height, width, factor = *kernel.shape[:2], grid.factor
    is_one_row = kernel.shape[3 if is_depthwise else 2] == 1
    line = max(1, factor // 4)
    rest = grid.image[..., 0].astype(int)
    for y, x, source, target in np.ndindex(kernel.shape):
        row, column = (target, source) if is_depthwise else (source, target)
        if is_one_row:
            row, column = divmod(column, grid.drawn[1])
        top = line + row * (height * factor + line) + y * factor
        left = line + column * (width * factor + line) + x * factor
        pixels = rest[top : top + factor, left : left + factor]
        share = (float(kernel[y, x, source, target]) - grid.low) / (grid.high - grid.low)
        assert pixels.shape == (factor, factor) and (pixels == round(share * 255)).all()
        pixels[:] = 1000
    assert set(rest.ravel().tolist()) == {255, 1000}
    assert (rest == 1000).sum() == kernel.size * factor**2
    assert np.prod(grid.drawn) >= kernel.shape[2] * kernel.shape[3]


def test_every_weight_of_every_kind_of_convolution_is_at_its_place(model: keras.Model) -> None:
    grids = {grid.layer: grid for grid in kernel_grids(model)}
    kernel = {name: model.get_layer(name).weights[0].numpy() for name in ("first", "deep", "apart", "back")}
    assert list(grids) == ["first", "deep", "apart depthwise", "apart pointwise", "back"]
    check_grid(grids["first"], kernel["first"])
    check_grid(grids["deep"], kernel["deep"], is_depthwise=True)
    check_grid(grids["apart depthwise"], kernel["apart"], is_depthwise=True)
    check_grid(grids["apart pointwise"], model.get_layer("apart").weights[1].numpy())
    # Keras stores the outputs of a transposed convolution before its inputs.
    check_grid(grids["back"], kernel["back"].transpose(0, 1, 3, 2))
    assert layers_without_picture(model) == []


@pytest.mark.parametrize(
    ("size", "channels", "factor", "side"),
    # At 8 pixels a weight and 2 a line, 32 kernels of 3x3 would be 834 pixels wide.
    [(3, 32, 7, 32 * (3 * 7 + 1) + 1), (5, 192, 1, 192 * (5 + 1) + 1), (1, 8, 16, 8 * (16 + 4) + 4)],
)
def test_a_grid_is_one_picture_of_a_useful_size(size: int, channels: int, factor: int, side: int) -> None:
    images = keras.Input((8, 8, channels))
    (grid,) = kernel_grids(keras.Model(images, layers.Conv2D(channels, size)(images)))
    assert grid.image.dtype == np.uint8 and grid.drawn == (channels, channels)
    assert (grid.factor, grid.image.shape) == (factor, (side, side, 1))


def test_a_grid_that_is_too_large_states_what_it_shows() -> None:
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, layers.Conv2D(40, 3, name="conv")(images))
    whole = kernel_grids(model, most_side=161)[0]
    assert whole.drawn == (3, 40)
    (part,) = kernel_grids(model, most_side=160)
    assert part.drawn == (3, 39) and part.shape == (3, 3, 3, 40)
    kernel = model.get_layer("conv").weights[0].numpy()
    assert (part.low, part.high) == (kernel.min(), kernel.max())
    assert (part.factor, max(part.image.shape)) == (1, 39 * 4 + 1)


def test_a_kernel_of_equal_weights_is_black() -> None:
    images = keras.Input((8, 8, 1))
    (grid,) = kernel_grids(keras.Model(images, layers.Conv2D(1, 2, kernel_initializer="ones")(images)))
    assert (grid.low, grid.high) == (1, 1) and not grid.image[4:-4, 4:-4].any()


def test_the_kernels_of_grey_images_are_wrapped_into_rows() -> None:
    images = keras.Input((8, 8, 1))
    model = keras.Model(images, layers.Conv2D(7, (3, 2), name="conv")(images))
    (grid,) = kernel_grids(model)
    assert grid.drawn == (3, 3)
    check_grid(grid, model.get_layer("conv").weights[0].numpy())
