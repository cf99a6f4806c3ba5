"""The part of `evaluate` for models that find numbers: scores of a split, and every box that is found."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import progress_of
from trainer.commands.evaluate_output import copy_config, print_replaced
from trainer.distribute.startup import start_tensorflow
from trainer.finding.finder import run_threshold
from trainer.input.records import Records
from trainer.run.directory import Run, write_json
from trainer.run.evaluations import EvaluationFiles, found_file
from trainer.run.stand_in import StandIn, absolute, shown

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


def run_finder(args: argparse.Namespace, trained: Run, records: Records, output: StandIn) -> int:
    """Scores a model that finds numbers, and writes its scores and all that it finds.

    Args:
      args: Options of `evaluate`.
      trained: Run of the model.
      records: Dataset of scenes.
      output: Folder to write to.

    Raises:
      UserError: An option, the run or the dataset cannot be used.
    """
    if args.crops > 1:
        raise UserError(f"--crops must be 1 for {trained.config.model}, which sees complete pictures.", args.crops)
    with ending_at_once():
        start_tensorflow()
    from trainer.finding.found_file import found_pictures, write_found

    found = find_all(trained, records, args.split, args.batch_size)
    scores = score_split(trained, found)
    files = EvaluationFiles.of_split(output.folder, args.split)
    output.fetch(files.scores.name)
    facts = {"split": args.split, "data": absolute(args.data), "manifest_sha256": records.manifest_sha256, "crops": 1}
    print_replaced(files.scores, facts)
    copy_config(trained, output)
    write_json(files.scores, {**facts, **scores})
    boxes = found_file(output.folder, args.split)
    write_found(boxes, found_pictures(found.keys, found.found, found.truth, found.scales))
    output.publish(files.scores.name, boxes.name)
    print_found(scores, args.split, files.scores)
    return 0


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
    print(f"Next: python -m trainer report --run-dir {shlex.quote(shown(path.parent))}")
