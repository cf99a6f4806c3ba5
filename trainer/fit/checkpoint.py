"""How far a run has come: checkpoints, one file each, whole or passed over."""

import json
import logging
import re
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrecords.files.publish import atomic_write

_NAME = re.compile(r"step-(\d{10})\.npz")
_PROGRESS = "progress"
_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a run has done.

    Attributes:
      epoch: that runs now, from 0.
      step: how many steps of it are done: the place in the data.
      loss, right, examples: totals of these steps.
      seconds: that they took.
      history: a line for each epoch done.
      best: the line of the epoch whose weights are kept; empty before there is one.
      finished: whether there is nothing left to do.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    examples: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    finished: bool = False

    def next_epoch(self) -> None:
        """Goes on to the beginning of the next epoch."""
        self.epoch += 1
        self.step = 0
        self.loss = self.right = self.examples = self.seconds = 0.0


class Clock:
    """Tells when the next checkpoint is due."""

    def __init__(self, minutes: float, steps: int, step: int) -> None:
        """Args:
        minutes: between checkpoints.
        steps: between checkpoints; 0 leaves it to the minutes.
        step: of the whole run, that it stands at.
        """
        self._minutes, self._steps = minutes, steps
        self.reset(step)

    def reset(self, step: int) -> None:
        """Notes that a checkpoint is made after `step`."""
        self._step, self._time = step, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Returns whether there should be one after `step`."""
        return time.monotonic() - self._time >= 60 * self._minutes or 0 < self._steps <= step - self._step


class Checkpoints:
    """The checkpoints of a run: the variables of model and optimizer by path, and the progress, as NumPy's .npz.

    What is random is not in them, because it follows from seed, epoch and step. Zip's CRC-32 tells damage.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        """Args:
        folder: of the files; made with the first one.
        keep: how many of the newest to keep.
        """
        self._folder = folder
        self._keep = keep

    def save(self, step: int, progress: Progress, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Writes a checkpoint, whole or not at all, and deletes the oldest.

        Args:
          step: of the whole run; names the file.
          progress: to be saved.
          model: of the weights.
          optimizer: built.
        """
        arrays = {name: variable.numpy() for name, variable in _variables(model, optimizer).items()}
        arrays[_PROGRESS] = np.array(json.dumps(asdict(progress)))
        with atomic_write(self._folder / f"step-{step:010d}.npz") as stream:
            np.savez(stream, **arrays)
        for path in checkpoint_files(self._folder)[self._keep :]:
            path.unlink()

    def restore(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Progress | None:
        """Gives model and optimizer the newest whole checkpoint's variables; returns its progress, or None."""
        variables = _variables(model, optimizer)
        for path in checkpoint_files(self._folder):
            arrays = _read(path)
            if arrays is None:
                _log.warning("%s is damaged and passed over.", path)
                continue
            found = {name: value.shape for name, value in arrays.items() if name != _PROGRESS}
            if found != {name: tuple(variable.shape) for name, variable in variables.items()}:
                _log.warning("%s is of another model or optimizer and passed over.", path)
                continue
            for name, variable in variables.items():
                variable.assign(arrays[name])
            return _progress(arrays)
        return None


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, whole or damaged, the newest first; none where there is no folder."""
    return sorted((path for path in folder.glob("step-*.npz") if _NAME.fullmatch(path.name)), reverse=True)


def _variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    # The layers' random states are in `model.variables` too: they are never drawn from (trainer.fit.step).
    named = {f"model/{variable.path}": variable for variable in model.weights}
    named.update((f"optimizer/{variable.path}", variable) for variable in optimizer.variables)
    if len(named) != len(model.weights) + len(optimizer.variables):
        raise ValueError("Variables of one path cannot be told apart in a checkpoint.")
    return named


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Returns a checkpoint's arrays, or None where it is damaged."""
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream) as file:
            arrays = {name: file[name] for name in file.files}
        _progress(arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return None
    return arrays


def _progress(arrays: dict[str, np.ndarray]) -> Progress:
    return Progress(**json.loads(str(arrays[_PROGRESS])))
