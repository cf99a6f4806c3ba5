"""Which places of an image a prediction depends on: by the gradient, and by covering them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from trainer.inside.forward import BATCH, check_images
from trainer.inside.number import log_probability, predicted_number

if TYPE_CHECKING:
    import keras


def pixel_gradient(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the gradient of the predicted number's log-probability with respect to each value of an image.

    Args:
      model: Model that runs on TensorFlow.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Returns:
      (height, width, channels) float32, nats per grey level.

    Raises:
      UserError: The image is not one of the model.
    """
    import tensorflow as tf

    check_images(model, image[None])
    pixels = tf.constant(image[None], tf.float32)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pixels)
        outputs = model(pixels, training=False)
        log = log_probability(outputs, predicted_number(outputs))
    gradient: NDArray[np.float32] = tape.gradient(log, pixels)[0].numpy()
    return gradient


def saliency(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns how strongly the predicted number's log-probability depends on each pixel.

    It is the absolute gradient of the channel where that is largest (Simonyan et al. 2013, section 3.1), divided by
    the largest of the image.

    Args:
      model: Model that runs on TensorFlow.
      image: Image, (height, width, channels) uint8, as the model takes it.

    Returns:
      (height, width) float32, 0..1; zeros where the prediction depends on no pixel.

    Raises:
      UserError: The image is not one of the model.
    """
    strength: NDArray[np.float32] = np.abs(pixel_gradient(model, image)).max(axis=-1)
    largest = strength.max()
    return strength / largest if largest > 0 else strength


def occlusion(model: keras.Model, image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Returns how much log-probability the predicted number loses when places of the image are covered.

    Squares are half a side apart, and the last ones end at the edge. A pixel gets the mean loss of the squares that
    cover it. Their grey is the mean of the image: a fixed one would draw shapes onto a black or a white background.

    Args:
      model: Model.
      image: Image, (height, width, channels) uint8, as the model takes it.
      size: Side of the square, pixels, at most the smaller side of the image.

    Returns:
      (height, width) float32, nats; below 0 where the number becomes more probable.

    Raises:
      UserError: The image is not one of the model, or the square does not fit into it.
    """
    from keras import ops

    check_images(model, image[None])
    height, width = image.shape[:2]
    if not 1 <= size <= min(height, width):
        raise UserError(f"The side of the square must be 1..{min(height, width)} pixels.", size)
    plain = model(image[None].astype(np.float32), training=False)
    number = predicted_number(plain)
    before = ops.convert_to_numpy(log_probability(plain, number))[0]
    places = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for first in range(0, len(places), BATCH):
        batch = places[first : first + BATCH]
        outputs = model(_covered(image, batch, size), training=False)
        after = ops.convert_to_numpy(log_probability(outputs, number))
        for (top, left), loss in zip(batch, before - after, strict=True):
            total[top : top + size, left : left + size] += loss
            count[top : top + size, left : left + size] += 1
    return (total / count).astype(np.float32)


def _starts(extent: int, size: int) -> list[int]:
    """Returns where squares begin along a side of the image; they cover all of it."""
    return [*range(0, extent - size, max(1, size // 2)), extent - size]


def _covered(image: NDArray[np.uint8], places: list[tuple[int, int]], size: int) -> NDArray[np.float32]:
    """Returns the image once per place (top, left), with a grey square there: (places, height, width, channels)."""
    covered = np.repeat(image[None].astype(np.float32), len(places), axis=0)
    for one, (top, left) in zip(covered, places, strict=True):
        one[top : top + size, left : left + size] = np.rint(image.mean())
    return covered
