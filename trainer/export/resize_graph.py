"""The resize of `tfrecords.images.decode.cut` in TensorFlow."""

import tensorflow as tf

_WEIGHT_BITS = 8
"""Fractional bits of a weight in OpenCV's `INTER_LINEAR_EXACT`."""


def resize(picture: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns a picture resized as `cut` does it: (*size, channels) float32 of integers.

    Enlarged pixels are the same as those of `cut`, reduced ones within one grey value: Pillow's integers, which round
    after the rows too, would take TensorFlow ten times as long.

    Args:
      picture: (height, width, channels) uint8.
      size: Height and width of the result, pixels.
    """
    height, width = tf.unstack(tf.shape(picture)[:2])
    return tf.cond(
        (height <= size[0]) & (width <= size[1]),
        lambda: _enlarge(picture, _weights(height, size[0]), _weights(width, size[1])),
        lambda: tf.round(tf.image.resize(picture, size, antialias=True)),
    )


def _enlarge(picture: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns a picture resized by integer weights of its rows and columns. float64 holds their sums exactly."""
    sums = tf.einsum("yh,xw,hwc->yxc", rows, columns, tf.cast(picture, tf.float64))
    return tf.cast(tf.floor(sums / (1 << 2 * _WEIGHT_BITS) + 0.5), tf.float32)


def _weights(length: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the weights of OpenCV's exact bilinear filter: (size, length) float64 of integers."""
    scale = 1.0 / (size / tf.cast(length, tf.float64))
    place = scale * (tf.range(size, dtype=tf.float64) + 0.5) - 0.5
    first, one = tf.floor(place), float(1 << _WEIGHT_BITS)
    second = tf.round((place - first) * one)[:, tf.newaxis]
    low, high = (
        tf.clip_by_value(tf.cast(index, tf.int32), 0, length - 1)[:, tf.newaxis] for index in (first, first + 1.0)
    )
    index = tf.range(length)
    return tf.where(index == low, one - second, 0.0) + tf.where(index == high, second, 0.0)
