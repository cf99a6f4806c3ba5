"""What is done to training pictures on the device: random window, contrast, colours.

The random numbers are arguments, drawn for the global batch where the data is read: a
picture is changed in the same way on whichever replica it lands.
"""

import tensorflow as tf

from trainer.config import AugmentConfig


def numbers_needed(channels: int) -> int:
    """Returns how many uniform random numbers `augment` takes for each picture."""
    return 4 + 2 * channels


def augment(images: tf.Tensor, size: int, config: AugmentConfig, uniform: tf.Tensor) -> tf.Tensor:
    """Returns training pictures: a random window, recoloured.

    Args:
      images: (batch, height, width, channels) uint8, height and width at least `size`.
      size: of the window, pixels.
      config: how much the colours change.
      uniform: (batch, `numbers_needed(channels)`) float32, 0 to below 1.

    Returns:
      (batch, size, size, channels) float32, about 0..255 but not clipped.
    """
    windows = random_window(images, size, uniform[:, :2])
    return recolour(tf.cast(windows, tf.float32), config, uniform[:, 2:])


def centre_window(images: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the middle (batch, size, size, channels) of uint8 pictures, as float32 0..255."""
    top = (tf.shape(images)[1] - size) // 2
    left = (tf.shape(images)[2] - size) // 2
    return tf.cast(images[:, top : top + size, left : left + size], tf.float32)


def random_window(images: tf.Tensor, size: int, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the (batch, size, size, channels) window of each picture whose place is `uniform` (batch, 2): y, x."""
    margins = tf.shape(images)[1:3] - size + 1
    offsets = tf.cast(uniform * tf.cast(margins, tf.float32), tf.int32)
    steps = tf.range(size)
    rows = tf.gather(images, offsets[:, :1] + steps, axis=1, batch_dims=1)
    return tf.gather(rows, offsets[:, 1:] + steps, axis=2, batch_dims=1)


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
