"""Start of a run in its directory: a new one, or an existing one that is resumed with the same configuration."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.nested import flatten
from trainer.fit.checkpoint import checkpoint_files
from trainer.input.records import Records
from trainer.run.config import TrainConfig
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
    model_input_shape,
    write_json,
)

_FREE = ("data", "options")
"""Keys of config.json that may change between starts: the same records may be in another directory."""


def describe_run(config: TrainConfig, records: Records, **facts: Any) -> dict[str, Any]:
    """Returns the content of a run's config.json.

    Args:
      config: Training configuration.
      records: Dataset of the run.
      **facts: Further facts of the run.
    """
    return {
        **config.to_dict(),
        "image_shape": list(model_input_shape(records.manifest)),
        "data": str(records.directory),
        "dataset": records.describe(),
        **facts,
    }


def can_resume(directory: Path) -> bool:
    """Returns whether a directory has a run with a checkpoint, which may be damaged."""
    return (directory / CONFIG).is_file() and bool(checkpoint_files(directory / CHECKPOINTS))


def prepare_directory(directory: Path, content: dict[str, Any], overwrite: bool) -> None:
    """Writes config.json into a run directory unless it has one. Only the chief calls it.

    Args:
      directory: Run directory.
      content: Content of config.json.
      overwrite: Whether to delete an existing run first.

    Raises:
      UserError: The directory has checkpoints without a config.json.
    """
    if overwrite:
        for name in (CONFIG, HISTORY, WEIGHTS, EVALUATION, PREDICTIONS, REPORT):
            (directory / name).unlink(missing_ok=True)
        for name in (TENSORBOARD, CHECKPOINTS):
            shutil.rmtree(directory / name, ignore_errors=True)
    if (directory / CONFIG).exists():
        return
    if left := [path.name for path in reversed(checkpoint_files(directory / CHECKPOINTS))]:
        rule = f"{directory} has checkpoints but no {CONFIG}: use --overwrite to start again."
        raise UserError(rule, ", ".join(left))
    write_json(directory / CONFIG, content)


def open_run(directory: Path, content: dict[str, Any]) -> Run:
    """Returns the run in a directory.

    Args:
      directory: Run directory, prepared.
      content: Content that its config.json must have, apart from keys that may change between starts.

    Raises:
      UserError: The directory has no run, or one with another configuration.
    """
    run = Run.load(directory)
    if found := list(_differences(run.content, content)):
        rule = (
            f"{directory} already contains a run: use --overwrite to replace it, another --run-dir, or the "
            "configuration that it was started with to resume it."
        )
        raise UserError(rule, "; ".join(found))
    return run


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yields the differences, as "epochs 3 instead of 2"."""
    before, now = (
        flatten({name: value for name, value in content.items() if name not in _FREE}) for content in (old, new)
    )
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} {now.get(name)} instead of {before.get(name)}"
