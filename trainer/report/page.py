"""A run to one HTML page that needs nothing but itself."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.pages import charts
from tfrecords.pages.charts import Axis, Series
from tfrecords.pages.formats import format_percent, is_finite, visible
from tfrecords.pages.page import png_data_uri, render_page
from tfrecords.record.labels import DIGITS
from trainer.report import gallery
from trainer.report.drift import measure_drift
from trainer.report.history import epoch_chart, points
from trainer.report.inputs import EVALUATE, PREPARE, TRAIN, RunFiles
from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.metrics import COVERAGE_ACCURACY, coverage_at, coverage_curve
from trainer.scoring.prediction_file import Prediction

LEAST_ANSWERED = 10
"""Smallest number of predictions whose accuracy is drawn; that of fewer jumps too much."""
COMMAND = "python -m trainer report"


@dataclass(frozen=True)
class Report:
    """A rendered page.

    Attributes:
      html: Content of the page.
      num_pictures: Number of pictures that it shows.
      missing: One line per part that is missing.
    """

    html: str
    num_pictures: int
    missing: tuple[str, ...]


def render(run: RunFiles) -> Report:
    """Returns the page of a run; the same run and images give the same page."""
    chosen = gallery.choose(run.predictions)
    pictures, complaint = _pictures(run, chosen)
    drift, unknown = measure_drift(run)
    missing = (*run.missing, *unknown, *complaint)
    confusion = run.evaluation.get("confusion") or []
    alphabet = run.evaluation.get("alphabet", DIGITS)
    # Runs of earlier versions do not state it: their models read the length.
    single = run.config.get("reads_length") is False
    accuracy_name = "Accuracy" if single else "Whole-number accuracy"
    values = {
        "run": run,
        "name": run.run_dir.resolve().name,
        "missing": missing,
        "drift": drift,
        "history_charts": _history_charts(run.history, accuracy_name, single) if run.history else {},
        "coverage_chart": _coverage_chart(run.predictions) if run.predictions else "",
        "reliability": _reliability(run) if run.predictions else {},
        "least_answered": LEAST_ANSWERED,
        "chosen": chosen,
        "pictures": pictures,
        "confusion": confusion,
        "characters": visible(alphabet),
        "plain_digits": alphabet == DIGITS,
        "unit": "digit" if alphabet == DIGITS else "character",
        "single": single,
        "accuracy_name": accuracy_name,
        "confusions": gallery.top_confusions(confusion),
        "commands": {"train": TRAIN, "evaluate": EVALUATE, "prepare": PREPARE},
    }
    html = render_page(Path(__file__).parent / "report.html", COMMAND, values)
    return Report(html, len(pictures), missing)


def _pictures(run: RunFiles, chosen: gallery.Gallery) -> tuple[dict[str, str], list[str]]:
    """Returns key to data URI of the chosen predictions, and a line if pictures are missing."""
    keys = chosen.keys()
    if not keys or run.data_dir is None or not (run.manifest if run.data_dir.is_remote else run.data_dir.is_dir()):
        return {}, []
    split = run.evaluation.get("split")
    if not split:
        return {}, [f"The gallery has no pictures: the evaluation names no split; run `{EVALUATE}`."]
    try:
        images = gallery.load_images(run.data_dir, str(split), keys, run.snapshot)
    except (UserError, OSError) as error:
        return {}, [f"The gallery has no pictures: {error}"]
    absent = len(keys - images.keys())
    complaint = f"{run.data_dir}, split {split}, does not have {absent} of the gallery's {len(keys)} pictures."
    return {key: png_data_uri(image) for key, image in images.items()}, [complaint] if absent else []


def _history_charts(history: list[dict[str, Any]], accuracy_name: str, single: bool) -> dict[str, str]:
    """Returns title to SVG of the training curves that the history has values for.

    Args:
      history: Lines of the history.
      accuracy_name: Title of the chart of accuracies.
      single: Whether each number is one character, so that the accuracy of digits is no other curve.
    """
    accuracies = [
        Series("validation", "main", points(history, "validation_whole_number_accuracy")),
        Series("training", "second", points(history, "train_whole_number_accuracy")),
    ]
    losses = [
        Series("validation", "main", points(history, "validation_loss")),
        Series("training", "second", points(history, "train_loss")),
    ]
    if any("validation_newest_loss" in row for row in history):
        newest = "newest validation"
        accuracies.append(Series(newest, "third", points(history, "validation_newest_whole_number_accuracy")))
        losses.append(Series(newest, "third", points(history, "validation_newest_loss")))
    elif not single:
        accuracies.append(Series("validation, digits", "third", points(history, "validation_digit_accuracy")))
    rates = [Series("learning rate", "main", points(history, "learning_rate"))]
    drawn = {
        accuracy_name: epoch_chart(accuracies, shares=True),
        "Loss": epoch_chart(losses),
        "Learning rate": epoch_chart(rates),
    }
    return {title: svg for title, svg in drawn.items() if svg}


def _coverage_chart(predictions: list[Prediction]) -> str:
    coverage, accuracy = coverage_curve([one.confidence for one in predictions], [one.correct for one in predictions])
    shown = coverage * len(predictions) >= min(LEAST_ANSWERED, len(predictions))
    low = min(math.floor(10 * accuracy[shown].min()) / 10, COVERAGE_ACCURACY - 0.08)
    x, y = Axis(0, 1, "coverage (share of pictures answered)", percent=True), Axis(low, 1, percent=True)
    pairs = list(zip(coverage[shown].tolist(), accuracy[shown].tolist(), strict=True))
    reached = coverage_at(coverage, accuracy, COVERAGE_ACCURACY)
    story = (
        f"Accuracy {format_percent(pairs[0][1])} when {format_percent(pairs[0][0])} of the pictures are answered, "
        f"{format_percent(pairs[-1][1])} when all are; 98 % or more up to {format_percent(reached)}."
    )
    curve = Series("", "main", charts.thin(pairs))
    height = float(accuracy[coverage == reached].sum())
    marks = [Series("", "mark", [(reached, height)])] if reached else []
    return charts.line_chart([*marks, curve], x, y, story, guide=COVERAGE_ACCURACY)


def _reliability(run: RunFiles) -> dict[str, Any]:
    """Returns the reliability diagram, and the expected calibration error before and after the run's temperature."""
    predictions, scores = run.predictions, run.evaluation.get("calibration")
    scores = scores if isinstance(scores, dict) else {}
    groups = equal_groups([one.confidence for one in predictions], [one.correct for one in predictions])
    points = [(group.confidence, group.accuracy) for group in groups]
    before = _group_points(scores.get("groups_before"))
    temperature = scores.get("temperature") if is_finite(scores.get("temperature")) and before else None
    name = "this model" if temperature is None else "at its temperature"
    lines = [Series(name, "main", points)]
    lines += [Series("before", "second", before)] if temperature is not None else []
    lines += [Series("perfect", "third", [(0.0, 0.0), (1.0, 1.0)])]
    x, y = Axis(0, 1, "mean confidence of a group", percent=True), Axis(0, 1, percent=True)
    story = "; ".join(f"{format_percent(sure)} confident, {format_percent(right)} right" for sure, right in points)
    return {
        "chart": charts.line_chart(lines, x, y, f"Accuracy by confidence: {story}."),
        "groups": groups[::-1],
        "error": calibration_error(groups),
        "temperature": temperature,
        "fitted_on": scores.get("fitted_on"),
        "error_before": scores.get("error_before") if temperature is not None else None,
    }


def _group_points(groups: Any) -> list[tuple[float, float]]:
    """Returns (confidence, accuracy) of the groups of an evaluation; none if they are not as `evaluate` writes them."""
    rows = groups if isinstance(groups, list) else []
    points = [(row.get("confidence"), row.get("accuracy")) for row in rows if isinstance(row, dict)]
    return [(x, y) for x, y in points if is_finite(x) and is_finite(y)]
