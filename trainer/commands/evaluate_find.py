"""The part of `evaluate` for models that find numbers: scores of a split, and every box that is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.publish import atomic_write
from tfrecords.images.crop import BoundingBox
from tfrecords.progress import progress_of
from trainer.finding.finder import run_threshold
from trainer.input.records import Records
from trainer.run.directory import Run
from trainer.run.stand_in import shown

if TYPE_CHECKING:
    from trainer.finding.inference import SplitFound

_BATCH = 16
"""Pictures per batch, each as large as 25 images to read."""
_PRINTED = (
    "average_precision",
    "recall",
    "precision",
    "threshold",
    "recall_at_0.5",
    "precision_at_0.5",
    "recall_at_iou_0.75",
    "mean_iou",
    "num_pictures",
    "num_numbers",
)


def found_file(folder: Path, split: str) -> Path:
    """Returns the file of the boxes found in a split: a line of JSON per picture."""
    return folder / f"found-{split}.jsonl"


def check_task(trained: Run, manifest: Manifest, data: Place) -> None:
    """Raises a UserError if a model does not do what a dataset teaches."""
    if trained.task != manifest.task:
        does = f"{trained.directory} was trained to {trained.task} numbers, and must be scored on a dataset for that"
        raise UserError(f"{does}.", f"{data}, a dataset to {manifest.task} them")


def find_all(trained: Run, records: Records, split: str, batch_size: int) -> SplitFound:
    """Returns what a model finds in the pictures of a split, and shows the progress.

    Raises:
      UserError: The split cannot be read, its pictures have another size, or the run has no weights.
    """
    from trainer.finding.inference import find_split, make_finding
    from trainer.fit.errors import readable
    from trainer.input.dataset import split_dataset
    from trainer.run.weights import load_model

    images = records.scenes(split)
    if images.shape != trained.image_shape:
        rule = f"Pictures must be fitted into the size that {trained.directory} was trained on, {trained.image_shape}"
        raise UserError(f"{rule} (`prepare --canvas`).", images.shape)
    batches = split_dataset(images, min(batch_size, _BATCH))
    shown_batches = progress_of(
        readable(batches, records.directory, split), f"evaluate {split}", len(batches), "batches"
    )
    return find_split(make_finding(load_model(trained)), shown_batches)


def score_split(trained: Run, found: SplitFound) -> dict[str, Any]:
    """Returns loss and scores of a split, at the confidence that was best for the validation split."""
    from trainer.finding.scores import score_found

    return {"task": FIND, "loss": found.loss, **score_found(found.found, found.truth, run_threshold(trained))}


def write_found(path: Path, found: SplitFound) -> None:
    """Writes a line of JSON per picture: its key, the boxes of its numbers, and those found with confidence and IoU.

    Boxes are ymin, xmin, ymax, xmax in pixels of the source picture.
    """
    from trainer.finding.scores import match

    with atomic_write(path) as stream:
        for key, each, truth, scale in zip(found.keys, found.found, found.truth, found.scales, strict=True):
            boxes = [
                {"box": _box(one.box, scale), "confidence": round(one.confidence, 4), "iou": round(overlap, 4)}
                for one, overlap in zip(each, match(each, truth), strict=True)
            ]
            line = {"key": key, "numbers": [_box(box, scale) for box in truth], "found": boxes}
            stream.write((json.dumps(line) + "\n").encode())


def _box(box: BoundingBox, scale: tuple[float, float]) -> list[float]:
    return [round(edge / scale[axis % 2], 2) for axis, edge in enumerate(box)]


def print_found(scores: dict[str, Any], split: str, path: Path) -> None:
    """Prints the scores of a split."""
    for name in _PRINTED:
        value = scores[name]
        print(f"{name:<24}{value:>10,}" if isinstance(value, int) else f"{name:<24}{value:>10.4f}")
    print(
        f"Found {scores['recall']:.1%} of the {scores['num_numbers']:,} numbers of {split} at an IoU of 0.5; "
        f"{scores['precision']:.1%} of what was found are numbers: {shown(path)}"
    )
    if empty := scores["num_pictures_without_number"]:
        print(f"In {scores['num_of_these_with_a_box']:,} of {empty:,} pictures without a number, one was found.")
