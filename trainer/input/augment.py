"""What is done to training pictures on the device: random window and warp, contrast, colours.

The random numbers are arguments, drawn for the global batch where the data is read: a
picture is changed in the same way on whichever replica it lands. It runs on every backend
of Keras, with the same values.
"""

import math
from typing import Any

import keras
from keras import ops

from trainer.run.config import AugmentConfig

_WARP_NUMBERS = 6
"""The window's place (2), zoom, stretch, turn, shear."""

Tensor = Any
"""A tensor of whichever backend Keras runs on."""


def numbers_needed(channels: int) -> int:
    """Returns how many uniform random numbers `augment` takes for each picture."""
    return _WARP_NUMBERS + 2 + 2 * channels


def augment(images: Tensor, size: int, config: AugmentConfig, uniform: Tensor) -> Tensor:
    """Returns training pictures: a random window, warped and recoloured.

    Args:
      images: (batch, height, width, channels) uint8, height and width at least `size`.
      size: of the window, pixels.
      config: how much form and colours change.
      uniform: (batch, `numbers_needed(channels)`) float32, 0 to below 1.

    Returns:
      (batch, size, size, channels) float32, about 0..255 but not clipped.
    """
    if config.moves_pixels:
        windows = warped_window(images, size, config, uniform[:, :_WARP_NUMBERS])
    else:
        windows = ops.cast(random_window(images, size, uniform[:, :2]), "float32")
    return recolour(windows, config, uniform[:, _WARP_NUMBERS:])


def centre_window(images: Tensor, size: int) -> Tensor:
    """Returns the middle (batch, size, size, channels) of uint8 pictures, as float32 0..255."""
    _, height, width, _ = ops.shape(images)
    top, left = (height - size) // 2, (width - size) // 2
    return ops.cast(images[:, top : top + size, left : left + size], "float32")


def window_places(count: int) -> list[tuple[float, float]]:
    """Returns places of windows for `random_window`, evenly spread: (y, x), each 0 to below 1.

    The sequence of Roberts' plastic number: any first few of it lie far from each other, and
    unlike a grid it is there for every count.
    """
    plastic = 1.32471795724474602596
    return [((0.5 + index / plastic) % 1, (0.5 + index / plastic**2) % 1) for index in range(1, count + 1)]


def random_window(images: Tensor, size: int, uniform: Tensor) -> Tensor:
    """Returns the (batch, size, size, channels) window of each picture whose place is `uniform` (batch, 2): y, x."""
    turned = ops.transpose(_rows(images, size, uniform[:, :1]), (0, 2, 1, 3))
    return ops.transpose(_rows(turned, size, uniform[:, 1:]), (0, 2, 1, 3))


def _rows(images: Tensor, size: int, uniform: Tensor) -> Tensor:
    """Returns `size` rows of each picture from where its number in `uniform` (batch, 1) says."""
    count, height, width, channels = ops.shape(images)
    first = ops.cast(uniform * ops.cast(height - size + 1, "float32"), "int32")
    places = first + height * ops.expand_dims(ops.arange(count), 1) + ops.arange(size)
    # Rows are taken whole: by pixels it would be slower, and on GPUs TensorFlow counts int32 on the host.
    rows = ops.take(ops.reshape(images, (-1, width * channels)), places, axis=0)
    return ops.reshape(rows, (-1, size, width, channels))


def warped_window(images: Tensor, size: int, config: AugmentConfig, uniform: Tensor) -> Tensor:
    """Returns each picture's random window, zoomed, stretched, turned and sheared about its middle.

    Window and warp are one bilinear resampling: two would blur twice. Outside the picture
    its edge goes on.

    Args:
      images: (batch, height, width, channels) uint8.
      size: of the window, pixels.
      config: how much.
      uniform: (batch, 6) float32, 0 to below 1; 0.5 is no change, or the middle.

    Returns:
      (batch, size, size, channels) float32, 0..255.
    """
    _, height, width, _ = ops.shape(images)
    middle = (size - 1) / 2
    centre_y = uniform[:, 0] * ops.cast(height - size, "float32") + middle
    centre_x = uniform[:, 1] * ops.cast(width - size, "float32") + middle
    zoom, stretch, turn, shear = ops.unstack(2 * uniform[:, 2:] - 1, 4, axis=1)
    taller = ops.exp(zoom * math.log1p(config.zoom) + stretch * math.log1p(config.stretch) / 2)
    wider = ops.exp(zoom * math.log1p(config.zoom) - stretch * math.log1p(config.stretch) / 2)
    turn, shear = turn * math.radians(config.rotate), shear * config.shear
    # Where in the stored picture a step right or down in the window leads.
    right_x, right_y = ops.cos(turn) / wider, ops.sin(turn) / wider
    down_x = (shear * ops.cos(turn) - ops.sin(turn)) / taller
    down_y = (shear * ops.sin(turn) + ops.cos(turn)) / taller
    origin_x = centre_x - middle * (right_x + down_x)
    origin_y = centre_y - middle * (right_y + down_y)
    resample = _resample_in_tensorflow if keras.backend.backend() == "tensorflow" else resample_by_gathers
    return resample(ops.cast(images, "float32"), size, (right_x, down_x, origin_x, right_y, down_y, origin_y))


def _resample_in_tensorflow(images: Tensor, size: int, steps: tuple[Tensor, ...]) -> Tensor:
    """Does what `resample_by_gathers` does, to the bit, in a third of its time on a CPU."""
    import tensorflow as tf

    none = ops.zeros_like(steps[0])
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=ops.stack([*steps, none, none], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, (None, size, size, images.shape[-1]))


def resample_by_gathers(images: Tensor, size: int, steps: tuple[Tensor, ...]) -> Tensor:
    """Returns windows of pictures, each along lines of its own, with bilinear interpolation.

    Keras has `ops.image.affine_transform`, but in PyTorch it goes from picture to picture (3.15).

    Args:
      images: (batch, height, width, channels) float32.
      size: of the windows, pixels.
      steps: each (batch,) float32, pixels of the picture: x right, x down, x of the window's first pixel, and y so.

    Returns:
      (batch, size, size, channels) float32; outside the picture its edge goes on.
    """
    count, height, width, channels = ops.shape(images)
    right_x, down_x, origin_x, right_y, down_y, origin_y = (ops.reshape(step, (-1, 1, 1)) for step in steps)
    along = ops.arange(size, dtype="float32")
    right, down = ops.reshape(along, (1, 1, -1)), ops.reshape(along, (1, -1, 1))
    x = ops.clip(right_x * right + down_x * down + origin_x, 0.0, width - 1.0)
    y = ops.clip(right_y * right + down_y * down + origin_y, 0.0, height - 1.0)
    left, top = ops.cast(ops.floor(x), "int32"), ops.cast(ops.floor(y), "int32")
    next_left, next_top = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    pixels = ops.reshape(images, (-1, channels))
    first_row = height * ops.reshape(ops.arange(count), (-1, 1, 1))

    share_x, share_y = (ops.expand_dims(value - ops.floor(value), -1) for value in (x, y))

    def mix_along_x(row: Tensor) -> Tensor:
        start = (first_row + row) * width
        first, second = (ops.take(pixels, start + column, axis=0) for column in (left, next_left))
        return (1 - share_x) * first + share_x * second

    return (1 - share_y) * mix_along_x(top) + share_y * mix_along_x(next_top)


def recolour(images: Tensor, config: AugmentConfig, uniform: Tensor) -> Tensor:
    """Returns pictures with contrast, brightness and colours changed.

    Args:
      images: (batch, height, width, channels) float32, 0..255.
      config: how much.
      uniform: (batch, 2 + 2 * channels): one number for inversion, one for the contrast of all
        channels, and for each channel one for its contrast and one for its brightness.
    """
    channels = images.shape[-1]
    inverted, shared, single, shift = ops.split(uniform[:, None, None, :], [1, 2, 2 + channels], axis=-1)
    images = ops.where(inverted < config.invert, 255.0 - images, images)
    # A channel's own contrast varies half as much as the picture's: light has a colour, but not any.
    gain = ops.exp(math.log1p(config.gain) * ((2 * shared - 1) + (single - 0.5)))
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * gain + mean + config.shift * (2 * shift - 1)
