"""A model's outputs to the most probable numbers. NumPy only."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.labels import Labels

_DIGITS = Labels()
ONE_CHARACTER = np.array([-np.inf, 0.0, -np.inf], np.float32)
"""Log-probabilities of the lengths 0, 1 and longer where a model of single characters reads no length."""


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for a batch of images.

    Attributes:
      length: (batch,) int64, 0..longest + 1; the last means a longer number, of which only the first `longest` digits
        are predicted. `longest` is `labels.max_length`: 5 for SVHN's numbers.
      digits: (batch, longest) int64, the most probable digit at each position, as an index into the alphabet; those
        from `length` on mean nothing.
      confidence: (batch,) float64, 0..1: P(length) times P(digit) at each position before the number's end.
      length_probabilities: (batch, longest + 2) float64, P(length).
      digit_probabilities: (batch, longest, characters) float64, P(digit) at each position.
      labels: Numbers that the model can predict.
    """

    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    confidence: NDArray[np.float64]
    length_probabilities: NDArray[np.float64]
    digit_probabilities: NDArray[np.float64]
    labels: Labels = _DIGITS

    @property
    def texts(self) -> list[str]:
        """The predicted numbers as text; a number that is longer than the longest ends in an ellipsis."""
        return [
            self.labels.text(digits[:length]) + ("…" if length > self.labels.max_length else "")
            for length, digits in zip(self.length.tolist(), self.digits.tolist(), strict=True)
        ]

    def with_temperature(self, temperature: float) -> "Predictions":
        """Returns the same numbers with the probabilities that logits divided by a temperature give.

        The numbers are those of temperature 1: the jointly most probable length may be another one at another
        temperature, but what is read must not depend on how sure it is. Each probability keeps its rank in its row.

        Args:
          temperature: Above 0. More than 1 makes the probabilities of a row more equal.
        """
        if temperature == 1:
            return self
        length_log = _scaled_log(self.length_probabilities, temperature)
        digit_log = _scaled_log(self.digit_probabilities, temperature)
        chosen = np.take_along_axis(length_log, self.length[:, None], axis=-1)[:, 0]
        counted = _counted(digit_log.max(axis=-1))
        total = chosen + np.take_along_axis(counted, self.length[:, None], axis=-1)[:, 0]
        return replace(
            self,
            confidence=np.exp(total),
            length_probabilities=np.exp(length_log),
            digit_probabilities=np.exp(digit_log),
        )


def decode_predictions(
    length_logits: NDArray[np.floating] | None, digit_logits: NDArray[np.floating], labels: Labels = _DIGITS
) -> Predictions:
    """Returns the jointly most probable length and digits of each image.

    For every length, the best digits are the best at each position, so one sum per length and image decides over all
    numbers (Goodfellow et al. 2013, section 4).

    Args:
      length_logits: (batch, longest + 2) unnormalised log-probabilities; None for a model of single characters, whose
        length is 1.
      digit_logits: (batch, longest, characters) unnormalised log-probabilities.
      labels: Numbers that the model can predict.

    Raises:
      ValueError: The logits are not of these labels.
    """
    if length_logits is None:
        length_logits = np.tile(ONE_CHARACTER, (len(digit_logits), 1))
    expected = (labels.max_length + 2,), (labels.max_length, len(labels.alphabet))
    if (found := (length_logits.shape[1:], digit_logits.shape[1:])) != expected:
        raise ValueError(f"The logits must be of the shapes {expected} for {labels}. Received: {found}")
    length_log = _log_softmax(length_logits)
    digit_log = _log_softmax(digit_logits)
    total = length_log + _counted(digit_log.max(axis=-1))
    return Predictions(
        length=total.argmax(axis=-1),
        digits=digit_log.argmax(axis=-1),
        confidence=np.exp(total.max(axis=-1)),
        length_probabilities=np.exp(length_log),
        digit_probabilities=np.exp(digit_log),
        labels=labels,
    )


def mean_of_views(logits: NDArray[np.floating], views: int) -> NDArray[np.float64]:
    """Returns the logarithms of the mean probabilities of several views of each number.

    Args:
      logits: (batch * views, ..., classes) unnormalised log-probabilities, the views of a number one after the other.
      views: Views of a number.
    """
    logs = _log_softmax(logits)
    means: NDArray[np.float64] = np.logaddexp.reduce(logs.reshape(-1, views, *logs.shape[1:]), axis=1) - np.log(views)
    return means


def _counted(best_digit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the sum of the log-probabilities of the best digits of each length: (batch, longest + 2)."""
    # A length counts the digits before its end: none for length 0, all for the longest and for a longer one.
    counted = np.pad(np.cumsum(best_digit, axis=-1), ((0, 0), (1, 1)))
    counted[:, -1] = counted[:, -2]
    return counted


def _scaled_log(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Returns the log-probabilities that the logits of these probabilities give at a temperature."""
    with np.errstate(divide="ignore"):
        return _log_softmax(np.log(probabilities) / temperature)


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
