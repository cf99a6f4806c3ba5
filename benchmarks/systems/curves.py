"""Learning curves of the systems as one SVG file, which documentation shows as an image."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.systems.catalogue import run_directory
from benchmarks.systems.run import Result
from tfrecords import pages
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.pages.charts import HEIGHT, WIDTH, Axis, Series, line_chart, thin
from trainer.report.inputs import read_history
from trainer.run.directory import HISTORY

_COLUMNS = 3
_TITLE, _GAP = 24, 16
"""Height of a chart's title and space between charts, user units."""
_NAMES = {
    "validation_whole_number_accuracy": ("validation", "main"),
    "train_whole_number_accuracy": ("training", "second"),
}
"""Name and style of a curve by its key in the history."""
_STYLESHEET = Path(pages.__file__).with_name("style.css")
"""Stylesheet of the reports' charts. It follows the reader's choice of light or dark, in an image too."""
_STYLE = f"""
svg {{ font: 16px system-ui, sans-serif; }}
.chart {{ width: {WIDTH}px; max-width: none; height: {HEIGHT}px; }}
.title {{ font-weight: 600; font-size: 14px; fill: var(--ink); }}
"""
"""Rules that differ from those of a page."""


def draw_curves(results: Mapping[str, Result], output: Path, path: Path) -> None:
    """Writes the curves of one run per system: accuracies by epoch, and the final one on the split test, dashed.

    A run of one epoch has no curve, and is left out.

    Args:
      results: Result by system.
      output: Folder of the runs.
      path: SVG file to write.

    Raises:
      UserError: No run has more than one epoch, or the history of a run is damaged.
    """
    charts = []
    for name, result in results.items():
        history = read_history(run_directory(output, name, result.seed) / HISTORY)
        if len(history) > 1:
            charts.append((f"{name}, test {100 * result.accuracy:.2f} %", _chart(name, history, result.accuracy)))
    if not charts:
        raise UserError("Curves need a run of at least two epochs.", ", ".join(results))
    with atomic_write(path) as stream:
        stream.write(_page(charts).encode())


def _chart(name: str, history: list[dict[str, Any]], accuracy: float) -> str:
    """Returns the chart of one run, an `<svg>` element."""
    series = [
        Series(title, style, [(line["epoch"], line[key]) for line in history if key in line])
        for key, (title, style) in _NAMES.items()
    ]
    series = [Series(line.name, line.style, thin(line.points)) for line in series if line.points]
    lowest = min(accuracy, *(y for line in series for _, y in line.points))
    x = Axis(1, len(history), "epoch", percent=False, whole=True)
    y = Axis(math.floor(20 * lowest) / 20, 1, percent=True)
    return line_chart(series, x, y, f"{name}: accuracies by epoch; {100 * accuracy:.2f} % on the test split", accuracy)


def _page(charts: list[tuple[str, str]]) -> str:
    """Returns an SVG document of titled charts in rows."""
    columns = min(_COLUMNS, len(charts))
    across, down = WIDTH + _GAP, HEIGHT + _TITLE + _GAP
    size = (columns * across - _GAP, math.ceil(len(charts) / columns) * down - _GAP)
    box = f"{-_GAP} 0 {size[0] + 2 * _GAP} {size[1]}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{size[0] + 2 * _GAP}">']
    parts.append(f"<style>{_STYLESHEET.read_text()}{_STYLE}</style>")
    for index, (title, chart) in enumerate(charts):
        left, top = index % columns * across, index // columns * down
        parts.append(f'<text class="title" x="{left}" y="{top + 16}">{escape(title)}</text>')
        place = f'<svg x="{left}" y="{top + _TITLE}" width="{WIDTH}" height="{HEIGHT}" '
        parts.append(chart.replace("<svg ", place, 1))
    return "\n".join([*parts, "</svg>", ""])
