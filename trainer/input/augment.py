"""Augmentation of training images on the device: random window, warp, contrast, colours.

The random values are an argument, drawn for the global batch where the data is read. So an image is changed in the
same way on any replica. The functions run on every backend of Keras and give the same values there.
"""

import math
from typing import Any

import keras
from keras import ops

from trainer.run.config import AugmentConfig

_WARP_UNIFORMS = 6
"""Random values of the warp: position of the window (2), zoom, stretch, rotation, shear."""

Tensor = Any
"""Tensor of the backend that Keras runs on."""
Size = tuple[int, int]
"""Height and width, pixels."""


def uniforms_needed(channels: int) -> int:
    """Returns how many uniform random values `augment` takes per image."""
    return _WARP_UNIFORMS + 2 + 2 * channels


def augment(images: Tensor, size: Size, config: AugmentConfig, uniform: Tensor) -> Tensor:
    """Returns a random window of each image, warped and recoloured.

    Args:
      images: Images, (batch, height, width, channels) uint8, at least as high and wide as `size`.
      size: Height and width of the window, pixels.
      config: Strength of each change.
      uniform: Random values, (batch, `uniforms_needed(channels)`) float32, 0 to below 1.

    Returns:
      (batch, *size, channels) float32, about 0..255 but not clipped.
    """
    if config.moves_pixels:
        windows = warped_window(images, size, config, uniform[:, :_WARP_UNIFORMS])
    else:
        windows = random_window(images, size, uniform[:, :2])
    return recolour(windows, config, uniform[:, _WARP_UNIFORMS:])


def centre_window(images: Tensor, size: Size) -> Tensor:
    """Returns the central (batch, *size, channels) window of uint8 images, as float32 0..255."""
    _, height, width, _ = ops.shape(images)
    rows, columns = centre_slices(height, width, size)
    return ops.cast(images[:, rows, columns], "float32")


def centre_slices(height: Any, width: Any, size: Size) -> tuple[slice, slice]:
    """Returns the rows and columns of the central window of images.

    Args:
      height: Height of the images, pixels: an integer, or a scalar tensor where it is not known yet.
      width: Width of the images, likewise.
      size: Height and width of the window, pixels.
    """
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return slice(top, top + size[0]), slice(left, left + size[1])


def window_places(count: int) -> list[tuple[float, float]]:
    """Returns evenly spread positions of windows for `random_window`: (y, x), each 0 to below 1.

    They are the R2 sequence, which M. Roberts based on the plastic number. Its first positions are far from each other
    for every count, unlike those of a grid.
    """
    plastic = 1.32471795724474602596
    return [((0.5 + index / plastic) % 1, (0.5 + index / plastic**2) % 1) for index in range(1, count + 1)]


def random_window(images: Tensor, size: Size, uniform: Tensor) -> Tensor:
    """Returns the window of each image at the position `uniform` (batch, 2), y, x, as float32 0..255.

    Its shape is (batch, *size, channels).
    """
    # oneDNN logs an error where uint8 is transposed on a CPU without AVX-512. TensorFlow's optimizer exchanges a cast
    # and a transposition that follows it, so the cast comes before the rows are taken (2.21).
    rows = _rows(ops.cast(images, "float32"), size[0], uniform[:, :1])
    transposed = ops.transpose(rows, (0, 2, 1, 3))
    return ops.transpose(_rows(transposed, size[1], uniform[:, 1:]), (0, 2, 1, 3))


def _rows(images: Tensor, size: int, uniform: Tensor) -> Tensor:
    """Returns `size` rows of each image, from the position that its value in `uniform` (batch, 1) gives."""
    count, height, width, channels = ops.shape(images)
    first = ops.cast(uniform * ops.cast(height - size + 1, "float32"), "int32")
    indices = first + height * ops.expand_dims(ops.arange(count), 1) + ops.arange(size)
    # By rows: by pixels would be slower, and TensorFlow computes int32 on the host where there is a GPU.
    rows = ops.take(ops.reshape(images, (-1, width * channels)), indices, axis=0)
    return ops.reshape(rows, (-1, size, width, channels))


def warped_window(images: Tensor, size: Size, config: AugmentConfig, uniform: Tensor) -> Tensor:
    """Returns a random window of each image, shifted, and zoomed, stretched, rotated and sheared about its centre.

    Window and warp are a single bilinear resampling, because two would blur twice. Outside the image its edge is
    repeated.

    Args:
      images: Images, (batch, height, width, channels) uint8.
      size: Height and width of the window, pixels.
      config: Strength of each change.
      uniform: Random values, (batch, 6) float32, 0 to below 1; 0.5 is no change, or the centre.

    Returns:
      (batch, *size, channels) float32, 0..255.
    """
    _, height, width, _ = ops.shape(images)
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    # One random value is both the window's place in the stored image and its shift beyond: more values would change
    # those of every other change.
    centre_y = uniform[:, 0] * ops.cast(height - size[0], "float32") + middle_y
    centre_x = uniform[:, 1] * ops.cast(width - size[1], "float32") + middle_x
    if config.translate:
        centre_y += (2 * uniform[:, 0] - 1) * config.translate * size[0]
        centre_x += (2 * uniform[:, 1] - 1) * config.translate * size[1]
    right_x, right_y, down_x, down_y = warp_steps(uniform[:, 2:], config)
    origin_x = centre_x - (middle_x * right_x + middle_y * down_x)
    origin_y = centre_y - (middle_x * right_y + middle_y * down_y)
    resample = _resample_in_tensorflow if keras.backend.backend() == "tensorflow" else resample_by_gathers
    return resample(ops.cast(images, "float32"), size, (right_x, down_x, origin_x, right_y, down_y, origin_y))


def warp_steps(uniform: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the steps in a given image for a step of one pixel in the warped one: x and y right, then x and y down.

    Args:
      uniform: Random values of zoom, stretch, rotation and shear, (batch, 4) float32, 0 to below 1; 0.5 is no change.
      config: Strength of each change.
    """
    zoom, stretch, rotation, shear = ops.unstack(2 * uniform - 1, 4, axis=1)
    taller = ops.exp(zoom * math.log1p(config.zoom) + stretch * math.log1p(config.stretch) / 2)
    wider = ops.exp(zoom * math.log1p(config.zoom) - stretch * math.log1p(config.stretch) / 2)
    rotation, shear = rotation * math.radians(config.rotate), shear * config.shear
    right_x, right_y = ops.cos(rotation) / wider, ops.sin(rotation) / wider
    down_x = (shear * ops.cos(rotation) - ops.sin(rotation)) / taller
    down_y = (shear * ops.sin(rotation) + ops.cos(rotation)) / taller
    return right_x, right_y, down_x, down_y


def _resample_in_tensorflow(images: Tensor, size: Size, steps: tuple[Tensor, ...]) -> Tensor:
    """Returns the same as `resample_by_gathers`, to the bit, in a third of its time on a CPU."""
    import tensorflow as tf

    zero = ops.zeros_like(steps[0])
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=ops.stack([*steps, zero, zero], axis=1),
        output_shape=list(size),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, (None, *size, images.shape[-1]))


def resample_by_gathers(images: Tensor, size: Size, steps: tuple[Tensor, ...]) -> Tensor:
    """Returns a window of each image under an affine transform of its own, with bilinear interpolation.

    Keras has `ops.image.affine_transform`, but its PyTorch backend transforms one image at a time (3.15).

    Args:
      images: Images, (batch, height, width, channels) float32.
      size: Height and width of the windows, pixels.
      steps: Coefficients in pixels of the image, each (batch,) float32: change of x per step right, change of x per
        step down, x of the window's first pixel; then the same for y.

    Returns:
      (batch, *size, channels) float32. Outside the image its edge is repeated.
    """
    count, height, width, channels = ops.shape(images)
    right_x, down_x, origin_x, right_y, down_y, origin_y = (ops.reshape(step, (-1, 1, 1)) for step in steps)
    down, right = (ops.arange(side, dtype="float32") for side in size)
    down, right = ops.reshape(down, (1, -1, 1)), ops.reshape(right, (1, 1, -1))
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
    """Returns images with contrast, brightness and colours changed.

    Args:
      images: Images, (batch, height, width, channels) float32, 0..255.
      config: Strength of each change.
      uniform: Random values, (batch, 2 + 2 * channels): one for inversion, one for the contrast of all channels, then
        one per channel for its contrast, then one per channel for its brightness.
    """
    channels = images.shape[-1]
    inverted, shared, single, brightness = ops.split(uniform[:, None, None, :], [1, 2, 2 + channels], axis=-1)
    images = ops.where(inverted < config.invert, 255.0 - images, images)
    # The contrast of a single channel varies half as much as that of the image: light has a colour, but a mild one.
    factor = ops.exp(math.log1p(config.contrast) * ((2 * shared - 1) + (single - 0.5)))
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * factor + mean + config.brightness * (2 * brightness - 1)
