"""Start of a run in its directory: a new run, or an existing one that is resumed with the same configuration."""

import importlib.metadata
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.nested import flatten
from trainer.distribute.strategy import Devices
from trainer.fit.checkpoint import checkpoint_files
from trainer.fit.run_folder import RunFolder
from trainer.input.records import Records
from trainer.pretrained import every, run_directory
from trainer.run.config import TrainConfig
from trainer.run.cut import dataset_cut
from trainer.run.directory import (
    CALIBRATION,
    CHECKPOINTS,
    CONFIG,
    HISTORY,
    REPORT,
    TENSORBOARD,
    WEIGHTS,
    Run,
    model_input_shape,
    path_beside,
    reads_length,
    write_json,
)
from trainer.run.evaluations import find_evaluations
from trainer.run.settings import Settings
from trainer.run.stand_in import absolute
from trainer.run.weights import start_from

_FREE = ("data", "options")
"""Keys of config.json that may change between starts: the same records may be in another directory."""
_PACKAGES = ("streetdigits", "tensorflow", "keras")


def start_run(
    settings: Settings,
    folder: RunFolder,
    model: keras.Model,
    records: Records,
    devices: Devices,
    overwrite: bool,
    replayed: tuple[int, ...] = (),
) -> Run:
    """Returns the run in a folder, after the chief has prepared it.

    A model that starts from another run's weights is given them first, so that a wrong source is an error before
    anything is written. A run that is resumed has weights of its own and no longer needs its source.

    Args:
      settings: Settings of the run.
      folder: Folder of the run.
      model: Untrained model.
      records: Dataset of the run.
      devices: Devices of the run. All hosts call this function.
      overwrite: Whether to delete an existing run.
      replayed: Numbers of the snapshots of all epochs, of a run that repeats another one.

    Raises:
      UserError: The run to start from cannot be used, or the directory has another run or one without a config.json.
    """
    if overwrite or not _has_checkpoint(folder.path):
        told = initialise(model, settings.config, folder.path, records.manifest, settings.options.allow_other_crop)
        if told and devices.cluster.is_chief:
            print(f"note: --init {settings.config.init}: {told}", file=sys.stderr)
    content = describe_run(
        settings.config,
        records,
        parameters=model.count_params(),
        hosts=devices.cluster.hosts,
        replicas=devices.strategy.num_replicas_in_sync,
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
        options=asdict(settings.options),
        **({"replayed": list(replayed)} if replayed else {}),
    )
    if devices.cluster.is_chief:
        prepare_directory(folder.path, content, overwrite)
        folder.prepare(overwrite)
    devices.gather(0.0)
    if not devices.cluster.is_chief:
        folder.refresh()
    return open_run(folder.path, content)


def initialise(
    model: keras.Model, config: TrainConfig, directory: Path, manifest: Manifest, allow_other_crop: bool = False
) -> str:
    """Sets a model's weights to those of the run that `config.init` names, if it names one.

    Args:
      model: Model that is changed.
      config: Training configuration.
      directory: Run directory, which must not be its own source.
      manifest: Manifest of the dataset that the model will be trained on.
      allow_other_crop: Whether the source's images may have had another growth or crop size.

    Returns:
      Sentences that say which weights are new or changed, and how the images differ; empty if nothing does.

    Raises:
      UserError: The source is the run itself, not a run, has no weights, or is of another architecture, or of another
        cut for images of the same size.
    """
    if config.init is None:
        return ""
    if run_directory(config.init).resolve() == directory.resolve():
        raise UserError("--init must be another run than --run-dir.", config.init)
    return start_from(model, config.init, dataset_cut(manifest), allow_other_crop, manifest.labels)


def describe_run(config: TrainConfig, records: Records, **facts: Any) -> dict[str, Any]:
    """Returns the content of a run's config.json.

    Args:
      config: Training configuration.
      records: Dataset of the run.
      **facts: Further facts of the run.
    """
    return {
        **config.to_dict(),
        "init": _absolute(config.init),
        "replay": None if config.replay is None else absolute(Place(config.replay)),
        "image_shape": list(model_input_shape(records.manifest)),
        "reads_length": reads_length(records.manifest),
        "data": absolute(records.directory),
        "dataset": records.describe(),
        **facts,
    }


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
        for name in (CONFIG, HISTORY, WEIGHTS, CALIBRATION, REPORT):
            (directory / name).unlink(missing_ok=True)
        for files in find_evaluations(directory).values():
            files.remove()
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
    # Runs of version 0.1.0 recorded a relative source as it was given.
    before = {**run.content, "init": _absolute(run.config.init)}
    if found := list(_differences(before, content)):
        _refuse_extension(directory, before, content)
        rule = (
            f"{directory} already contains a run: use --overwrite to replace it, another --run-dir, or the "
            "configuration that it was started with to resume it."
        )
        raise UserError(rule, "; ".join(found))
    return run


def _refuse_extension(directory: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises a UserError that says how to train on, if the only difference is a larger number of epochs."""
    more = now["epochs"] - before["epochs"]
    if more <= 0 or not before["epochs"] or len(list(_differences({**before, "epochs": now["epochs"]}, now))):
        return
    options = ["--config", str(directory / CONFIG), "--run-dir", str(path_beside(directory, "-more"))]
    command = shlex.join(
        ["python", "-m", "trainer", "train", *options, "--init", str(directory), "--epochs", str(more)]
    )
    epochs = f"{before['epochs']} epoch{'s' * (before['epochs'] != 1)}"
    falls = f"its learning rate falls to 0 over {epochs}" if before["schedule"] == "cosine" else f"it has {epochs}"
    raise UserError(
        f"{directory} cannot be extended: {falls}. To train on from its weights, type `{command}`.",
        f"epochs {now['epochs']}",
    )


def _absolute(source: str | None) -> str | None:
    """Returns the run to start from under a name that holds in every working directory."""
    if source is None or source in {one.name for one in every().values()}:
        return source
    return absolute(Place(source))


def _has_checkpoint(directory: Path) -> bool:
    """Returns whether a directory has a run with a checkpoint, which may be damaged."""
    return (directory / CONFIG).is_file() and bool(checkpoint_files(directory / CHECKPOINTS))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yields the differences, as "epochs 3 instead of 2"."""
    before, now = (
        flatten({name: value for name, value in content.items() if name not in _FREE}) for content in (old, new)
    )
    # Another model is the reason for most other differences.
    for name in sorted(before.keys() | now.keys(), key=lambda name: (name != "model", name)):
        if before.get(name) != now.get(name):
            yield f"{name} {now.get(name)} instead of {before.get(name)}"
