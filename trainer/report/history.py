"""Curves of a run's training, by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords.pages import charts
from tfrecords.pages.charts import Axis, Series
from tfrecords.pages.formats import is_finite


def points(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """Returns (epoch, value) of each epoch that has the value; a value that is not a finite number becomes NaN."""
    return [(row["epoch"], row[name] if is_finite(row[name]) else math.nan) for row in history if name in row]


def epoch_chart(series: list[Series], shares: bool = False) -> str:
    """Returns the chart of some curves by epoch, without those that have no value; empty if none has one.

    Args:
      series: Curves.
      shares: Whether the values are shares, 0..1.
    """
    series = [line for line in series if any(math.isfinite(y) for _, y in line.points)]
    if not series:
        return ""
    top = max(y for line in series for _, y in line.points if math.isfinite(y))
    epochs = [x for line in series for x, _ in line.points]
    x = Axis(min(epochs), max(max(epochs), min(epochs) + 1), "epoch", whole=True)
    y = Axis(0, 1 if shares else max(1.05 * top, 1e-12), percent=shares)
    ends = [(line.name, [b for _, b in line.points if math.isfinite(b)]) for line in series]
    story = "; ".join(f"{name} from {y.text(values[0])} to {y.text(values[-1])}" for name, values in ends)
    thinned = [Series(line.name, line.style, charts.thin(line.points)) for line in series]
    return charts.line_chart(thinned, x, y, f"By epoch: {story}.")
