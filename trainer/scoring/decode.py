"""A model's outputs to the most probable numbers. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.schema import MAX_LENGTH


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for a batch of images.

    Attributes:
      length: (batch,) int64, 0..6; 6 means more than five digits, of which only the first five are predicted.
      digits: (batch, 5) int64, 0..9, the most probable digit at each position; those from `length` on mean nothing.
      confidence: (batch,) float64, 0..1: P(length) times P(digit) at each position before the number's end.
      length_probabilities: (batch, 7) float64, P(length).
      digit_probabilities: (batch, 5, 10) float64, P(digit) at each position.
    """

    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    confidence: NDArray[np.float64]
    length_probabilities: NDArray[np.float64]
    digit_probabilities: NDArray[np.float64]

    @property
    def texts(self) -> list[str]:
        """The predicted numbers as text; a number of more than five digits ends in an ellipsis."""
        return [
            "".join(map(str, digits[:length])) + ("…" if length > MAX_LENGTH else "")
            for length, digits in zip(self.length.tolist(), self.digits.tolist(), strict=True)
        ]


def decode_predictions(length_logits: NDArray[np.floating], digit_logits: NDArray[np.floating]) -> Predictions:
    """Returns the jointly most probable length and digits of each image.

    For every length, the best digits are the best at each position, so seven sums per image decide over all numbers
    (Goodfellow et al. 2013, section 4).

    Args:
      length_logits: (batch, 7) unnormalised log-probabilities.
      digit_logits: (batch, 5, 10) unnormalised log-probabilities.
    """
    length_log = _log_softmax(length_logits)
    digit_log = _log_softmax(digit_logits)
    best_digit = digit_log.max(axis=-1)
    # A length counts the digits before its end: none for length 0, all five for 5 and for more than five.
    counted = np.pad(np.cumsum(best_digit, axis=-1), ((0, 0), (1, 1)))
    counted[:, -1] = counted[:, -2]
    total = length_log + counted
    return Predictions(
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
