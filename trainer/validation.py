"""An epoch's scores on the validation split, and which epoch is the best."""

from pathlib import Path
from typing import Any

import keras

from tfrecords.manifest import Manifest
from trainer.dataset import open_pictures, split_dataset
from trainer.faults import readable
from trainer.loop import answer, make_forward
from trainer.metrics import score

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
        answers = answer(self._forward, readable(batches, self._data, "validation"))
        scores = score(answers.numbers, answers.length, answers.digits)
        return {"validation_loss": answers.loss, **{f"validation_{name}": scores[name] for name in _SCORES}}


def is_better(line: dict[str, Any], best: dict[str, Any]) -> bool:
    """Returns whether an epoch's line of the history beats the best one so far, which may be empty."""
    return not best or _rank(line) > _rank(best)


def _rank(line: dict[str, Any]) -> tuple[float, ...]:
    """Returns what the best epoch has most of; without validation the last epoch is the best."""
    if "validation_loss" in line:
        return line["validation_whole_number_accuracy"], -line["validation_loss"]
    return (line["epoch"],)
