"""A run's directory, made, or found to be of the same run."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from trainer.fit.checkpoint import checkpoint_files
from trainer.run.directory import (
    CHECKPOINTS,
    CONFIG,
    EVALUATION,
    HISTORY,
    PREDICTIONS,
    REPORT,
    TENSORBOARD,
    WEIGHTS,
    Run,
)

_FREE = ("data", "options")
"""What config.json tells that may change from start to start: the same records may lie elsewhere."""


def open_run(directory: Path, content: dict[str, Any], overwrite: bool) -> Run:
    """Returns the run that stands in a directory, or a new one.

    Args:
      directory: of the run.
      content: of its config.json.
      overwrite: whether what stands there is deleted first.

    Raises:
      UserError: another run stands there, or checkpoints of one whose config.json is gone.
    """
    if overwrite:
        for name in (CONFIG, HISTORY, WEIGHTS, EVALUATION, PREDICTIONS, REPORT):
            (directory / name).unlink(missing_ok=True)
        for name in (TENSORBOARD, CHECKPOINTS):
            shutil.rmtree(directory / name, ignore_errors=True)
    if (directory / CONFIG).exists():
        return check_run(directory, content)
    if left := [path.name for path in reversed(checkpoint_files(directory / CHECKPOINTS))]:
        rule = f"{directory} must hold {CONFIG} beside its checkpoints: give --overwrite to begin anew."
        raise UserError(rule, ", ".join(left))
    return Run.create(directory, content)


def has_checkpoint(directory: Path) -> bool:
    """Returns whether a run stands in a directory that can go on, if a checkpoint of it is whole."""
    return (directory / CONFIG).is_file() and bool(checkpoint_files(directory / CHECKPOINTS))


def check_run(directory: Path, content: dict[str, Any]) -> Run:
    """Returns the run that stands in a directory.

    Raises:
      UserError: there is none, or it is not what `content` says.
    """
    run = Run.load(directory)
    if found := list(_differences(run.content, content)):
        rule = (
            f"{directory} holds a run already: give --overwrite to replace it, another --run-dir, or the "
            "configuration that it was started with to go on."
        )
        raise UserError(rule, "; ".join(found))
    return run


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields what differs, as "epochs 3 instead of 2"."""
    for name in sorted(old.keys() | new.keys()):
        was, is_ = old.get(name), new.get(name)
        if prefix + name in _FREE:
            continue
        if isinstance(was, dict) and isinstance(is_, dict):
            yield from _differences(was, is_, f"{prefix}{name}.")
        elif was != is_:
            yield f"{prefix}{name} {is_} instead of {was}"
