"""Scores of a set of answers: counts first, shares last. NumPy only."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.schema import MAX_LENGTH, PAD
from trainer.decode import Numbers

COVERAGE_ACCURACY = 0.98
"""What accuracy coverage is stated at: about that of human operators (Goodfellow et al. 2013, section 1)."""


def correct_numbers(numbers: Numbers, length: NDArray[np.int64], digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns where length and every digit are right: (batch,) bool."""
    there = digits != PAD
    result: NDArray[np.bool_] = (numbers.length == length) & np.where(there, numbers.digits == digits, True).all(axis=1)
    return result


def coverage_at(correct: NDArray[np.bool_], confidence: NDArray[np.float64], accuracy: float) -> float:
    """Returns the largest share of examples that, most confident first, are answered with at least `accuracy`.

    Examples of equal confidence are answered together, so their order decides nothing.
    """
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum(correct[order])
    answered = np.arange(1, len(order) + 1)
    last_of_equals = np.append(np.diff(confidence[order]) != 0, True)
    good = last_of_equals & (right >= accuracy * answered - 1e-9)
    return float(answered[good].max() / len(order)) if good.any() else 0.0


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
        "coverage_at_98": coverage_at(correct, numbers.confidence, COVERAGE_ACCURACY),
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
