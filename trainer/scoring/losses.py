"""The number's likelihood, as in Goodfellow et al. 2013 (arXiv 1312.6082, equation 1).

A model answers with unnormalised log-probabilities of the length (classes 0..5
and "more than five") and, for each of five places, of the digit. Pure keras.ops.
"""

from typing import Any

import keras
from keras import ops

from tfrecords.record.schema import MAX_LENGTH, PAD

LENGTH_CLASSES = MAX_LENGTH + 2
"""0..5 and "more than five"."""
DIGIT_CLASSES = 10

Tensor = Any
"""A tensor of whichever backend Keras runs on."""


def evenness_loss(length_logits: Tensor, digit_logits: Tensor, digits: Tensor) -> Tensor:
    """Returns the `number_loss` of each example with targets spread evenly over all classes: (batch,), nats.

    Mixed into the loss, it is label smoothing (Szegedy et al. 2016, section 7).

    Args:
      length_logits: (batch, 7).
      digit_logits: (batch, 5, 10).
      digits: (batch, 5), integers 0..9 or `PAD`, which adds nothing.
    """
    each_digit = ops.mean(ops.log_softmax(digit_logits), axis=-1)
    counted = ops.sum(ops.where(ops.not_equal(digits, PAD), each_digit, 0.0), axis=-1)
    return -ops.mean(ops.log_softmax(length_logits), axis=-1) - counted


def number_loss(length_logits: Tensor, digit_logits: Tensor, length: Tensor, digits: Tensor) -> Tensor:
    """Returns -log P(number) of each example, in nats: shape (batch,), float32.

    Places behind the number's last digit, where `digits` is `PAD`, add nothing and get no gradient.

    Args:
      length_logits: (batch, 7).
      digit_logits: (batch, 5, 10).
      length: (batch,), integers; more than 5 counts as "more than five".
      digits: (batch, 5), integers 0..9 or `PAD`.
    """
    length_class = ops.minimum(length, LENGTH_CLASSES - 1)
    length_loss = keras.losses.sparse_categorical_crossentropy(length_class, length_logits, from_logits=True)
    there = ops.not_equal(digits, PAD)
    # A class that exists must stand where there is no digit, or the cross-entropy is undefined there.
    digit_loss = keras.losses.sparse_categorical_crossentropy(
        ops.where(there, digits, 0), digit_logits, from_logits=True
    )
    return length_loss + ops.sum(ops.where(there, digit_loss, 0.0), axis=-1)
