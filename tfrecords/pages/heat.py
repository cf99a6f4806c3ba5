"""Two-dimensional histograms as inline SVG, in the manner of `charts`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from tfrecords.pages.charts import LEFT, RIGHT, WIDTH

_HEIGHT, _TOP, _BOTTOM = 330, 26, 42
"""Size and margins of a histogram, user units: its plotted area is nearly a square."""
Cell = tuple[int, int]
"""Column, from the left, and row, from the bottom, of a cell."""


@dataclass(frozen=True)
class HeatAxis:
    """One axis of a histogram. Positions count cells: cell 0 is from 0 to 1.

    Attributes:
      cells: Number of cells, above 0.
      ticks: Labels by position.
      label: Label of the axis.
    """

    cells: int
    ticks: Mapping[float, str]
    label: str


def heat_map(counts: Mapping[Cell, int], names: Mapping[Cell, str], x: HeatAxis, y: HeatAxis, description: str) -> str:
    """Returns a histogram whose cells are the darker (on a dark page, the brighter) the larger the log of their count.

    Args:
      counts: Count of each cell that has one.
      names: Name of each of these cells, which it shows with its count when pointed at.
      x: Horizontal axis.
      y: Vertical axis, upwards.
      description: Description for readers who cannot see the chart.

    Returns:
      An `<svg>` element with every text escaped; its colours are classes.
    """
    box = f'viewBox="0 0 {WIDTH} {_HEIGHT}" role="img" aria-label="{escape(description)}"'
    base, right = _HEIGHT - _BOTTOM, WIDTH - RIGHT
    wide, high = (right - LEFT) / x.cells, (base - _TOP) / y.cells
    parts = [f'<svg class="chart" {box}>']
    for position, text in y.ticks.items():
        at = base - position * high
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4.5:.1f}" text-anchor="end">{escape(text)}</text>')
    for position, text in x.ticks.items():
        at = LEFT + position * wide
        parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{base}"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{escape(text)}</text>')
    most = math.log1p(max(counts.values(), default=1))
    for (column, row), count in sorted(counts.items()):
        place = (
            f'x="{LEFT + column * wide:.1f}" y="{base - (row + 1) * high:.1f}" width="{wide:.1f}" height="{high:.1f}"'
        )
        title = escape(f"{names[column, row]}: {count:,}")
        parts.append(
            f'<rect class="cell" {place} style="--s: {math.log1p(count) / most:.2f}"><title>{title}</title></rect>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {_TOP}V{base}H{right}"/>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    parts.append(f'<text x="2" y="12">{escape(y.label)}</text>')
    return "".join([*parts, "</svg>"])
