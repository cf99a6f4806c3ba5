"""End of an epoch: scores on the validation split, the epoch's line of the history, best epoch and early stopping."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfrecords.dataset.manifest import FIND
from tfrecords.progress import print_line
from trainer.finding.inference import find_split, make_finding
from trainer.finding.scores import score_found
from trainer.fit.checkpoint import Progress
from trainer.fit.errors import readable
from trainer.input.dataset import split_dataset
from trainer.input.records import Records
from trainer.input.scenes import Images
from trainer.run.config import TrainConfig
from trainer.run.directory import reads_length
from trainer.scoring.inference import make_forward, predict_split
from trainer.scoring.metrics import score

_SPLIT = "validation"
NEWEST = "validation_newest"
"""Begin of the names of the scores on the validation split of an epoch's snapshot, where it is not the first one's."""
READ_RIGHT, FOUND_RIGHT = "train_whole_number_accuracy", "train_pictures_found"
"""Names of the share of training examples that were right: numbers read, or pictures of which all numbers are found."""
_BATCH = 256
_PICTURES = 16
"""Pictures per batch to find numbers in, each as large as 25 images to read."""
_PRINTED = (FOUND_RIGHT, "validation_recall", "validation_precision")
_FOUND_SCORES = ("average_precision", "recall", "precision", "threshold", "mean_iou")
_SCORES = ("whole_number_accuracy", "digit_accuracy", "length_accuracy")


class Validation:
    """Scores of a model on the validation split, if the dataset has one."""

    def __init__(self, model: keras.Model, records: Records, with_confidence: bool = False) -> None:
        """Opens the validation split.

        Args:
          model: Model to score; each call scores its present weights.
          records: Dataset of the run.
          with_confidence: Whether to report the mean confidence too.

        Raises:
          UserError: A file of the split is missing or of the wrong size.
        """
        self._images = records.inputs(_SPLIT) if _has_split(records) else None
        self._first = set(self._images.shards) if self._images else set()
        self._newest: Images | None = None
        self._differs = False
        self._finds = records.manifest.task == FIND
        self._forward: Callable[..., Any] = make_finding(model) if self._finds else make_forward(model)
        self._directory = records.directory
        self._labels = records.manifest.labels
        self._reads_length = reads_length(records.manifest)
        self._with_confidence = with_confidence

    @property
    def images(self) -> Images | None:
        """Images of the validation split; of a run that follows a stream, that of the first snapshot."""
        return self._images

    def move_newest(self, records: Records) -> None:
        """Takes another snapshot of a stream, whose validation split is scored next to the first one if it differs.

        Raises:
          UserError: A new file of the split is missing or of the wrong size.
        """
        self._differs = _has_split(records) and set(records.manifest.split(_SPLIT).shards) != self._first
        if not self._differs:
            return
        if self._newest:
            records.move(self._newest, _SPLIT)
        else:
            self._newest = records.inputs(_SPLIT)

    def scores(self) -> dict[str, float]:
        """Returns loss and accuracies by their names in the history; nothing without a validation split.

        Raises:
          UserError: The split cannot be read.
        """
        first = self._scores(self._images, _SPLIT) if self._images else {}
        newest = self._scores(self._newest, NEWEST) if self._newest and self._differs else {}
        return {**first, **newest}

    def _scores(self, images: Images, name: str) -> dict[str, float]:
        return self._found(images, name) if self._finds else self._read(images, name)

    def _found(self, images: Images, name: str) -> dict[str, float]:
        found = find_split(self._forward, readable(split_dataset(images, _PICTURES), self._directory, _SPLIT))
        scores = score_found(found.found, found.truth)
        return {f"{name}_loss": found.loss, **{f"{name}_{each}": scores[each] for each in _FOUND_SCORES}}

    def _read(self, images: Images, name: str) -> dict[str, float]:
        batches = split_dataset(images, _BATCH)
        read = readable(batches, self._directory, _SPLIT, self._reads_length)
        found = predict_split(self._forward, read, self._labels)
        scores = score(found.predictions, found.length, found.digits)
        line = {f"{name}_loss": found.loss, **{f"{name}_{each}": scores[each] for each in _SCORES}}
        if self._with_confidence:
            line[f"{name}_confidence"] = float(found.predictions.confidence.mean())
        return line


def _has_split(records: Records) -> bool:
    split = records.manifest.splits.get(_SPLIT)
    return bool(split and split.examples)


def epoch_line(
    progress: Progress,
    step: int,
    learning_rate: float,
    scores: Mapping[str, float],
    snapshot: int | None = None,
    right: str = READ_RIGHT,
) -> dict[str, Any]:
    """Returns an epoch's line of the history.

    Args:
      progress: Progress after the epoch's last step.
      step: Number of finished steps, counted over the run.
      learning_rate: Learning rate of the last step.
      scores: Scores on the validation split by their names in the history.
      snapshot: Number of the snapshot that the epoch had, of a run that follows a stream.
      right: Name of the share of examples that were right: `READ_RIGHT` or `FOUND_RIGHT`.
    """
    return {
        "epoch": progress.epoch + 1,
        "step": step,
        "seconds": round(progress.seconds, 2),
        "train_loss": progress.loss / progress.examples,
        right: progress.right / progress.examples,
        "learning_rate": learning_rate,
        **scores,
        **({} if snapshot is None else {"snapshot": snapshot}),
    }


def epoch_text(line: Mapping[str, Any], epochs: int) -> str:
    """Returns what is printed of an epoch: `epoch 3/5  26 s  loss 0.77/0.53  numbers 82.4/89.4 %`.

    The first value of each pair is that of training, the second that of validation, if there was any. Of a model that
    finds numbers, the last values are the training pictures of which it finds all, and recall and precision of
    validation: `found 82.4/89.4/93.1 %`. It has at most 80 characters. Of a run that follows a stream, the number of
    the snapshot comes last.

    Args:
      line: Line of the history.
      epochs: Number of epochs of the run; 0 if it has no end.
    """
    losses = [line[name] for name in ("train_loss", "validation_loss") if name in line]
    found = FOUND_RIGHT in line
    names = _PRINTED if found else (READ_RIGHT, "validation_whole_number_accuracy")
    rights = [line[name] for name in names if name in line]
    loss = "/".join(f"{value:.2f}" if abs(value) < 1000 else f"{value:.2g}" for value in losses)
    numbers = "/".join(f"{100 * value:.1f}" for value in rights)
    of = f"/{epochs}" if epochs else ""
    snapshot = f"  snapshot {line['snapshot']}" if "snapshot" in line else ""
    what = "found" if found else "numbers"
    return f"epoch {line['epoch']}{of}  {line['seconds']:.0f} s  loss {loss}  {what} {numbers} %{snapshot}"


def record_epoch(progress: Progress, line: dict[str, Any], config: TrainConfig, last: int | None = None) -> bool:
    """Adds an epoch's line to the progress, and marks the run as complete after the last epoch or at early stopping.

    Args:
      progress: Progress of the run, after the epoch's last step.
      line: Line of the history.
      config: Training configuration. A run without an end does not stop early either.
      last: Number of the last epoch, where it is not that of the configuration: 0 if there is none.

    Returns:
      Whether the weights of this epoch are to be kept.
    """
    progress.history.append(line)
    is_kept = config.keep == "last" or not progress.best or _rank(line) > _rank(progress.best)
    if is_kept:
        progress.best = line
    is_last = line["epoch"] == (config.epochs if last is None else last)
    is_stale = config.epochs > 0 and line["epoch"] - progress.best["epoch"] >= config.patience
    if is_stale and not is_last:
        print_line(f"No better validation score in {config.patience} epochs: stopped early.", sys.stdout)
    progress.finished = is_last or is_stale
    return is_kept


def _rank(line: dict[str, Any]) -> tuple[float, ...]:
    """Returns a value that is highest for the best epoch; without validation that is the last one."""
    if "validation_loss" in line:
        names = ("validation_average_precision", "validation_whole_number_accuracy")
        return next(line[name] for name in names if name in line), -line["validation_loss"]
    return (line["epoch"],)
