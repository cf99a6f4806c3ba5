"""Line charts as inline SVG, without network, fonts or state.

Written by hand rather than with matplotlib: colours come from the page's style sheet, so that one chart of a few
kilobytes serves light, dark and print.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 340, 230
"""Size of a chart in user units: about its width in CSS pixels on a phone, so that its text is readable there."""
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 30, 42
"""Margins around the plotted area, user units."""
LETTER_WIDTH = 6.7
"""Mean width of a letter, user units."""
MOST_MARKERS = 12
"""Largest number of points with visible markers; more would hide the line."""
MOST_HINTS = 40
"""Largest number of points with invisible markers that show their value when pointed at; more would overlap."""
MOST_POINTS = 240
"""Largest number of points of a curve; more cannot be distinguished at this size."""


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
      name: Name in the legend; an empty one is not shown.
      style: Class of the page's style sheet: `main`, `second`, `third` or `mark`.
      points: (x, y) in data units; a y that is not finite interrupts the line.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """The range of an axis, and how its values are written.

    Attributes:
      low: Lower end in data units, below `high`.
      high: Upper end in data units.
      label: Label below the axis.
      percent: Whether values are written as percentages.
      whole: Whether only integers are labelled.
    """

    low: float
    high: float
    label: str = ""
    percent: bool = False
    whole: bool = False

    def ticks(self) -> list[float]:
        """Returns the values to label, ascending."""
        return nice_ticks(self.low, self.high, whole=self.whole)

    def text(self, value: float) -> str:
        """Returns the text of a value."""
        return f"{100 * value:.4g} %" if self.percent else f"{value:.4g}"


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Returns at most `most` points, evenly chosen, including the first and the last.

    Args:
      points: Points in order.
      most: Largest number of points to return, at least 2.
    """
    if len(points) <= most:
        return list(points)
    return [points[i] for i in np.linspace(0, len(points) - 1, most).round().astype(int)]


def nice_ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Returns round values in [low, high], ascending.

    Args:
      low: Lower end of the range.
      high: Upper end of the range.
      most: Largest number of values to return.
      whole: Whether only integers are allowed.

    Raises:
      ValueError: `low` is not below `high`.
    """
    if not low < high:
        raise ValueError(f"low must be below high. Received: {low}, {high}")
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [factor * power * scale for scale in (1, 10) for factor in (1, 2, 2.5, 5)] + [100 * power]
    for step in steps:
        if whole and (step < 1 or step != round(step)):
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(i * step, 12) for i in range(first, last + 1)]
    return [low, high]


def line_chart(series: Sequence[Series], x: Axis, y: Axis, description: str, guide: float | None = None) -> str:
    """Returns a chart of lines over two linear axes.

    Args:
      series: Lines, the first one on top.
      x: Horizontal axis.
      y: Vertical axis; values outside it are drawn at its edge.
      description: Description for readers who cannot see the chart.
      guide: A y value to mark with a dashed line.

    Returns:
      An `<svg>` element with every text escaped; its colours are classes.
    """
    named = [line for line in series if line.name]
    legend = _legend(named) if len(named) > 1 else []
    # Without a legend its row is cut off, except for half the height of the highest tick's text.
    top = 0 if legend else TOP - 8
    box = f'viewBox="0 {top} {WIDTH} {HEIGHT - top}" role="img" aria-label="{escape(description)}"'
    parts = [f'<svg class="chart" {box}>', *legend, *_grid(x, y)]
    if guide is not None:
        at = _down(guide, y)
        parts.append(f'<path class="guide" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
    for line in reversed(series):
        parts += _line(line, x, y)
    return "".join([*parts, "</svg>"])


def _across(value: float, axis: Axis) -> float:
    share = (value - axis.low) / (axis.high - axis.low)
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _down(value: float, axis: Axis) -> float:
    share = (value - axis.low) / (axis.high - axis.low)
    return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in y.ticks():
        at = _down(tick, y)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4.5:.1f}" text-anchor="end">{escape(y.text(tick))}</text>')
    base = HEIGHT - BOTTOM
    for tick in x.ticks():
        text = escape(x.text(tick))
        parts.append(f'<text x="{_across(tick, x):.1f}" y="{base + 18}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    return parts


def _line(line: Series, x: Axis, y: Axis) -> list[str]:
    finite = [(a, b) for a, b in line.points if math.isfinite(b)]
    path, pen = [], "M"
    for a, b in line.points:
        if math.isfinite(b):
            path.append(f"{pen}{_across(a, x):.1f} {_down(b, y):.1f}")
        pen = "L" if math.isfinite(b) else "M"
    parts = [f'<path class="line {line.style}" d="{"".join(path)}"/>'] if path else []
    style = line.style if len(finite) <= MOST_MARKERS else "hint"
    for a, b in finite if len(finite) <= MOST_HINTS else []:
        title = escape(f"{line.name} {x.label} {x.text(a)}: {y.text(b)}".strip())
        dot = f'<circle class="dot {style}" cx="{_across(a, x):.1f}" cy="{_down(b, y):.1f}" r="3">'
        parts.append(f"{dot}<title>{title}</title></circle>")
    return parts


def _legend(series: Sequence[Series]) -> list[str]:
    parts, left = [], 2.0
    for line in series:
        parts.append(f'<path class="line {line.style}" d="M{left:.1f} 12h18"/>')
        parts.append(f'<text x="{left + 24:.1f}" y="16.5">{escape(line.name)}</text>')
        left += 24 + LETTER_WIDTH * len(line.name) + 14
    return parts
