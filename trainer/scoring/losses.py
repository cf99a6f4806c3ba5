"""The negative log-likelihood of a number, as in Goodfellow et al. 2013 (arXiv 1312.6082, equation 1).

A model outputs unnormalised log-probabilities of the length (classes 0..longest and "longer") and of the digit at each
position: an index into the alphabet. A model of single characters outputs no length: it is 1, and `length_logits` is
None. The numbers of classes and positions are those of the outputs. For SVHN's numbers,
of up to five digits 0..9, they are 7 lengths and 5 positions of 10 digits. Pure keras.ops.
"""

from typing import Any

import keras
from keras import ops

Tensor = Any
"""Tensor of the Keras backend in use."""


def evenness_loss(length_logits: Tensor | None, digit_logits: Tensor, digits: Tensor) -> Tensor:
    """Returns the `number_loss` of each example against targets spread evenly over all classes: (batch,), nats.

    Mixed into the loss, it is label smoothing (Szegedy et al. 2016, section 7).

    Args:
      length_logits: (batch, longest + 2) unnormalised log-probabilities; None for single characters.
      digit_logits: (batch, longest, characters) unnormalised log-probabilities.
      digits: (batch, longest) indices of characters, or the number of characters at positions that add nothing.
    """
    each_digit = ops.mean(ops.log_softmax(digit_logits), axis=-1)
    counted = ops.sum(ops.where(ops.not_equal(digits, digit_logits.shape[-1]), each_digit, 0.0), axis=-1)
    return -counted if length_logits is None else -ops.mean(ops.log_softmax(length_logits), axis=-1) - counted


def number_loss(length_logits: Tensor | None, digit_logits: Tensor, length: Tensor, digits: Tensor) -> Tensor:
    """Returns -log P(number) of each example: (batch,) float32, nats.

    Positions after the last digit, where `digits` is padded, add nothing and get no gradient.

    Args:
      length_logits: (batch, longest + 2) unnormalised log-probabilities; None for single characters.
      digit_logits: (batch, longest, characters) unnormalised log-probabilities.
      length: (batch,) integers, true lengths; one above the longest counts as "longer".
      digits: (batch, longest) true digits, as indices of characters, padded with the number of characters.
    """
    has_digit = ops.not_equal(digits, digit_logits.shape[-1])
    # The padding is no class, and the cross-entropy is undefined for one that does not exist: use 0 there.
    digit_loss = keras.losses.sparse_categorical_crossentropy(
        ops.where(has_digit, digits, 0), digit_logits, from_logits=True
    )
    digits_loss = ops.sum(ops.where(has_digit, digit_loss, 0.0), axis=-1)
    if length_logits is None:
        return digits_loss
    length_class = ops.minimum(length, length_logits.shape[-1] - 1)
    return keras.losses.sparse_categorical_crossentropy(length_class, length_logits, from_logits=True) + digits_loss
