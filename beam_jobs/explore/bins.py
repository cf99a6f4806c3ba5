"""Counted values to the bins of charts and of statistics.json."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from beam_jobs.explore.statistics import quantile_of
from tfrecords.images.crop import Shape
from tfrecords.pages.charts import nice_ticks

PER_OCTAVE = 4
"""Bins per octave: over so many, a size doubles."""
_MOST_BINS = 40
_NICE = (1, 2, 5)
_SHOWN = 0.995
"""Share of the values that have bins of their own; larger ones share the last bin."""


@dataclass(frozen=True)
class Bins:
    """Values in bins of equal width.

    Attributes:
      first: Lower edge of the first bin.
      width: Width of a bin.
      counts: Count of each bin; the last one also holds all larger values.
      beyond: Count of the values above the last bin's upper edge.
    """

    first: int
    width: int
    counts: list[int]
    beyond: int

    def name(self, index: int, unit: str, scale: float = 1.0) -> str:
        """Returns the name of a bin, as `20 to 24 pixels`.

        Args:
          index: Index of the bin.
          unit: Unit of the values, in the plural; empty for none.
          scale: Unit of the edges.
        """
        low, high = self.first + index * self.width, self.first + (index + 1) * self.width
        if index == len(self.counts) - 1 and self.beyond:
            return f"{low * scale:g} {unit}".strip() + " or more"
        if scale == 1 and self.width == 1:
            return f"{low} {unit}"
        return f"{low * scale:g} to {(high - (scale == 1)) * scale:g} {unit}".strip()

    def ticks(self, scale: float = 1.0) -> dict[float, str]:
        """Returns round values in the range of the bins, by their position in bins.

        Args:
          scale: Unit of the edges.
        """
        # Whole numbers are in the middle of a bin that is theirs alone.
        middle = 0.5 if scale == 1 and self.width == 1 else 0.0
        last = self.first + len(self.counts) * self.width
        values = nice_ticks(self.first * scale, last * scale, whole=scale == 1)
        return {
            (value / scale - self.first) / self.width + middle: f"{value:g}"
            for value in values
            if value < last * scale or not middle
        }


def bins_of(counts: Mapping[int, int], most: int = _MOST_BINS) -> Bins:
    """Returns the bins of counted values, of a width of 1, 2 or 5 times a power of ten.

    Args:
      counts: Count of each value, of at least one.
      most: Largest number of bins.

    Raises:
      ValueError: There is no value.
    """
    high = quantile_of(counts, _SHOWN)
    if high is None:
        raise ValueError("There must be a value to count. Received: none")
    low = min(counts)
    width = next(
        nice * 10**power
        for power in range(20)
        for nice in _NICE
        if (high // (nice * 10**power)) - (low // (nice * 10**power)) < most
    )
    first = low // width * width
    found = [0] * ((high - first) // width + 1)
    beyond = 0
    for value, count in counts.items():
        index = (value - first) // width
        if index >= len(found):
            beyond += count
        found[min(index, len(found) - 1)] += count
    return Bins(first, width, found, beyond)


def octave_bin(value: float) -> int:
    """Returns the bin of a size of at least 1, of `PER_OCTAVE` bins an octave."""
    # Rounding must not put a power of two into the bin below.
    return math.floor(PER_OCTAVE * math.log2(value) + 1e-9)


def octave_edge(index: int) -> float:
    """Returns the lower edge of a bin of sizes."""
    return float(2.0 ** (index / PER_OCTAVE))


def octave_text(index: int, pixels: str = "pixels") -> str:
    """Returns the whole sizes in a bin, as `64 to 76 pixels`.

    Args:
      index: Index of the bin, as of `octave_bin`.
      pixels: Unit of the sizes, in the plural.
    """
    low, high = math.ceil(octave_edge(index) - 1e-9), math.ceil(octave_edge(index + 1) - 1e-9) - 1
    return f"{low:,} to {high:,} {pixels}" if high > low else f"{low:,} {pixels}"


def size_cells(sizes: Mapping[Shape, int]) -> Counter[tuple[int, int]]:
    """Returns the number of pictures by the bins of their width and height."""
    cells: Counter[tuple[int, int]] = Counter()
    for (height, width), count in sizes.items():
        cells[octave_bin(width), octave_bin(height)] += count
    return cells


def pixel_counts(sizes: Mapping[Shape, int]) -> Counter[int]:
    """Returns the number of pictures by their number of pixels."""
    pixels: Counter[int] = Counter()
    for (height, width), count in sizes.items():
        pixels[height * width] += count
    return pixels
