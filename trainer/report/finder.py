"""The run of a model that finds numbers to one HTML page that needs nothing but itself."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.images.crop import BoundingBox
from tfrecords.images.marks import FOUND, TRUE, Mark
from tfrecords.pages import charts
from tfrecords.pages.charts import Axis, Series
from tfrecords.pages.formats import format_percent, is_finite
from tfrecords.pages.page import render_page
from trainer.finding.found_file import FoundNumber, FoundPicture
from trainer.finding.scores import FIXED_THRESHOLD
from trainer.report.history import epoch_chart, points
from trainer.report.inputs import EVALUATE, PREPARE, TRAIN, RunFiles
from trainer.report.page import COMMAND, Report
from trainer.report.scenes import Card, Group, draw_cards, load_scenes, sample_order
from trainer.scoring.metrics import wilson_interval

_DECIMALS = 4
"""Decimals of confidences in found-SPLIT.jsonl."""


def render_finder(run: RunFiles) -> Report:
    """Returns the page of a run that finds numbers; the same run and pictures give the same page."""
    scores = run.evaluation
    threshold = scores["threshold"] if is_finite(scores.get("threshold")) else FIXED_THRESHOLD
    threshold = round(float(threshold), _DECIMALS)
    groups = list(choose_groups(run.found, threshold))
    split = str(scores.get("split", ""))
    scenes, complaint = load_scenes(run.data_dir if run.manifest else None, split, groups, run.snapshot)
    pictures = draw_cards(groups, scenes)
    missing = (*run.missing, *complaint)
    values = {
        "run": run,
        "name": run.run_dir.resolve().name,
        "missing": missing,
        "scores": scores,
        "intervals": _intervals(run.found, threshold),
        "history_charts": _history_charts(run.history),
        "curve": precision_recall_chart(run.found, threshold),
        "threshold": threshold,
        "groups": groups,
        "pictures": pictures,
        "commands": {"train": TRAIN, "evaluate": EVALUATE, "prepare": f"{PREPARE} --task find"},
    }
    html = render_page(Path(__file__).parent / "finder.html", COMMAND, values)
    return Report(html, len(pictures), missing)


def _history_charts(history: list[dict[str, Any]]) -> dict[str, str]:
    """Returns title to SVG of the training curves that the history has values for."""
    scores = [
        Series("average precision", "main", points(history, "validation_average_precision")),
        Series("mean IoU", "third", points(history, "validation_mean_iou")),
    ]
    both = [
        Series("recall", "main", points(history, "validation_recall")),
        Series("precision", "second", points(history, "validation_precision")),
        Series("threshold", "third", points(history, "validation_threshold")),
    ]
    losses = [
        Series("validation", "main", points(history, "validation_loss")),
        Series("training", "second", points(history, "train_loss")),
    ]
    drawn = {
        "Average precision, validation": epoch_chart(scores, shares=True),
        "Recall and precision, validation": epoch_chart(both, shares=True),
        "Loss": epoch_chart(losses),
        "Pictures found, training": epoch_chart(
            [Series("pictures found", "main", points(history, "train_pictures_found"))], shares=True
        ),
        "Learning rate": epoch_chart([Series("learning rate", "main", points(history, "learning_rate"))]),
    }
    return {title: svg for title, svg in drawn.items() if svg}


def _intervals(pictures: Sequence[FoundPicture], threshold: float) -> dict[str, tuple[float, float]]:
    """Returns the 95 % intervals of recall and precision, of those that have something to count."""
    kept = [one for picture in pictures for one in picture.found if one.confidence >= threshold]
    right = sum(one.number is not None for one in kept)
    totals = {"recall": sum(len(picture.numbers) for picture in pictures), "precision": len(kept)}
    return {name: wilson_interval(right, total) for name, total in totals.items() if total}


def precision_recall(pictures: Sequence[FoundPicture]) -> list[tuple[float, float, float]]:
    """Returns confidence, recall and precision from each confidence on, the highest first; none without a number."""
    numbers = sum(len(picture.numbers) for picture in pictures)
    found = sorted((one for picture in pictures for one in picture.found), key=lambda one: -one.confidence)
    if not numbers or not found:
        return []
    confidence = np.array([one.confidence for one in found])
    right = np.cumsum([one.number is not None for one in found])
    # Boxes of one confidence are above a threshold together.
    last = np.append(confidence[:-1] != confidence[1:], True)
    precision = right / np.arange(1, len(found) + 1)
    return list(zip(confidence[last].tolist(), (right[last] / numbers).tolist(), precision[last].tolist(), strict=True))


def precision_recall_chart(pictures: Sequence[FoundPicture], threshold: float) -> str:
    """Returns the chart of precision over recall with a dot at the threshold; empty without a number or a box."""
    rows = precision_recall(pictures)
    if not rows:
        return ""
    chosen = [(recall, precision) for confidence, recall, precision in rows if confidence >= threshold][-1:]
    curve = [(recall, precision) for _, recall, precision in rows]
    low = math.floor(10 * min(precision for _, precision in curve)) / 10
    x, y = Axis(0, 1, "recall (share of the numbers found)", percent=True), Axis(min(low, 0.9), 1, percent=True)
    where = "".join(
        f"; at the threshold recall is {format_percent(recall)} and precision {format_percent(precision)}"
        for recall, precision in chosen
    )
    story = f"Recall up to {format_percent(curve[-1][0])}, where precision is {format_percent(curve[-1][1])}{where}."
    return charts.line_chart([Series("", "mark", chosen), Series("", "main", charts.thin(curve))], x, y, story)


def choose_groups(pictures: Sequence[FoundPicture], threshold: float) -> Iterator[Group]:
    """Yields the galleries of what went wrong and right.

    Args:
      pictures: What was found in each picture.
      threshold: Confidence from which a box counts.
    """
    kept = {each.key: [one for one in each.found if one.confidence >= threshold] for each in pictures}
    yield _missed(pictures, kept, threshold)
    pairs = [(each, one) for each in pictures for one in kept[each.key]]
    wrong = sorted((pair for pair in pairs if pair[1].number is None), key=lambda pair: -pair[1].confidence)
    right = sorted((pair for pair in pairs if pair[1].number is not None), key=lambda pair: pair[1].iou)
    worst = right[: len(right) // 4]
    fine = sorted(right[len(worst) :], key=lambda pair: sample_order(f"{pair[0].key}/{pair[1].number}"))
    yield Group.first(
        "false",
        "False finds, the most confident first",
        "Boxes that overlap no number by an IoU of 0.5: signs, windows, parts of numbers, and numbers without a label.",
        [_found_card(each, one, "False find") for each, one in wrong],
    )
    yield Group.first(
        "worst",
        "Worst overlaps of numbers that were found",
        "The quarter of the found numbers whose boxes fit worst. A box that cuts a digit off leads to a wrong reading.",
        [_found_card(each, one, f"IoU {one.iou:.2f}") for each, one in worst],
    )
    yield Group.first(
        "right",
        "Other numbers that were found",
        "A fixed sample of the rest.",
        [_found_card(each, one, f"IoU {one.iou:.2f}", is_right=True) for each, one in fine],
    )


def _missed(pictures: Sequence[FoundPicture], kept: dict[str, list[FoundNumber]], threshold: float) -> Group:
    """Returns the gallery of numbers that no box from the threshold on matches."""
    missed = []
    for each in pictures:
        there = {one.number for one in kept[each.key]}
        surest = {one.number: one.confidence for one in reversed(each.found)}
        missed += [(each, index, surest.get(index)) for index in range(len(each.numbers)) if index not in there]
    missed.sort(key=lambda one: one[2] or 0.0)
    cards = [
        Card(
            each.key,
            "Missed",
            (("Surest box there", "none" if surest is None else f"{surest:.0%} confident"),),
            (Mark(each.numbers[index], "missed", TRUE), *_found_marks(kept[each.key])),
        )
        for each, index, surest in missed
    ]
    explanation = f"Numbers that no box from a confidence of {threshold:.2f} on matches; those without any box first."
    return Group.first("missed", "Missed numbers", explanation, cards)


def _found_card(picture: FoundPicture, one: FoundNumber, title: str, is_right: bool = False) -> Card:
    truth: tuple[BoundingBox, ...] = picture.numbers if one.number is None else (picture.numbers[one.number],)
    marks = (*(Mark(box, "", TRUE) for box in truth), *_found_marks([one]))
    return Card(picture.key, title, (("Confidence", format_percent(one.confidence)),), marks, is_right)


def _found_marks(found: Sequence[FoundNumber]) -> tuple[Mark, ...]:
    return tuple(Mark(one.box, f"{one.confidence:.0%}", FOUND) for one in found)
