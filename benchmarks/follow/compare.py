"""Accuracy of the two ways on the same held-out photos, and the difference, photo by photo."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError

_Z = 1.96
"""Quantile of the normal distribution of a 95 % interval."""


@dataclass(frozen=True)
class Scored:
    """What one run has read.

    Attributes:
      epochs: Number of its epochs.
      examples: Number of examples that it has seen, over all epochs.
      right: Whether the number of each held-out photo was right, by key.
    """

    epochs: int
    examples: int
    right: dict[str, bool]


@dataclass(frozen=True)
class Score:
    """Accuracy of one way.

    Attributes:
      epochs: Number of epochs.
      examples: Number of examples seen.
      right: (seeds, photos) float64: 1 where the number was right, photos in the order of their keys.
    """

    epochs: int
    examples: int
    right: NDArray[np.float64]

    @property
    def of_seeds(self) -> list[float]:
        """Whole-number accuracy of each seed, 0..1."""
        return [float(value) for value in self.right.mean(axis=1)]

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean over the seeds and its 95 % interval: what other photos of this kind would give."""
        return _interval(self.right.mean(axis=0))


def score(runs: Sequence[Scored]) -> Score:
    """Returns the accuracy of the runs of one way, one per seed.

    Raises:
      UserError: They read other photos.
    """
    keys = sorted(runs[0].right)
    if any(sorted(each.right) != keys for each in runs):
        raise UserError("All runs must be scored on the same photos.")
    right = np.array([[each.right[key] for key in keys] for each in runs], np.float64)
    return Score(runs[0].epochs, runs[0].examples, right)


def difference(first: Score, second: Score) -> tuple[float, float, float]:
    """Returns the accuracy of the second way minus that of the first, and its 95 % interval.

    Photos that both read, or neither, tell nothing of the difference: it is taken photo by photo, so the interval is
    much narrower than those of the two.
    """
    return _interval(second.right.mean(axis=0) - first.right.mean(axis=0))


def _interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    mean, margin = float(values.mean()), _Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - margin, mean + margin
