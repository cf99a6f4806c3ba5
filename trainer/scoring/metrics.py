"""Scores of a split's predictions. NumPy only."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.scoring.decode import Predictions

COVERAGE_ACCURACY = 0.98
"""Accuracy at which coverage is reported: about that of human operators (Goodfellow et al. 2013, section 1)."""


def correct_numbers(
    predictions: Predictions, length: NDArray[np.int64], digits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which numbers are right, in length and in every digit: (examples,) bool.

    Args:
      predictions: Predictions, one per example.
      length: (examples,) true lengths.
      digits: (examples, longest) true digits, padded.
    """
    right_digits = np.where(digits != predictions.labels.pad, predictions.digits == digits, True).all(axis=1)
    result: NDArray[np.bool_] = (predictions.length == length) & right_digits
    return result


def coverage_curve(confidence: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the accuracy of the most confident predictions, at every possible coverage.

    Coverage is the share of examples answered. Examples of equal confidence are answered together, so their order
    does not matter (Goodfellow et al. 2013, arXiv:1312.6082, section 5.1).

    Args:
      confidence: (examples,) float, finite.
      correct: (examples,) bool.

    Returns:
      Coverage, (distinct confidences,) float64, ascending in 0..1 and ending in 1; and the accuracy at each, the same
      shape, in 0..1.

    Raises:
      ValueError: The arguments are not one-dimensional or differ in length.
    """
    confidences, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if confidences.ndim != 1 or confidences.shape != right.shape:
        raise ValueError(
            "confidence and correct must be one-dimensional and of the same length. "
            f"Received: shapes {confidences.shape} and {right.shape}"
        )
    if not confidences.size:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-confidences, kind="stable")
    is_last_of_tie = np.append(np.diff(confidences[order]) != 0, True)
    answered = np.flatnonzero(is_last_of_tie) + 1
    return answered / confidences.size, np.cumsum(right[order])[is_last_of_tie] / answered


def coverage_at(coverage: NDArray[np.float64], accuracy: NDArray[np.float64], target: float) -> float:
    """Returns the largest coverage, 0..1, with an accuracy of at least `target`, or 0 if there is none.

    Args:
      coverage: Coverages of `coverage_curve`.
      accuracy: Accuracies of `coverage_curve`.
      target: Required accuracy, 0..1.
    """
    enough = coverage[accuracy >= target]
    return float(enough[-1]) if enough.size else 0.0


def wilson_interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Returns the Wilson score interval of a share (Wilson 1927).

    Args:
      right: Number of right predictions.
      total: Number of predictions, above 0.
      z: Quantile of the normal distribution; 1.96 gives a 95 % interval.
    """
    share, spread = right / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    margin = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return centre - margin, centre + margin


def score(predictions: Predictions, length: NDArray[np.int64], digits: NDArray[np.int64]) -> dict[str, Any]:
    """Returns every score of a split, in the form of evaluation.json.

    Args:
      predictions: Predictions, one per example.
      length: (examples,) true lengths, 0..longest.
      digits: (examples, longest) true digits, as indices into the alphabet of the predictions, padded.
    """
    labels = predictions.labels
    correct = correct_numbers(predictions, length, digits)
    has_digit = digits != labels.pad
    right = has_digit & (predictions.digits == digits)
    total = len(correct)
    confusion = np.zeros((labels.pad, labels.pad), np.int64)
    np.add.at(confusion, (digits[has_digit], predictions.digits[has_digit]), 1)
    return {
        "num_examples": total,
        "whole_number_accuracy": float(correct.mean()),
        "whole_number_accuracy_interval": wilson_interval(int(correct.sum()), total),
        "digit_accuracy": float(right.sum() / has_digit.sum()),
        "length_accuracy": float((predictions.length == length).mean()),
        "coverage_at_98": coverage_at(*coverage_curve(predictions.confidence, correct), COVERAGE_ACCURACY),
        "position_accuracy": [
            {
                "position": position + 1,
                "num_examples": int(has_digit[:, position].sum()),
                "accuracy": float(right[:, position].sum() / has_digit[:, position].sum()),
            }
            for position in range(labels.max_length)
            if has_digit[:, position].any()
        ],
        "by_length": [
            {
                "length": int(value),
                "num_examples": int((length == value).sum()),
                "whole_number_accuracy": float(correct[length == value].mean()),
            }
            for value in np.unique(length)
        ],
        "max_length": labels.max_length,
        "alphabet": labels.alphabet,
        "confusion": confusion.tolist(),
    }
