"""Checkpoints of a run: one file each, with the variables of model and optimizer and the progress."""

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np

from tfrecords.files.publish import atomic_write, remove_partial
from tfrecords.typed_json import Count, Rule, from_json, parse_object
from trainer.run.directory import CHECKPOINT_NAME
from trainer.run.stand_in import shown

_PROGRESS = "progress"
_log = logging.getLogger(__name__)


def _are_numbers(line: dict[str, Any], *names: str) -> bool:
    return all(type(value) in (int, float) for value in line.values()) and all(name in line for name in names)


_Line = Annotated[
    dict[str, Any], Rule("an object of numbers, with epoch and step", lambda line: _are_numbers(line, "epoch", "step"))
]
_Best = Annotated[dict[str, Any], Rule("an object of numbers", _are_numbers)]


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
      epoch: Index of the current epoch.
      step: Number of finished steps in the current epoch.
      loss: Sum of the losses of these steps' examples.
      right: Number of these examples that were predicted right.
      examples: Number of these examples.
      seconds: Time that these steps took.
      history: Lines of the finished epochs.
      best: Line of the epoch whose weights are kept; empty before the first.
      finished: Whether the run is complete.
      snapshots: Number of the stream's snapshot of each epoch, of those that have begun; empty unless the run follows.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    examples: float = 0.0
    seconds: float = 0.0
    history: list[_Line] = field(default_factory=list)
    best: _Best = field(default_factory=dict)
    finished: bool = False
    snapshots: list[Count] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Moves to the beginning of the next epoch."""
        self.epoch += 1
        self.step = 0
        self.loss = self.right = self.examples = self.seconds = 0.0


class Clock:
    """Clock that decides when the next checkpoint is due. Steps are counted over the run."""

    def __init__(self, minutes: float, steps: int, step: int) -> None:
        """Starts the clock.

        Args:
          minutes: Minutes between checkpoints.
          steps: Steps between checkpoints; 0 leaves it to the minutes.
          step: Number of steps finished.
        """
        self._minutes, self._steps = minutes, steps
        self.reset(step)

    def reset(self, step: int) -> None:
        """Restarts the clock at a checkpoint after `step`."""
        self._step, self._time = step, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Returns whether a checkpoint is due after `step`."""
        return time.monotonic() - self._time >= 60 * self._minutes or 0 < self._steps <= step - self._step


class Checkpoints:
    """Checkpoints of a run in NumPy's .npz format: variables of model and optimizer by path, and the progress.

    They hold no state of random generators, because all random values follow from seed, epoch and step. The CRC-32 of
    the zip format detects damage.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        """Writes nothing yet.

        Args:
          folder: Folder of the files, made with the first checkpoint.
          keep: Number of newest checkpoints to keep.
        """
        self._folder = folder
        self._keep = keep

    def save(self, step: int, progress: Progress, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Writes a checkpoint atomically and deletes the oldest ones.

        Args:
          step: Number of finished steps, counted over the run; it names the file.
          progress: Progress of the run.
          model: Model of the run.
          optimizer: Optimizer of the model, built.
        """
        arrays = {name: variable.numpy() for name, variable in _variables(model, optimizer).items()}
        arrays[_PROGRESS] = np.array(json.dumps(asdict(progress)))
        with atomic_write(self._folder / f"step-{step:010d}.npz") as stream:
            np.savez(stream, **arrays)
        for path in checkpoint_files(self._folder)[self._keep :]:
            path.unlink()

    def remove_partial(self) -> None:
        """Removes what killed runs left of a checkpoint. Only the chief of the run may call it."""
        remove_partial(self._folder, "step-*.npz")

    def restore(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Progress | None:
        """Restores the newest complete checkpoint; damaged ones are skipped, with a warning.

        Args:
          model: Model that is changed.
          optimizer: Optimizer of the model, built, that is changed.

        Returns:
          The progress of the checkpoint, or None without a complete one; then nothing is changed.
        """
        variables = _variables(model, optimizer)
        for path in checkpoint_files(self._folder):
            arrays = _read(path)
            if arrays is None:
                _log.warning("%s is damaged and skipped.", shown(path))
                continue
            found = {name: (value.shape, value.dtype.name) for name, value in arrays.items() if name != _PROGRESS}
            if found != {name: _layout(variable) for name, variable in variables.items()}:
                _log.warning("%s is of another model or optimizer and skipped.", shown(path))
                continue
            for name, variable in variables.items():
                variable.assign(arrays[name])
            return _progress(arrays)
        return None


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, complete or damaged, the newest first; none if the folder is missing."""
    return sorted((path for path in folder.glob("step-*.npz") if CHECKPOINT_NAME.fullmatch(path.name)), reverse=True)


def _variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Returns the variables of model and optimizer by their names in a checkpoint."""
    # Not `model.variables`, which includes the layers' random states: nothing is drawn from them (trainer.fit.step).
    named = {f"model/{variable.path}": variable for variable in model.weights}
    named.update((f"optimizer/{variable.path}", variable) for variable in optimizer.variables)
    if len(named) != len(model.weights) + len(optimizer.variables):
        raise ValueError("Two variables of model or optimizer have the same path.")
    return named


def _layout(variable: Any) -> tuple[tuple[int, ...], str]:
    """Returns shape and data type of a variable."""
    return tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a checkpoint, or None if it is damaged."""
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream) as file:
            # Members that are no arrays come as bytes.
            arrays = {name: np.asarray(file[name]) for name in file.files}
        _progress(arrays)
    # NumPy, zipfile and zlib raise whatever a damaged file leads them to.
    except Exception:
        return None
    return arrays


def _progress(arrays: dict[str, np.ndarray]) -> Progress:
    return from_json(Progress, parse_object(str(arrays[_PROGRESS]), _PROGRESS), _PROGRESS)
