"""Counts over annotations and sizes of pictures: made block by block, and added up in any order with the same result.

Everything is a count of whole numbers, so that sums do not depend on their order. The memory grows with the number of
different values, not with that of the pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.crop import Shape

BIN_DEGREES = 3
"""Width of a bin of slopes, degrees."""
TAILS_DEGREES = (30, 60, 75, 90)
"""Slopes above which numbers are counted, on either side, degrees."""
VERTICAL_DEGREES = 6
"""Largest distance from the vertical, degrees, of a number that runs from bottom to top or from top to bottom."""
ASPECT_BIN = 0.05
"""Width of a bin of the width of boxes over their height."""
SIDES = ("left", "top", "right", "bottom")
MILLIONTHS = 1_000_000
"""Parts of the share of a grown box that the picture's edges cut off: its sum is of whole numbers too."""


@dataclass
class Statistics:
    """Counts over the entries of a subset.

    Annotations that are rejected count as such only. One whose picture cannot be read is rejected too, and its number
    and boxes count nevertheless: they describe the labels.

    Attributes:
      entries: Entries of the annotations.
      unlabelled: Annotations whose number is not known.
      pictures: Pictures whose size is known, each once however many numbers it has.
      rejected: Rejected annotations by reason.
      characters: Characters of the numbers.
      lengths: Numbers by their number of characters.
      slopes: Slopes by bin: bin 0 is 0 to 3 degrees, bin -1 is -3 to 0.
      tails: Numbers whose slope is above (or, with a negative limit, below) a limit in degrees.
      upwards: Numbers that run from bottom to top.
      downwards: Numbers that run from top to bottom.
      sizes: Pictures by height and width, pixels.
      box_heights: Boxes of characters, or of numbers where characters have none, by height, rounded to pixels.
      box_widths: The same boxes by width, rounded to pixels.
      box_aspects: The same boxes by bin of their width over their height.
      crops: Numbers with a box in a picture of known size.
      cut: Numbers by the share of their grown box that the picture's edges cut off, in percent, rounded up.
      cut_millionths: Sum of these shares, millionths.
      cut_sides: Numbers by the edges that cut their grown box, one of `SIDES`.
    """

    entries: int = 0
    unlabelled: int = 0
    pictures: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    slopes: Counter[int] = field(default_factory=Counter)
    tails: Counter[int] = field(default_factory=Counter)
    upwards: int = 0
    downwards: int = 0
    sizes: Counter[Shape] = field(default_factory=Counter)
    box_heights: Counter[int] = field(default_factory=Counter)
    box_widths: Counter[int] = field(default_factory=Counter)
    box_aspects: Counter[int] = field(default_factory=Counter)
    crops: int = 0
    cut: Counter[int] = field(default_factory=Counter)
    cut_millionths: int = 0
    cut_sides: Counter[str] = field(default_factory=Counter)

    def add(self, other: Statistics) -> None:
        """Adds the counts of other entries."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)


def total(parts: Iterable[Statistics]) -> Statistics:
    """Returns the sum of several statistics."""
    found = Statistics()
    for part in parts:
        found.add(part)
    return found


def count_values(values: NDArray[np.integer]) -> Counter[int]:
    """Returns how often each value of an array occurs."""
    unique, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(unique.tolist(), counts.tolist(), strict=True)))


def mean_of(counts: Mapping[int, int]) -> float | None:
    """Returns the mean of values that were counted; None if there is none."""
    number = sum(counts.values())
    return sum(value * count for value, count in counts.items()) / number if number else None


def quantile_of(counts: Mapping[int, int], share: float) -> int | None:
    """Returns the smallest value that at least a share of the values, 0..1, do not exceed; None if there is none."""
    values = sorted(counts)
    if not values:
        return None
    sums = np.cumsum([counts[value] for value in values])
    return values[min(int(np.searchsorted(sums, share * int(sums[-1]))), len(values) - 1)]
