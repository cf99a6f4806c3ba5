"""python -m trainer evaluate: every score of a split, and every prediction."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords.dataset.manifest import FIND, UNKNOWN_SPLIT, Manifest
from tfrecords.dataset.snapshots import find_snapshot
from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.flags import add_snapshot
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import progress_of
from trainer.commands.evaluate_find import check_task, run_finder
from trainer.commands.evaluate_output import chosen_output, copy_config, print_replaced
from trainer.commands.evaluate_unboxed import check_reader, run_unboxed
from trainer.distribute.startup import start_tensorflow
from trainer.input.records import Records
from trainer.pretrained import NAME, add_run_arguments, chosen_name, chosen_run
from trainer.run.cache_folder import add_cache_arguments, chosen_cache
from trainer.run.config import MOST_EXAMPLES
from trainer.run.cut import ALLOW, check_cut, dataset_cut, run_cut
from trainer.run.directory import Run, labels_text, reads_length, write_json
from trainer.run.evaluations import EvaluationFiles
from trainer.run.stand_in import absolute, naming_addresses, shown

if TYPE_CHECKING:
    from tfrecords.dataset.image_cache import ImageCache
    from trainer.scoring.calibration_file import Calibration
    from trainer.scoring.inference import SplitPredictions

EPILOG = """\
examples:
  score a run on the split test:
    python -m trainer evaluate --run-dir runs/first --data records
  score a run on a snapshot of a stream, a dataset that grows:
    python -m trainer evaluate --run-dir runs/first --data stream --snapshot 41
  score the weights that come with the package; writes to my-records-pretrained:
    python -m trainer evaluate --data my-records --split train
  score a reader on complete pictures, whose numbers a finder finds:
    python -m trainer evaluate --run-dir runs/first --finder runs/finder \\
      --data scenes

The expected calibration error says by how many percentage points confidences
and the shares of right answers differ on average. The run's temperature
(calibration.json, see `calibrate`) is applied, except to the mean of --crops.

With --finder, DATA is one of `prepare --task find`. Of a picture with one
number, the surest answer counts, as `predict` prints it; of one with several,
each number counts in its place. without-box-SPLIT.json has the scores and what
became of the numbers, without-box-SPLIT.jsonl each picture; `report
--without-box` shows them.

Writes evaluation-SPLIT.json (the scores) and predictions-SPLIT.parquet (one row
per example) to the run directory, or to --output together with the run's
config.json. `python -m trainer report` shows them. Of a model that finds
numbers, found-SPLIT.jsonl has the boxes of each picture instead.
"""

_MOST_CROPS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate`."""
    add_run_arguments(parser)
    parser.add_argument("--data", type=place, required=True, help="dataset directory, or its address")
    add_snapshot(parser)
    parser.add_argument("--split", default="test", help="split to score")
    parser.add_argument(
        "--output",
        type=place,
        help="folder for scores and predictions (default: the run directory; for weights of the package next to DATA: "
        f"DATA-{NAME}, and with --weights mnist DATA-{NAME}-mnist)",
    )
    parser.add_argument(
        "--finder",
        metavar="DIR",
        help="run directory of a model that finds numbers, or its address: DATA holds complete pictures, in which "
        "numbers are found and read without their boxes",
    )
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        help="number of windows per image whose probabilities are averaged; 1 takes the centre only",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="examples per batch; the scores do not depend on it"
    )
    parser.add_argument(
        ALLOW, action="store_true", help="score images cut with another growth or crop size than the run's"
    )
    add_cache_arguments(parser)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Scores a split, writes the scores and the predictions, and prints a summary.

    Raises:
      UserError: An option, the run or the dataset cannot be used.
      OSError: A file cannot be read or written.
    """
    for name, most in (("crops", _MOST_CROPS), ("batch_size", MOST_EXAMPLES)):
        if not 1 <= getattr(args, name) <= most:
            raise UserError(f"--{name.replace('_', '-')} must be 1..{most}.", getattr(args, name))
    trained = chosen_run(args.run_dir, args.weights, task=None)
    records = Records.open(args.data, chosen_cache(args), args.snapshot)
    if args.finder is not None:
        check_reader(args, trained, records.manifest)
    else:
        check_task(trained, records.manifest, args.data)
    check_split(args, trained, records.manifest)
    output = chosen_output(args, trained)
    if args.finder is not None:
        return run_unboxed(args, trained, records, output)
    if trained.task == FIND:
        return run_finder(args, trained, records, output)
    images = records.images(args.split)
    if args.crops > 1 and images.shape[:2] == trained.image_shape[:2]:
        rule = f"--crops must be 1 where images are stored at the model's own size, as in {args.split} of {args.data}"
        raise UserError(f"{rule} (`prepare --whole-crops` stores larger ones).", f"--crops {args.crops}")
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    from trainer.scoring.calibration_scores import calibration_scores
    from trainer.scoring.metrics import correct_numbers, score
    from trainer.scoring.prediction_file import write_predictions

    calibration = _calibration(trained, args.crops)
    found = _predict(args, trained, records, images)
    predictions = found.predictions.with_temperature(calibration.temperature) if calibration else found.predictions
    scores = score(predictions, found.length, found.digits)
    correct = correct_numbers(predictions, found.length, found.digits)
    before = found.predictions.confidence
    scores["calibration"] = calibration_scores(predictions.confidence, correct, before, calibration)
    snapshot = find_snapshot(records.directory, records.manifest, args.snapshot)
    facts = {
        "split": args.split,
        # Absolute, because `report` may run in another folder.
        "data": absolute(args.data),
        **({} if snapshot is None else {"snapshot": snapshot.snapshot}),
        "manifest_sha256": records.manifest_sha256,
        "cut": dataset_cut(records.manifest),
        "crops": args.crops,
    }
    files = EvaluationFiles.of_split(output.folder, args.split)
    output.fetch(files.scores.name)
    print_replaced(files.scores, facts)
    copy_config(trained, output)
    write_json(files.scores, {**facts, "loss": found.loss, **scores})
    write_predictions(files.predictions, found.keys, predictions, found.length, found.digits)
    output.publish(files.scores.name, files.predictions.name)
    print(_calibration_line(scores["calibration"]))
    _print_summary(scores, args.split, files.scores, trained.reads_length)
    return 0


def _predict(args: argparse.Namespace, trained: Run, records: Records, images: ImageCache) -> SplitPredictions:
    """Returns the predictions for all images of the split, with their labels, and shows the progress."""
    from trainer.fit.errors import readable
    from trainer.input.dataset import split_dataset
    from trainer.run.weights import load_model
    from trainer.scoring.inference import make_forward, predict_split

    batches = split_dataset(images, args.batch_size)
    read = readable(batches, args.data, args.split, trained.reads_length)
    shown = progress_of(read, f"evaluate {args.split}", len(batches), "batches")
    stored = records.manifest.labels
    return predict_split(make_forward(load_model(trained), args.crops), shown, trained.labels, stored)


def _calibration(trained: Run, crops: int) -> Calibration | None:
    """Returns the calibration of a run; None without one, or where the probabilities of several windows are averaged.

    Raises:
      UserError: The file is damaged.
    """
    from trainer.scoring.calibration_file import read_calibration

    calibration = read_calibration(trained)
    if calibration and crops > 1:
        rule = "the temperature was fitted on one window per image, and is not applied to the mean of several"
        print(f"note: --crops {crops}: {rule}", file=sys.stderr)
        return None
    return calibration


def check_split(args: argparse.Namespace, trained: Run, manifest: Manifest) -> None:
    """Checks that a run can be scored on the split of a dataset.

    Args:
      args: Options `run_dir`, `data`, `split` and `allow_other_crop`.
      trained: Run.
      manifest: Manifest of the dataset.

    Raises:
      UserError: It cannot.
    """
    if args.split not in manifest.splits:
        raise UserError(f"--split must be a split of {args.data}: {', '.join(manifest.splits)}.", args.split)
    if args.split == UNKNOWN_SPLIT:
        raise UserError(f"The numbers of the split {UNKNOWN_SPLIT} are not known, so it cannot be scored.", args.data)
    if trained.task == manifest.task:
        check_same_cut(args, trained, manifest)
    if trained.task != FIND:
        _check_labels(args, trained, manifest)


def check_same_cut(args: argparse.Namespace, trained: Run, manifest: Manifest) -> None:
    """Checks that the images of a dataset are cut as those that a run was trained on.

    Args:
      args: Options `run_dir`, `weights`, `data` and `allow_other_crop`.
      trained: Run.
      manifest: Manifest of the dataset.

    Raises:
      UserError: They are not.
    """
    rule = f"{args.data} must be cut as the images that {chosen_name(args.run_dir, args.weights)} was trained on"
    check_cut(dataset_cut(manifest), run_cut(trained), rule, args.allow_other_crop)


def _check_labels(args: argparse.Namespace, trained: Run, manifest: Manifest) -> None:
    """Checks that a run can predict every number that a dataset can hold, and prints a note if it can predict others.

    Raises:
      UserError: It cannot.
    """
    stored = manifest.labels
    name = chosen_name(args.run_dir, args.weights)
    of_run, of_data = labels_text(trained.labels), labels_text(stored)
    if stored.max_length > trained.labels.max_length or trained.labels.unknown(stored.alphabet):
        raise UserError(f"{name} was trained on {of_run}, and must be scored on those.", of_data)
    if reads_length(manifest) and not trained.reads_length:
        rule = f"{name} was trained on single characters, and must be scored on those."
        raise UserError(rule, f"{args.data}, which has crops without a number")
    if stored != trained.labels:
        print(f"note: {args.data} has {of_data}; the model can predict {of_run}", file=sys.stderr)


def _print_summary(scores: dict[str, Any], split: str, path: Path, reads_length: bool) -> None:
    """Prints the scores; those of lengths only of a model that reads them."""
    for name in ("whole_number_accuracy", "digit_accuracy", "length_accuracy", "coverage_at_98", "num_examples"):
        if name == "length_accuracy" and not reads_length:
            continue
        value = scores[name]
        print(f"{name:<24}{value:>10,}" if isinstance(value, int) else f"{name:<24}{value:>10.4f}")
    low, high = scores["whole_number_accuracy_interval"]
    print(
        f"Read {scores['whole_number_accuracy']:.1%} of the {scores['num_examples']:,} numbers of {split} without a "
        f"mistake (95 % interval {low:.1%} to {high:.1%}): {shown(path)}"
    )
    print(f"Next: python -m trainer report --run-dir {shlex.quote(shown(path.parent))}")


def _calibration_line(scores: dict[str, Any]) -> str:
    """Returns what is printed of `calibration_scores`."""
    groups = f"in {len(scores['groups'])} groups of equal size"
    line = f"Calibration error: {100 * scores['error']:.1f} points {groups}"
    if scores["temperature"] is None:
        return f"{line}; the run has no temperature"
    before = f"{100 * scores['error_before']:.1f} before the temperature of {scores['temperature']:.2f}"
    return f"{line}, {before}, fitted on {scores['fitted_on']}"
