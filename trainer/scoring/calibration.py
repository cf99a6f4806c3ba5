"""Whether a confidence of 80 % means that 80 % of the answers are right. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10
"""Number of intervals of confidence, each of the same width."""
GROUPS = 15
"""Number of groups of answers of the same size, by which the expected calibration error is reported."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, by interval of confidence.

    Attributes:
      edges: (bins + 1,) float64, ends of the intervals, ascending from 0 to 1. An interval holds its upper end; the
        first one holds 0 too.
      counts: (bins,) int64, examples in each interval.
      confidence: (bins,) float64, mean confidence of each interval, 0..1; NaN without examples.
      accuracy: (bins,) float64, share of right answers in each interval, 0..1; NaN without examples.
      error: Expected calibration error, 0..1: the mean distance between confidence and accuracy, each interval weighted
        by its examples (Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning").
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    error: float


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> Reliability:
    """Returns the reliability of some answers.

    Args:
      confidence: (examples,) float, 0..1, at least one.
      correct: (examples,) bool.
      bins: Number of intervals, at least 1.

    Raises:
      ValueError: The arguments are not one-dimensional, differ in length, are empty, or leave 0..1.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if sure.ndim != 1 or sure.shape != right.shape or not sure.size:
        rule = "confidence and correct must be one-dimensional, of the same length and not empty"
        raise ValueError(f"{rule}. Received: shapes {sure.shape} and {right.shape}")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError(f"confidence must be in 0..1. Received: {sure.min()} to {sure.max()}")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, sure, bins) / counts
        accuracy = np.bincount(place, right, bins) / counts
    error = np.nansum(np.abs(mean - accuracy) * counts) / sure.size
    return Reliability(edges, counts, mean, accuracy, float(error))


@dataclass(frozen=True)
class Group:
    """Answers of similar confidence.

    Attributes:
      examples: Number of answers.
      confidence: Their mean confidence, 0..1.
      accuracy: Share of them that is right, 0..1.
    """

    examples: int
    confidence: float
    accuracy: float


def equal_groups(confidence: ArrayLike, correct: ArrayLike, groups: int = GROUPS) -> list[Group]:
    """Returns the accuracy of answers in groups of equal size, from the least to the most confident.

    Most answers of a good model have a confidence near 1: intervals of equal width would hold nearly all of them in
    one, and a few in each other (Nixon et al. 2019, "Measuring Calibration in Deep Learning"). Sizes differ by one
    where they must.

    Args:
      confidence: (examples,) float, 0..1.
      correct: (examples,) bool.
      groups: Largest number of groups; there are fewer where there are fewer answers.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, min(groups, len(order))) if len(order) else []
    return [Group(len(part), float(sure[part].mean()), float(right[part].mean())) for part in parts]


def calibration_error(groups: list[Group]) -> float:
    """Returns the expected calibration error, 0..1: the mean distance between confidence and accuracy of the answers.

    Args:
      groups: Groups of `equal_groups`.
    """
    total = sum(group.examples for group in groups)
    return sum(group.examples * abs(group.confidence - group.accuracy) for group in groups) / max(total, 1)
