"""The charts of the page: statistics to SVG."""

import math
from collections import Counter
from collections.abc import Mapping

from beam_jobs.explore.bins import (
    PER_OCTAVE,
    bins_of,
    octave_bin,
    octave_edge,
    octave_text,
    pixel_counts,
    size_cells,
)
from beam_jobs.explore.statistics import ASPECT_BIN, BIN_DEGREES, Statistics, mean_of, quantile_of
from tfrecords.pages.bars import MOST_SERIES, BarAxes, BarSeries, bar_chart, class_ticks
from tfrecords.pages.formats import format_percent, visible
from tfrecords.pages.heat import HeatAxis, heat_map

MOST_CHARACTERS = 40
"""Characters that are drawn and listed, the most frequent ones."""
_MOST_LENGTHS = 32
_TICK_DEGREES = 30


def characters_of(found: Statistics) -> list[str]:
    """Returns the characters to show, sorted: the most frequent `MOST_CHARACTERS`."""
    frequent = sorted(found.characters, key=lambda one: (-found.characters[one], one))
    return sorted(frequent[:MOST_CHARACTERS])


def label_chart(subsets: Mapping[str, Statistics], everything: Statistics) -> str:
    """Returns the shares of the characters, by subset, with the line where all are equally frequent.

    Args:
      subsets: Statistics by subset.
      everything: Sum of these statistics, with at least one character.
    """
    shown = characters_of(everything)
    with_labels = {name: one for name, one in subsets.items() if one.characters}
    parts = with_labels if len(with_labels) <= MOST_SERIES else {"": everything}
    series = [
        BarSeries(name, [one.characters[character] / one.characters.total() for character in shown])
        for name, one in parts.items()
    ]
    uniform = 1 / len(everything.characters)
    names = [visible(character) for character in shown]
    axes = BarAxes(class_ticks(names), "character", percent=True, guide=uniform)
    best, least = max(shown, key=everything.characters.__getitem__), min(shown, key=everything.characters.__getitem__)
    shares = {
        character: format_percent(everything.characters[character] / everything.characters.total())
        for character in shown
    }
    story = f"{visible(best)} is the most frequent, {shares[best]}, and {visible(least)} the least, {shares[least]}."
    return bar_chart(series, names, axes, f"{story} If all were equally frequent, each had {format_percent(uniform)}.")


def length_chart(subsets: Mapping[str, Statistics], everything: Statistics, log: bool) -> str:
    """Returns the numbers by their number of characters, by subset.

    Args:
      subsets: Statistics by subset.
      everything: Sum of these statistics, with at least one number.
      log: Whether the vertical axis is logarithmic.
    """
    last = min(max(everything.lengths), _MOST_LENGTHS)
    lengths = range(1, last + 1)

    def counts(one: Statistics) -> list[float]:
        # The last bar holds all that are longer.
        longer = sum(count for length, count in one.lengths.items() if length > last)
        return [one.lengths[length] + (longer if length == last else 0) for length in lengths]

    with_labels = {name: one for name, one in subsets.items() if one.lengths}
    parts = with_labels if len(with_labels) <= MOST_SERIES else {"": everything}
    names = [str(length) for length in lengths]
    story = ", ".join(f"{count:,} of {length}" for length, count in sorted(everything.lengths.items())[:8])
    axes = BarAxes(class_ticks(names), "characters", log=log)
    return bar_chart([BarSeries(name, counts(one)) for name, one in parts.items()], names, axes, f"Numbers: {story}.")


def slope_chart(found: Statistics, log: bool) -> str:
    """Returns the slopes of the baselines, in bins of `BIN_DEGREES`.

    Args:
      found: Statistics with at least one slope.
      log: Whether the vertical axis is logarithmic.
    """
    # To the next multiple of the ticks' distance that holds every slope.
    furthest = max(max(found.slopes) + 1, -min(found.slopes)) * BIN_DEGREES
    limit = min(180, math.ceil(furthest / _TICK_DEGREES) * _TICK_DEGREES)
    first, bins = -limit // BIN_DEGREES, 2 * limit // BIN_DEGREES
    values = [float(found.slopes[first + index]) for index in range(bins)]
    # A slope of exactly 180 degrees has a bin of its own.
    values[-1] += found.slopes[limit // BIN_DEGREES]
    names = [f"{low} to {low + BIN_DEGREES} degrees" for low in range(-limit, limit, BIN_DEGREES)]
    step = _TICK_DEGREES if limit <= 90 else 2 * _TICK_DEGREES
    ticks = {
        (tick + limit) / BIN_DEGREES: f"{tick}\u00b0"
        for tick in range(-limit // step * step, limit + 1, step)
        if abs(tick) <= limit
    }
    flat = found.slopes[0] + found.slopes[-1]
    story = f"{flat:,} of {found.slopes.total():,} numbers slope by less than {BIN_DEGREES} degrees."
    return bar_chart([BarSeries("", values)], names, BarAxes(ticks, "slope", log=log), story)


def size_chart(found: Statistics) -> str:
    """Returns the pictures by width and height, in bins of a quarter of an octave."""
    cells = size_cells(found.sizes)
    columns, rows = ([cell[axis] for cell in cells] for axis in (0, 1))
    # Whole octaves, so that the axes end at a label.
    left, low = (min(values) // PER_OCTAVE * PER_OCTAVE for values in (columns, rows))
    right, high = ((max(values) // PER_OCTAVE + 1) * PER_OCTAVE for values in (columns, rows))
    placed = {(column - left, row - low): count for (column, row), count in cells.items()}
    names = {
        (column - left, row - low): f"{octave_text(column, 'wide')}, {octave_text(row, 'high')}"
        for column, row in cells
    }
    x = HeatAxis(right - left, _octave_ticks(left, right), "width, pixels")
    y = HeatAxis(high - low, _octave_ticks(low, high), "height, pixels")
    story = f"{found.pictures:,} pictures of {len(found.sizes):,} sizes, by width and height."
    return heat_map(placed, names, x, y, story)


def pixel_chart(found: Statistics) -> str:
    """Returns the pictures by their number of pixels, in bins of a quarter of an octave, with the mean and median."""
    pixels = pixel_counts(found.sizes)
    counts: Counter[int] = Counter()
    for value, count in pixels.items():
        counts[octave_bin(value)] += count
    first, last = min(counts), max(counts)
    bins = range(first, last + 1)
    mean, median = mean_of(pixels) or 0.0, quantile_of(pixels, 0.5) or 0
    marks = {
        (PER_OCTAVE * math.log2(value) - first): f"{name} {value:,.0f}"
        for name, value in (("median", float(median)), ("mean", mean))
    }
    step = max(1, math.ceil(len(bins) / 5 / PER_OCTAVE)) * PER_OCTAVE
    start = -(-first // PER_OCTAVE) * PER_OCTAVE
    ticks = {float(index - first): _short(octave_edge(index)) for index in range(start, last + 2, step)}
    axes = BarAxes(ticks, "pixels, each mark twice the last" if step == PER_OCTAVE else "pixels", marks=marks)
    names = [octave_text(index) for index in bins]
    story = f"Pixels of a picture: median {median:,}, mean {mean:,.0f}."
    return bar_chart([BarSeries("", [counts[index] for index in bins])], names, axes, story)


def box_charts(found: Statistics) -> dict[str, str]:
    """Returns the charts of the boxes' heights, widths, and widths over heights, by title."""
    charts = {}
    for title, counts in (("Height", found.box_heights), ("Width", found.box_widths)):
        bins = bins_of(counts)
        names = [bins.name(index, "pixels") for index in range(len(bins.counts))]
        story = f"{title} of boxes: median {quantile_of(counts, 0.5):,} pixels, largest {max(counts):,}."
        axes = BarAxes(bins.ticks(), f"{title.lower()}, pixels")
        charts[title] = bar_chart([BarSeries("", bins.counts)], names, axes, story)
    bins = bins_of(found.box_aspects)
    names = [bins.name(index, "", ASPECT_BIN) for index in range(len(bins.counts))]
    median = (quantile_of(found.box_aspects, 0.5) or 0) * ASPECT_BIN
    axes = BarAxes(bins.ticks(scale=ASPECT_BIN), "width over height")
    charts["Width over height"] = bar_chart([BarSeries("", bins.counts)], names, axes, f"Median about {median:.2f}.")
    return charts


def cut_chart(found: Statistics) -> str:
    """Returns the numbers by the share of their grown box that is cut off, logarithmic."""
    last = max(found.cut)
    width = max(1, math.ceil(last / 25))
    groups = [sum(found.cut[percent] for percent in range(low + 1, low + width + 1)) for low in range(0, last, width)]
    values = [float(found.cut[0]), *map(float, groups)]
    names = ["nothing cut", *(f"{low} to {low + width} % cut" for low in range(0, last, width))]
    step = max(1, math.ceil(len(groups) / 6))
    ticks = {0.5: "0", **{1.0 + index: f"{index * width}" for index in range(step, len(groups) + 1, step)}}
    story = f"{found.cut[0]:,} of {found.crops:,} grown boxes lie inside their picture."
    return bar_chart([BarSeries("", values)], names, BarAxes(ticks, "part cut off, %", log=True), story)


def _octave_ticks(low: int, high: int) -> dict[float, str]:
    """Returns labels of powers of two by their position from bin `low`."""
    step = max(1, math.ceil((high - low) / PER_OCTAVE / 7)) * PER_OCTAVE
    return {float(index - low): _short(octave_edge(index)) for index in range(low, high + 1, step)}


def _short(value: float) -> str:
    """Returns a power of two in little room: 512, 4k, 1M."""
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= 4 * size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
