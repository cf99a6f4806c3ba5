"""The temperature that makes confidences honest, and what a threshold on them promises. NumPy only.

Guo et al. 2017 ("On Calibration of Modern Neural Networks", arXiv:1706.04599) divide the logits by one number, the
temperature, that minimises the log loss of the labels on held-out examples. Here an answer is a complete number, whose
confidence is a product of the probabilities of several outputs. These are wrong together, so temperatures that suit
each output do not suit the product: on real photos they made the calibration error three times as large
(docs/training.md). So the temperature here minimises the log loss of the confidence itself, as a probability that the
number is right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfrecords.typed_json import Count, Rule
from trainer.scoring.decode import Predictions
from trainer.scoring.metrics import wilson_interval

LEAST_EXAMPLES = 100
"""Smallest number of examples that a temperature is fitted on."""
_BOUNDS = 0.1, 10.0
_PRECISION = 1e-4
"""Relative precision of a temperature."""
_LEAST_DOUBT = 1e-12
_MOST_THRESHOLDS = 200
Share = Annotated[float, Rule("0..1", lambda value: 0 <= value <= 1)]


@dataclass(frozen=True)
class Threshold:
    """What was answered, and right, where the least confidence of an answer was this.

    Attributes:
      min_confidence: Least confidence of an answer, 0..1.
      answered: Number of examples answered.
      right: Number of right answers.
      coverage: Share of the examples answered, 0..1.
      accuracy: Share of the answers that is right, 0..1.
      accuracy_lower: Lower end of the accuracy's 95 % interval (Wilson 1927).
    """

    min_confidence: Share
    answered: Count
    right: Count
    coverage: Share
    accuracy: Share
    accuracy_lower: Share


@dataclass(frozen=True)
class Fit:
    """A temperature, and what it changed on the examples that it was fitted on.

    Attributes:
      temperature: Divisor of the logits, above 0.
      examples: Number of examples.
      log_loss_before: Mean log loss of the confidences at temperature 1, nats.
      log_loss_after: The same at the temperature.
    """

    temperature: float
    examples: int
    log_loss_before: float
    log_loss_after: float


def fit_temperature(predictions: Predictions, correct: ArrayLike) -> Fit:
    """Returns the temperature with the least log loss of the confidences. The same arguments give the same one.

    Args:
      predictions: Predictions at temperature 1, one per example.
      correct: (examples,) bool, which numbers are right.
    """
    right = np.asarray(correct, bool)
    targets = _targets(right)

    def loss(log_temperature: float) -> float:
        return _log_loss(predictions.with_temperature(math.exp(log_temperature)).confidence, targets)

    low, high = map(math.log, _BOUNDS)
    # The loss may have several minima: a grid finds the valley of the lowest, golden sections its bottom.
    grid = np.linspace(low, high, 47)
    best = int(np.argmin([loss(value) for value in grid]))
    found = _golden(loss, float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    # Rounded, so that the last bits of sums do not decide the digits of a file.
    temperature = round(math.exp(found), 4)
    after = predictions.with_temperature(temperature).confidence
    return Fit(temperature, len(right), log_loss(predictions.confidence, right), log_loss(after, right))


def log_loss(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Returns the mean log loss of confidences, as probabilities that the answers are right, in nats.

    Args:
      confidence: (examples,) float, 0..1.
      correct: (examples,) bool.
    """
    return _log_loss(np.asarray(confidence, np.float64), np.asarray(correct, bool).astype(np.float64))


def thresholds(confidence: ArrayLike, correct: ArrayLike, most: int = _MOST_THRESHOLDS) -> list[Threshold]:
    """Returns what each threshold on the confidence answers, and how much of it is right, the highest first.

    Args:
      confidence: (examples,) float, 0..1.
      correct: (examples,) bool.
      most: Largest number of thresholds: of many distinct confidences, those at even steps of coverage.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    order = np.argsort(-sure, kind="stable")
    # Equal confidences are answered together.
    ends = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True)[: len(order)])
    steps = np.ceil(np.arange(1, most + 1) * len(order) / most).astype(int) - 1
    places = ends if len(ends) <= most else np.unique(ends[np.searchsorted(ends, steps)])
    sums = np.cumsum(right[order])
    return [_threshold(float(sure[order[end]]), int(end) + 1, int(sums[end]), len(order)) for end in places]


def lowest_threshold(rows: list[Threshold], target: float) -> Threshold | None:
    """Returns the threshold that answers most of those whose accuracy is at least a target; None if there is none.

    Args:
      rows: Thresholds, the highest first.
      target: Accuracy, 0..1, that the lower end of the interval has to reach: the share of right answers alone would
        be below the target on other pictures every second time.
    """
    enough = [row for row in rows if row.accuracy_lower >= target]
    return enough[-1] if enough else None


def at_least(rows: list[Threshold], min_confidence: float) -> Threshold | None:
    """Returns the lowest threshold that is not below a confidence; None where nothing is as confident."""
    found = [row for row in rows if row.min_confidence >= min_confidence]
    return found[-1] if found else None


def _threshold(confidence: float, answered: int, right: int, total: int) -> Threshold:
    lower = max(wilson_interval(right, answered)[0], 0.0)
    return Threshold(confidence, answered, right, answered / total, right / answered, lower)


def _targets(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the targets of the log loss: shares that leave room for answers that were not seen.

    Without wrong answers among the examples, any lower temperature would have a lower loss (Platt 1999,
    "Probabilistic Outputs for Support Vector Machines", section 2.2).
    """
    good = int(right.sum())
    return np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))


def _log_loss(confidence: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    sure = np.clip(confidence, _LEAST_DOUBT, 1 - _LEAST_DOUBT)
    return float(-np.mean(targets * np.log(sure) + (1 - targets) * np.log1p(-sure)))


def _golden(loss: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a function with one minimum between two values is lowest."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > _PRECISION:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return (low + high) / 2
