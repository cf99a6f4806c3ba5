"""An epoch's scores on the validation split, which epoch is the best, and whether there is another one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from tfrecords.dataset.manifest import Manifest
from trainer.fit.checkpoint import Progress
from trainer.fit.errors import readable
from trainer.input.dataset import open_pictures, split_dataset
from trainer.run.config import TrainConfig
from trainer.scoring.inference import make_forward, predict_split
from trainer.scoring.metrics import score

_BATCH = 256
_SCORES = ("whole_number_accuracy", "digit_accuracy", "length_accuracy")


class Validation:
    """Scores a model on the split validation, where there is one."""

    def __init__(self, model: keras.Model, data: Path) -> None:
        """Args:
        model: to be scored as it stands at each call.
        data: dataset directory.
        """
        split = Manifest.load(data).splits.get("validation")
        self._pictures = open_pictures(data, "validation") if split and split.examples else None
        self._forward = make_forward(model)
        self._data = data

    def scores(self) -> dict[str, float]:
        """Returns loss and accuracies by their names in the history; nothing where there is no such split."""
        if not self._pictures:
            return {}
        batches = split_dataset(self._pictures, _BATCH)
        found = predict_split(self._forward, readable(batches, self._data, "validation"))
        scores = score(found.predictions, found.length, found.digits)
        return {"validation_loss": found.loss, **{f"validation_{name}": scores[name] for name in _SCORES}}


def is_better(line: dict[str, Any], best: dict[str, Any]) -> bool:
    """Returns whether an epoch's line of the history beats the best one so far, which may be empty."""
    return not best or _rank(line) > _rank(best)


def _rank(line: dict[str, Any]) -> tuple[float, ...]:
    """Returns what the best epoch has most of; without validation the last epoch is the best."""
    if "validation_loss" in line:
        return line["validation_whole_number_accuracy"], -line["validation_loss"]
    return (line["epoch"],)


def epoch_line(progress: Progress, step: int, learning_rate: float, scores: Mapping[str, float]) -> dict[str, Any]:
    """Returns an epoch's line of the history, and shows it.

    Args:
      progress: at the epoch's last step.
      step: of the whole run, that it stands at.
      learning_rate: of that step.
      scores: on the validation split, by their names in the history.
    """
    line = {
        "epoch": progress.epoch + 1,
        "step": step,
        "seconds": round(progress.seconds, 2),
        "train_loss": progress.loss / progress.examples,
        "train_whole_number_accuracy": progress.right / progress.examples,
        "learning_rate": learning_rate,
        **scores,
    }
    told = "  ".join(f"{name} {value:.4f}" for name, value in line.items() if "accuracy" in name or "loss" in name)
    tqdm.write(f"epoch {line['epoch']:>3}  {line['seconds']:.0f} s  {told}")
    return line


def judge(progress: Progress, line: dict[str, Any], config: TrainConfig) -> bool:
    """Adds an epoch's line to the progress, and finishes it after the last; returns whether its weights are kept."""
    progress.history.append(line)
    is_kept = config.keep == "last" or is_better(line, progress.best)
    if is_kept:
        progress.best = line
    is_last = line["epoch"] == config.epochs
    is_stale = line["epoch"] - progress.best["epoch"] >= config.patience
    if is_stale and not is_last:
        tqdm.write(f"No better validation score in {config.patience} epochs: stopped early.")
    progress.finished = is_last or is_stale
    return is_kept
