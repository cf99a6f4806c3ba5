"""Evidence and predictions to one HTML page that needs nothing but itself, and to picture files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.pages.charts import Axis, Series, line_chart
from tfrecords.pages.formats import format_percent, visible
from tfrecords.pages.page import render_page
from tfrecords.record.labels import DIGITS
from trainer.inside.barcode import Barcodes
from trainer.report.evidence import Evidence, Look
from trainer.report.gallery import Gallery, top_confusions
from trainer.report.pictures import (
    Picture,
    class_strips,
    first_kernels,
    kernel_pictures,
    look_pictures,
    map_pictures,
)
from trainer.report.room import COMMAND, MOST_BYTES, Explanation, Room, render_in_room
from trainer.scoring.calibration import Reliability, reliability
from trainer.scoring.prediction_file import Prediction


@dataclass(frozen=True)
class Answers:
    """The predictions that a page shows.

    Attributes:
      rows: Predictions in stored order.
      scores: Scores of these predictions, as of `trainer.scoring.metrics.score`.
      chosen: Predictions in the gallery.
      images: Key to image of the predictions in the gallery, (height, width, channels) uint8.
    """

    rows: list[Prediction]
    scores: dict[str, Any]
    chosen: Gallery
    images: dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Source:
    """Where the evidence and the predictions come from.

    Attributes:
      run: Name of the run directory.
      model: Name of the architecture.
      dataset: Name of the dataset.
      split: Split of the examples.
      total: Number of examples in the split.
      notes: Sentences about what was left out before.
    """

    run: str
    model: str
    dataset: str
    split: str
    total: int
    notes: tuple[str, ...]


def render(source: Source, answers: Answers, evidence: Evidence, most_bytes: int = MOST_BYTES) -> Explanation:
    """Returns the page; the same arguments give the same page.

    Pictures that there is no room for are left out, and named on the page. The smallest and the most telling ones come
    first: images that are looked into, barcodes, mistakes, the feature maps of the first image, kernels, then the
    feature maps of the other images. Of many kernels, the first ones are shown.

    Args:
      source: Where the rest comes from.
      answers: Predictions of the split.
      evidence: What is shown of the model.
      most_bytes: Largest size of the page, bytes.
    """
    return render_in_room(lambda room: _render(source, answers, evidence, room), most_bytes)


def _render(source: Source, answers: Answers, evidence: Evidence, room: Room) -> Explanation:
    looks = [(look, room.figures(look_pictures(look))) for look in evidence.looks]
    strips = [] if evidence.barcodes is None else _strips(evidence.barcodes, room)
    chosen = (*answers.chosen.wrong, *answers.chosen.unsure)
    pictures = {one.key: room.colour(answers.images[one.key]) for one in chosen}
    maps = [_maps(look, room) for look in evidence.looks[:1]]
    parts = [first_kernels(one) for one in evidence.kernels]
    kernels = room.figures(kernel_pictures(parts), is_grey=True)
    maps += [_maps(look, room) for look in evidence.looks[1:]]
    num_cut = sum(part is not one for part, one in zip(parts, evidence.kernels, strict=True))
    notes = (*source.notes, *_left_out(room.left_out, num_cut))
    alphabet = answers.scores["alphabet"]
    scored = reliability([one.confidence for one in answers.rows], [one.correct for one in answers.rows])
    values = {
        "source": source,
        "answers": answers,
        "evidence": evidence,
        "looks": looks,
        "strips": strips,
        "pictures": {key: uri for key, uri in pictures.items() if uri},
        "kernels": kernels,
        "maps": maps,
        "notes": notes,
        "has_attention": any(look.attention is not None for look in evidence.looks),
        "characters": visible(alphabet),
        "unit": "digit" if alphabet == DIGITS else "character",
        "confusion": answers.scores["confusion"],
        "confusions": top_confusions(answers.scores["confusion"]),
        "chart": _reliability_chart(scored),
        "bins": _bin_rows(scored),
        "error": scored.error,
    }
    html = render_page(Path(__file__).parent / "explain.html", COMMAND, values)
    return Explanation(html, room.shown, notes)


def _maps(look: Look, room: Room) -> tuple[str, list[tuple[Picture, str]]]:
    """Returns the title of an image and its feature maps with their URIs."""
    return look.subject.title, room.figures(map_pictures(look), is_grey=True)


def _left_out(num_pictures: int, num_cut: int) -> list[str]:
    """Returns sentences about pictures without room, and about layers of which the first kernels are shown."""
    lines = []
    if num_pictures:
        lines.append(f"The page has no room for {num_pictures:,} pictures; `--png DIR` writes them to files.")
    if num_cut:
        layers = "layer" if num_cut == 1 else "layers"
        lines.append(f"The page shows only the first kernels of {num_cut:,} {layers}; `--png DIR` writes more.")
    return lines


def _strips(codes: Barcodes, room: Room) -> list[dict[str, Any]]:
    """Returns label, count and the URIs of mean and examples of each class."""
    return [
        {
            "label": visible(strip.label),
            "count": strip.count,
            "mean": room.colour(strip.mean),
            "examples": room.colour(strip.examples),
        }
        for strip in class_strips(codes)
    ]


def _reliability_chart(scored: Reliability) -> str:
    filled = np.flatnonzero(scored.counts)
    points = [(float(scored.confidence[index]), float(scored.accuracy[index])) for index in filled]
    x, y = Axis(0, 1, "confidence", percent=True), Axis(0, 1, percent=True)
    story = "; ".join(f"{format_percent(sure)} confident, {format_percent(right)} right" for sure, right in points)
    lines = [Series("this model", "main", points), Series("perfect", "third", [(0.0, 0.0), (1.0, 1.0)])]
    return line_chart(lines, x, y, f"Accuracy by confidence: {story}.")


def _bin_rows(scored: Reliability) -> list[dict[str, Any]]:
    """Returns interval, count and accuracy of the intervals of confidence, from the highest to the lowest."""
    rows = [
        {
            "interval": f"{100 * low:.0f} to {100 * high:.0f}\u00a0%",
            "count": int(count),
            "accuracy": float(right) if count else None,
        }
        for low, high, count, right in zip(
            scored.edges[:-1], scored.edges[1:], scored.counts, scored.accuracy, strict=True
        )
    ]
    return rows[::-1]
