"""The resize of `tfrecords.images.decode.cut` in integers of 32 bits, which every runtime has: pixel for pixel.

Pillow reduces pictures by integer weights, first its rows and then its columns, and rounds after both; OpenCV enlarges
them by other integers and rounds once. Both weigh pixels by their distance, so one function makes the weights of both.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

_REDUCE_BITS = 22
"""Fractional bits of a weight in Pillow (`PRECISION_BITS` of src/libImaging/Resample.c)."""
_ENLARGE_BITS = 8
"""Fractional bits of a weight in OpenCV's `INTER_LINEAR_EXACT`."""
_STEP_BITS = 2
"""Bits of a quotient per step: sums of shares, below 2**28 for the largest JPEG, and these bits fit in 32 bits."""


class Part(NamedTuple):
    """Where pixels of an image come from: scalars, int32.

    Attributes:
      ymin: First row of the part of the picture.
      xmin: First column.
      ymax: Row after the last.
      xmax: Column after the last.
      rows: Rows to which the part is resized.
      columns: Columns to which it is resized.
      y: Row of the resized part with which the image begins.
      x: Column with which it begins.
    """

    ymin: tf.Tensor
    xmin: tf.Tensor
    ymax: tf.Tensor
    xmax: tf.Tensor
    rows: tf.Tensor
    columns: tf.Tensor
    y: tf.Tensor
    x: tf.Tensor


def cut_part(picture: tf.Tensor, part: Part, size: tuple[int, int]) -> tf.Tensor:
    """Returns a window of a resized part of a picture: (*size, channels) float32 of integers; 0 beyond the part.

    Args:
      picture: (height, width, channels) uint8.
      part: Part, the size to which it is resized, and the window's corner.
      size: Height and width of the window, pixels.
    """
    height, width = part.ymax - part.ymin, part.xmax - part.xmin
    is_enlarged = (height <= part.rows) & (width <= part.columns)
    rows = _taps(height, part.rows, part.y, size[0], is_enlarged)
    columns = _taps(width, part.columns, part.x, size[1], is_enlarged)
    sums = _weigh(picture[part.ymin : part.ymax, part.xmin : part.xmax], *columns, 1)
    # OpenCV rounds once, after the columns.
    sums = tf.where(is_enlarged, sums, _rounded(sums, 1 << _REDUCE_BITS))
    unit = tf.where(is_enlarged, 1 << 2 * _ENLARGE_BITS, 1 << _REDUCE_BITS)
    image = _rounded(_weigh(sums, *rows, 0), unit)
    return tf.cast(tf.reshape(image, (*size, picture.shape[-1])), tf.float32)


def _taps(
    length: tf.Tensor, count: tf.Tensor, start: tf.Tensor, size: int, is_enlarged: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the pixels that make up each pixel of a resized row: indices and integer weights, (taps, size) int32.

    A weight is a share of the triangle around the pixel's centre, in the units 1 / (2 * larger side) of a pixel.

    Args:
      length: Pixels of the row.
      count: Pixels to which it is resized.
      start: First pixel of the window.
      size: Pixels of the window; those beyond the resized row have no weight.
      is_enlarged: Whether the picture is enlarged, by OpenCV's rules.
    """
    larger = tf.maximum(length, count)
    place = tf.range(size) + start
    centre = (2 * place + 1) * length
    first = tf.maximum((centre - 2 * larger + count) // (2 * count), 0)
    index = first + tf.range(2 * ((larger + count - 1) // count) + 1)[:, tf.newaxis]
    share = tf.maximum(2 * larger - tf.abs((2 * index + 1) * count - centre), 0)
    share = tf.where((index < length) & (place < count), share, 0)
    total = tf.maximum(tf.reduce_sum(share, 0), 1)
    coarse, rest = _divide(tf.zeros_like(share), share, total, _ENLARGE_BITS)
    fine, last = _divide(coarse, rest, total, _REDUCE_BITS - _ENLARGE_BITS)
    # OpenCV rounds halves so that the two weights of a pixel have the sum 1; Pillow rounds them up.
    goes_up = coarse % 2 == 1
    if size % (1 << _ENLARGE_BITS) == 0:  # without this factor there are no halves
        is_second = tf.cast((2 * index + 1) * count > centre, tf.int32)
        # LiteRT ends the process at a comparison of uint8 that is not quantised.
        table = tf.cast(tf.gather(_second_goes_up(size), tf.minimum(length, size)), tf.int32)
        goes_up = tf.where(count == size, table == is_second, goes_up)
    coarse += tf.cast((2 * rest > total) | ((2 * rest == total) & goes_up), tf.int32)
    fine += tf.cast(2 * last >= total, tf.int32)
    return index, tf.where(is_enlarged, coarse, fine)


@functools.cache
def _second_goes_up(count: int) -> np.ndarray:
    """Returns whether OpenCV rounds a half up in the weight of the second pixel: (count + 1, count) uint8 of 0 and 1.

    It makes weights with float64, whose rounding errors decide about a half.

    Args:
      count: Pixels to which a row is enlarged, of each length to this one.
    """
    scale = 1.0 / (count / np.arange(1, count + 1, dtype=np.float64))
    place = scale[:, np.newaxis] * (np.arange(count) + 0.5) - 0.5
    share = (place - np.floor(place)) * (1 << _ENLARGE_BITS)
    table = np.round(share) > np.floor(share + 1e-6)
    return np.pad(table, ((1, 0), (0, 0))).astype(np.uint8)


def _divide(quotient: tf.Tensor, rest: tf.Tensor, total: tf.Tensor, bits: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns quotients with further bits, and what rests: long division."""
    for _ in range(bits // _STEP_BITS):
        rest = rest * (1 << _STEP_BITS)
        digit = rest // total
        quotient, rest = quotient * (1 << _STEP_BITS) + digit, rest - digit * total
    return quotient, rest


def _weigh(pixels: tf.Tensor, index: tf.Tensor, weight: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns weighted sums of pixels along an axis, int32: one tap of all sums after the other.

    All taps at once would need twice the memory of the picture in int32.
    """
    last, shape = tf.shape(pixels)[axis] - 1, [-1, 1, 1] if axis == 0 else [-1, 1]

    def add(tap: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        taken = tf.gather(pixels, tf.minimum(index[tap], last), axis=axis)
        return tap + 1, sums + tf.cast(taken, tf.int32) * tf.reshape(weight[tap], shape)

    zeros = tf.zeros_like(tf.gather(pixels, tf.zeros_like(index[0]), axis=axis), tf.int32)
    _, sums = tf.while_loop(lambda tap, _: tap < tf.shape(index)[0], add, (tf.constant(0), zeros))
    return sums


def _rounded(sums: tf.Tensor, unit: int | tf.Tensor) -> tf.Tensor:
    return (sums + unit // 2) // unit
