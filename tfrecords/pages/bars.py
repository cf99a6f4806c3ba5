"""Bar charts as inline SVG, in the manner of `charts`: counts or shares by class or by bin, linear or logarithmic.

A library that draws in the browser (Vega-Lite) would add about 800 kB of script to each page, and matplotlib's SVG has
fixed colours, which do not follow dark mode.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tfrecords.pages.charts import BOTTOM, HEIGHT, LEFT, LETTER_WIDTH, RIGHT, TOP, WIDTH, nice_ticks

MOST_SERIES = 3
"""Largest number of series whose bars can be told apart: there are as many styles."""
_STYLES = ("main", "second", "third")
_BASE = 0.7
"""Lower end of a logarithmic axis: a count of 1 gets a low bar."""
_SWATCH = 12
"""Side of a legend's square, user units."""
_GAP = 10
"""Smallest distance between labels of bars, user units."""


@dataclass(frozen=True)
class BarSeries:
    """One series of bars.

    Attributes:
      name: Name in the legend; an empty one is not shown.
      values: Value of each bar, 0 or more.
    """

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class BarAxes:
    """The axes of a chart of bars. Horizontal positions count bars: bar 0 is from 0 to 1.

    Attributes:
      ticks: Labels by horizontal position.
      label: Label below the horizontal axis.
      percent: Whether values are shares, written as percentages.
      log: Whether the vertical axis is logarithmic; values are counts then.
      guide: A value to mark with a dashed horizontal line; None for no line.
      marks: Labels of vertical dashed lines by horizontal position.
    """

    ticks: Mapping[float, str]
    label: str = ""
    percent: bool = False
    log: bool = False
    guide: float | None = None
    marks: Mapping[float, str] | None = None


def class_ticks(labels: Sequence[str]) -> dict[float, str]:
    """Returns ticks in the middle of bars: all, or as many as there is room for, at equal distances."""
    most = (WIDTH - LEFT - RIGHT) / (LETTER_WIDTH * max(map(len, labels), default=1) + _GAP)
    step = max(1, math.ceil(len(labels) / most))
    return {index + 0.5: labels[index] for index in range(0, len(labels), step)}


def bar_chart(series: Sequence[BarSeries], names: Sequence[str], axes: BarAxes, description: str) -> str:
    """Returns a chart of bars, those of several series next to each other.

    Args:
      series: One to `MOST_SERIES` series of equal length.
      names: Name of each bar, which it shows with its value when pointed at.
      axes: Axes.
      description: Description for readers who cannot see the chart.

    Returns:
      An `<svg>` element with every text escaped; its colours are classes.

    Raises:
      ValueError: There is no bar, or series differ in length, or there are too many.
    """
    count = len(names)
    if not count or not 0 < len(series) <= MOST_SERIES or any(len(one.values) != count for one in series):
        received = [len(one.values) for one in series]
        raise ValueError(
            f"1..{MOST_SERIES} series must have a value for each name. Received: {received}, {count} names"
        )
    named = [one.name for one in series if one.name]
    legend = _legend(named) if len(named) > 1 else []
    top = 0 if legend or axes.marks else TOP - 8
    highest = max(max(one.values) for one in series)
    scale = _Scale(max(highest, axes.guide or 0) * 1.03 or 1, axes)
    box = f'viewBox="0 {top} {WIDTH} {HEIGHT - top}" role="img" aria-label="{escape(description)}"'
    parts = [f'<svg class="chart" {box}>', *legend, *_frame(count, axes, scale)]
    for index, one in enumerate(series):
        parts += _bars(one, (index, len(series)), names, scale)
    parts += _lines(count, axes, scale)
    return "".join([*parts, "</svg>"])


class _Scale:
    """The vertical axis: values to user units."""

    def __init__(self, highest: float, axes: BarAxes) -> None:
        self._axes = axes
        self._high = max(highest, 10.0) if axes.log else highest

    def down(self, value: float) -> float:
        """Returns the vertical place of a value."""
        if self._axes.log:
            share = math.log(max(value, _BASE) / _BASE) / math.log(self._high / _BASE)
        else:
            share = value / self._high
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)

    def ticks(self) -> list[float]:
        """Returns the values to label."""
        if not self._axes.log:
            return nice_ticks(0, self._high, whole=not self._axes.percent and self._high > 1)
        return [10.0**power for power in range(int(math.log10(self._high)) + 1)]

    def text(self, value: float) -> str:
        """Returns the text of a value."""
        if self._axes.percent:
            return f"{100 * value:.3g} %"
        return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"

    def tick(self, value: float) -> str:
        """Returns the text of a value next to the axis, where there is little room."""
        if self._axes.percent or value < 10_000:
            return self.text(value)
        return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"


def _across(position: float, count: int) -> float:
    return LEFT + position / count * (WIDTH - LEFT - RIGHT)


def _frame(count: int, axes: BarAxes, scale: _Scale) -> list[str]:
    """Returns the grid and the labels of the axes."""
    parts = []
    for tick in scale.ticks():
        at = scale.down(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4.5:.1f}" text-anchor="end">{escape(scale.tick(tick))}</text>')
    base = HEIGHT - BOTTOM
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
    for position, text in axes.ticks.items():
        at = _across(position, count)
        parts.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{escape(text)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(axes.label)}</text>')
    return parts


def _bars(one: BarSeries, place: tuple[int, int], names: Sequence[str], scale: _Scale) -> list[str]:
    """Returns the bars of a series, which is one of several."""
    index, of = place
    room = 0.86 if len(names) <= 40 else 1.0
    parts, base = [], scale.down(0)
    for bar, value in enumerate(one.values):
        if value:
            left = _across(bar + (1 - room) / 2 + index * room / of, len(names))
            width, top = _across(room / of, len(names)) - LEFT, scale.down(value)
            # A value that is not 0 is seen.
            height = max(base - top, 0.8)
            text = escape(f"{one.name} {names[bar]}: {scale.text(value)}".strip())
            parts.append(
                f'<rect class="bar {_STYLES[index]}" x="{left:.1f}" y="{base - height:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"><title>{text}</title></rect>'
            )
    return parts


def _lines(count: int, axes: BarAxes, scale: _Scale) -> list[str]:
    """Returns the dashed lines."""
    parts = []
    if axes.guide is not None:
        parts.append(f'<path class="guide" d="M{LEFT} {scale.down(axes.guide):.1f}H{WIDTH - RIGHT}"/>')
    places = sorted((axes.marks or {}).items())
    for index, (position, text) in enumerate(places):
        at = _across(min(max(position, 0), count), count)
        parts.append(f'<path class="guide" d="M{at:.1f} {TOP - 4}V{HEIGHT - BOTTOM}"/>')
        # The first to the left of its line, where there is room, the others to the right, each in a row of its own.
        left = index == 0 and at > LETTER_WIDTH * len(text)
        row = len(places) - 1 - index
        place = (
            f'x="{at + (-4 if left else 4):.1f}" y="{TOP - 8 - 14 * row}" text-anchor="{"end" if left else "start"}"'
        )
        parts.append(f"<text {place}>{escape(text)}</text>")
    return parts


def _legend(names: Sequence[str]) -> list[str]:
    parts, left = [], 2.0
    for style, name in zip(_STYLES, names, strict=False):
        parts.append(f'<rect class="bar {style}" x="{left:.1f}" y="6" width="{_SWATCH}" height="{_SWATCH}"/>')
        parts.append(f'<text x="{left + _SWATCH + 6:.1f}" y="16.5">{escape(name)}</text>')
        left += _SWATCH + 6 + LETTER_WIDTH * len(name) + 14
    return parts
