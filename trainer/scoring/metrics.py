"""Scores of a set of answers: counts first, shares last. NumPy only."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfrecords.record.schema import MAX_LENGTH, PAD
from trainer.scoring.decode import Numbers

COVERAGE_ACCURACY = 0.98
"""What accuracy coverage is stated at: about that of human operators (Goodfellow et al. 2013, section 1)."""


def correct_numbers(numbers: Numbers, length: NDArray[np.int64], digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns where length and every digit are right: (batch,) bool."""
    there = digits != PAD
    result: NDArray[np.bool_] = (numbers.length == length) & np.where(there, numbers.digits == digits, True).all(axis=1)
    return result


def coverage_curve(confidence: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy of the answered examples when only the most confident are answered.

    Examples of equal confidence are answered together, so their order does not
    matter. After Goodfellow et al. 2013 (arXiv:1312.6082), section 5.1.

    Args:
      confidence: float, shape (examples,), finite.
      correct: bool, shape (examples,).

    Returns:
      coverage, float64, shape (distinct confidences,), ascending in 0..1, the last
      one 1; and the accuracy at each, the same shape, in 0..1.

    Raises:
      ValueError: the two are not one-dimensional and of one length.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if sure.ndim != 1 or sure.shape != right.shape:
        raise ValueError(
            "confidence and correct must be one-dimensional and of one length. "
            f"Received: shapes {sure.shape} and {right.shape}"
        )
    if not sure.size:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-sure, kind="stable")
    is_last_of_tie = np.append(np.diff(sure[order]) != 0, True)
    answered = np.flatnonzero(is_last_of_tie) + 1
    return answered / sure.size, np.cumsum(right[order])[is_last_of_tie] / answered


def coverage_at(coverage: NDArray[np.float64], accuracy: NDArray[np.float64], target: float) -> float:
    """Returns the largest coverage, 0..1, whose accuracy is at least `target`; 0 when there is none."""
    enough = coverage[accuracy >= target]
    return float(enough[-1]) if enough.size else 0.0


def wilson_interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Returns the Wilson score interval of a share (Wilson 1927); `z` 1.96 gives 95 %."""
    share, spread = right / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    margin = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return centre - margin, centre + margin


def score(numbers: Numbers, length: NDArray[np.int64], digits: NDArray[np.int64]) -> dict[str, Any]:
    """Returns every score of a split, as evaluation.json holds them.

    Args:
      numbers: the answers, one an example.
      length: (examples,) the true lengths, 1..5.
      digits: (examples, 5) the true digits, `PAD` behind the last.
    """
    correct = correct_numbers(numbers, length, digits)
    there = digits != PAD
    right = there & (numbers.digits == digits)
    total = len(correct)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (digits[there], numbers.digits[there]), 1)
    return {
        "num_examples": total,
        "whole_number_accuracy": float(correct.mean()),
        "whole_number_accuracy_interval": wilson_interval(int(correct.sum()), total),
        "digit_accuracy": float(right.sum() / there.sum()),
        "length_accuracy": float((numbers.length == length).mean()),
        "coverage_at_98": coverage_at(*coverage_curve(numbers.confidence, correct), COVERAGE_ACCURACY),
        "position_accuracy": [
            {
                "position": place + 1,
                "num_examples": int(there[:, place].sum()),
                "accuracy": float(right[:, place].sum() / there[:, place].sum()),
            }
            for place in range(MAX_LENGTH)
            if there[:, place].any()
        ],
        "by_length": [
            {
                "length": int(value),
                "num_examples": int((length == value).sum()),
                "whole_number_accuracy": float(correct[length == value].mean()),
            }
            for value in np.unique(length)
        ],
        "confusion": confusion.tolist(),
    }
