"""A run to one HTML page that needs nothing but itself."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.pages import charts
from tfrecords.pages.charts import Axis, Series
from tfrecords.pages.formats import format_percent, is_finite, visible
from tfrecords.pages.page import check_output, png_data_uri, render_page, write_page
from tfrecords.record.labels import DIGITS
from trainer.report import gallery
from trainer.report.drift import measure_drift
from trainer.report.inputs import EVALUATE, PREPARE, TRAIN, RunFiles, load_run
from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.metrics import COVERAGE_ACCURACY, coverage_at, coverage_curve
from trainer.scoring.prediction_file import Prediction

LEAST_ANSWERED = 10
"""Smallest number of predictions whose accuracy is drawn; that of fewer jumps too much."""
_COMMAND = "python -m trainer report"
_PICTURE = b'<img src="data:image/'


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


def write_report(
    run_dir: Path,
    output: Path,
    data_dir: Place | Path | None = None,
    split: str | None = None,
    snapshot: int | None = None,
) -> Report:
    """Writes the page of a run atomically.

    Args:
      run_dir: Run directory.
      output: HTML file to write.
      data_dir: Dataset directory; None takes the one that the run names.
      split: Split whose evaluation is shown; None takes test, validation or train, whichever is there.
      snapshot: Number of a snapshot, if the dataset is a stream; None takes the one of the evaluation.

    Raises:
      UserError: The run directory cannot be used; or `output` is a file that is no report, or a page with pictures that
        would be replaced by one without.
      OSError: A file cannot be read or written.
    """
    check_output(output, _COMMAND)
    report = render(load_run(run_dir, data_dir, split, snapshot))
    _check_pictures(output, report)
    write_page(output, report.html)
    return report


def _check_pictures(output: Path, report: Report) -> None:
    """Raises a UserError if a page with pictures would be replaced by one without."""
    if report.num_pictures or not output.is_file() or _PICTURE not in output.read_bytes():
        return
    reason = report.missing[-1] if report.missing else "no prediction is left to show."
    rule = f"{output} has pictures, and the new page would have none: use --data for the dataset, or another --output"
    raise UserError(f"{rule} ({reason.rstrip('.')}).")


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
    html = render_page(Path(__file__).parent / "report.html", _COMMAND, values)
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


def _points(history: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Returns (epoch, value) of each epoch that has the value; a value that is not a finite number becomes NaN."""
    return [(row["epoch"], row[name] if is_finite(row[name]) else math.nan) for row in history if name in row]


def _history_charts(history: list[dict[str, Any]], accuracy_name: str, single: bool) -> dict[str, str]:
    """Returns title to SVG of the training curves that the history has values for.

    Args:
      history: Lines of the history.
      accuracy_name: Title of the chart of accuracies.
      single: Whether each number is one character, so that the accuracy of digits is no other curve.
    """
    accuracies = [
        Series("validation", "main", _points(history, "validation_whole_number_accuracy")),
        Series("training", "second", _points(history, "train_whole_number_accuracy")),
    ]
    losses = [
        Series("validation", "main", _points(history, "validation_loss")),
        Series("training", "second", _points(history, "train_loss")),
    ]
    if any("validation_newest_loss" in row for row in history):
        newest = "newest validation"
        accuracies.append(Series(newest, "third", _points(history, "validation_newest_whole_number_accuracy")))
        losses.append(Series(newest, "third", _points(history, "validation_newest_loss")))
    elif not single:
        accuracies.append(Series("validation, digits", "third", _points(history, "validation_digit_accuracy")))
    rates = [Series("learning rate", "main", _points(history, "learning_rate"))]
    drawn = {
        accuracy_name: _epoch_chart(accuracies, shares=True),
        "Loss": _epoch_chart(losses),
        "Learning rate": _epoch_chart(rates),
    }
    return {title: svg for title, svg in drawn.items() if svg}


def _epoch_chart(series: list[Series], shares: bool = False) -> str:
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


def _coverage_chart(predictions: list[Prediction]) -> str:
    coverage, accuracy = coverage_curve([one.confidence for one in predictions], [one.correct for one in predictions])
    shown = coverage * len(predictions) >= min(LEAST_ANSWERED, len(predictions))
    low = min(math.floor(10 * accuracy[shown].min()) / 10, COVERAGE_ACCURACY - 0.08)
    x, y = Axis(0, 1, "coverage (share of pictures answered)", percent=True), Axis(low, 1, percent=True)
    points = list(zip(coverage[shown].tolist(), accuracy[shown].tolist(), strict=True))
    reached = coverage_at(coverage, accuracy, COVERAGE_ACCURACY)
    story = (
        f"Accuracy {format_percent(points[0][1])} when {format_percent(points[0][0])} of the pictures are answered, "
        f"{format_percent(points[-1][1])} when all are; 98 % or more up to {format_percent(reached)}."
    )
    curve = Series("", "main", charts.thin(points))
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
