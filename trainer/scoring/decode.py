"""From a model's answers to the most probable number. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.schema import MAX_LENGTH


@dataclass(frozen=True)
class Numbers:
    """What a model reads in a batch of pictures.

    Attributes:
      length: (batch,) int64, 0..6; 6 means more than five digits, of which the first five are told.
      digits: (batch, 5) int64, the most probable digit of each place, 0..9; those from `length` on mean nothing.
      confidence: (batch,) float64, 0..1: P(length) times P(digit) of each place below it.
      length_probabilities: (batch, 7) float64.
      digit_probabilities: (batch, 5, 10) float64.
    """

    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    confidence: NDArray[np.float64]
    length_probabilities: NDArray[np.float64]
    digit_probabilities: NDArray[np.float64]

    @property
    def texts(self) -> list[str]:
        """The numbers as people write them; one of more than five digits ends in an ellipsis."""
        return [
            "".join(map(str, digits[:length])) + ("…" if length > MAX_LENGTH else "")
            for length, digits in zip(self.length.tolist(), self.digits.tolist(), strict=True)
        ]


def decode_numbers(length_logits: NDArray[np.floating], digit_logits: NDArray[np.floating]) -> Numbers:
    """Returns the most probable (length, digits) together.

    For every length the best digits are the best of each place, so seven sums
    decide over all numbers (Goodfellow et al. 2013, section 4).

    Args:
      length_logits: (batch, 7).
      digit_logits: (batch, 5, 10).
    """
    length_log = _log_softmax(length_logits)
    digit_log = _log_softmax(digit_logits)
    best_digit = digit_log.max(axis=-1)
    # Places below the length count: none for length 0, all five for 5 and for more than five.
    counted = np.pad(np.cumsum(best_digit, axis=-1), ((0, 0), (1, 1)))
    counted[:, -1] = counted[:, -2]
    total = length_log + counted
    return Numbers(
        length=total.argmax(axis=-1),
        digits=digit_log.argmax(axis=-1),
        confidence=np.exp(total.max(axis=-1)),
        length_probabilities=np.exp(length_log),
        digit_probabilities=np.exp(digit_log),
    )


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
