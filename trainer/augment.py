"""What is done to training pictures on the device: random window and warp, contrast, colours.

The random numbers are arguments, drawn for the global batch where the data is read: a
picture is changed in the same way on whichever replica it lands.
"""

import math

import tensorflow as tf

from trainer.config import AugmentConfig

_WARP_NUMBERS = 6
"""The window's place (2), zoom, stretch, turn, shear."""


def numbers_needed(channels: int) -> int:
    """Returns how many uniform random numbers `augment` takes for each picture."""
    return _WARP_NUMBERS + 2 + 2 * channels


def augment(images: tf.Tensor, size: int, config: AugmentConfig, uniform: tf.Tensor) -> tf.Tensor:
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
        windows = tf.cast(random_window(images, size, uniform[:, :2]), tf.float32)
    return recolour(windows, config, uniform[:, _WARP_NUMBERS:])


def centre_window(images: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the middle (batch, size, size, channels) of uint8 pictures, as float32 0..255."""
    top = (tf.shape(images)[1] - size) // 2
    left = (tf.shape(images)[2] - size) // 2
    return tf.cast(images[:, top : top + size, left : left + size], tf.float32)


def window_places(count: int) -> list[tuple[float, float]]:
    """Returns places of windows for `random_window`, evenly spread: (y, x), each 0 to below 1.

    The sequence of Roberts' plastic number: any first few of it lie far from each other, and
    unlike a grid it is there for every count.
    """
    plastic = 1.32471795724474602596
    return [((0.5 + index / plastic) % 1, (0.5 + index / plastic**2) % 1) for index in range(1, count + 1)]


def random_window(images: tf.Tensor, size: int, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the (batch, size, size, channels) window of each picture whose place is `uniform` (batch, 2): y, x."""
    margins = tf.shape(images)[1:3] - size + 1
    offsets = tf.cast(uniform * tf.cast(margins, tf.float32), tf.int32)
    steps = tf.range(size)
    rows = tf.gather(images, offsets[:, :1] + steps, axis=1, batch_dims=1)
    return tf.gather(rows, offsets[:, 1:] + steps, axis=2, batch_dims=1)


def warped_window(images: tf.Tensor, size: int, config: AugmentConfig, uniform: tf.Tensor) -> tf.Tensor:
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
    margins = tf.cast(tf.shape(images)[1:3] - size, tf.float32)
    middle = (size - 1) / 2
    centre_y, centre_x = tf.unstack(uniform[:, :2] * margins + middle, axis=1)
    zoom, stretch, turn, shear = tf.unstack(2 * uniform[:, 2:] - 1, axis=1)
    height = tf.exp(zoom * math.log1p(config.zoom) + stretch * math.log1p(config.stretch) / 2)
    width = tf.exp(zoom * math.log1p(config.zoom) - stretch * math.log1p(config.stretch) / 2)
    turn, shear = turn * math.radians(config.rotate), shear * config.shear
    # Where in the stored picture a step right or down in the window leads.
    right_x, right_y = tf.cos(turn) / width, tf.sin(turn) / width
    down_x = (shear * tf.cos(turn) - tf.sin(turn)) / height
    down_y = (shear * tf.sin(turn) + tf.cos(turn)) / height
    origin_x = centre_x - middle * (right_x + down_x)
    origin_y = centre_y - middle * (right_y + down_y)
    none = tf.zeros_like(turn)
    warped: tf.Tensor = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([right_x, down_x, origin_x, right_y, down_y, origin_y, none, none], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, (None, size, size, images.shape[-1]))


def recolour(images: tf.Tensor, config: AugmentConfig, uniform: tf.Tensor) -> tf.Tensor:
    """Returns pictures with contrast, brightness and colours changed.

    Args:
      images: (batch, height, width, channels) float32, 0..255.
      config: how much.
      uniform: (batch, 2 + 2 * channels): one number for inversion, one for the contrast of all
        channels, and for each channel one for its contrast and one for its brightness.
    """
    channels = images.shape[-1]
    inverted, shared, single, shift = tf.split(uniform[:, None, None, :], [1, 1, channels, channels], axis=-1)
    images = tf.where(inverted < config.invert, 255.0 - images, images)
    widest = tf.math.log(1.0 + config.gain)
    # A channel's own contrast varies half as much as the picture's: light has a colour, but not any.
    gain = tf.exp(widest * ((2 * shared - 1) + (single - 0.5)))
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * gain + mean + config.shift * (2 * shift - 1)
