"""The trainer's command line with a model that is traced in a second, killed where it is told: `run`."""

import os
import signal
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from tfrecords.cli import main
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.fit import loop as training
from trainer.models import MODELS
from trainer.models.layers import flat_heads

_DIGITS = Labels()


def build(image_shape: tuple[int, int, int], labels: Labels = _DIGITS, reads_length: bool = True) -> keras.Model:
    """Returns a model with all that has a state: batch normalisation and dropout."""
    images = keras.Input(image_shape, name="image")
    values = keras.layers.AveragePooling2D(6, name="pool")(images / 255.0)
    values = keras.layers.BatchNormalization(name="norm")(values)
    values = keras.layers.Flatten(name="flat")(values)
    values = keras.layers.Dense(32, activation="relu", name="dense")(values)
    values = keras.layers.Dropout(0.3, name="dropout")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="tiny")


def _patch_faults(kill: str) -> None:
    read_totals, save_weights = training.read_totals, training.save_weights
    steps = 0

    def read(result: Any) -> Any:
        nonlocal steps
        steps += 1
        if kill == f"steps:{steps}":
            os.kill(os.getpid(), signal.SIGKILL)
        return read_totals(result)

    def save(model: keras.Model, path: Path) -> None:
        save_weights(model, path)
        if kill == "weights":
            os.kill(os.getpid(), signal.SIGKILL)

    training.read_totals, training.save_weights = read, save
    for moment, owner, name in (("choice", training.Pins, "add"), ("history", training.History, "add")):
        if kill == moment:
            setattr(owner, name, _killing)


def _killing(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(command: list[str], kill: str = "") -> int:
    """Runs a command of the trainer's in a process of its own; `kill` says where that kills itself, like `kill -9`.

    steps:3 is when it looks at its third step, weights when it has saved weights, choice when it has chosen the next
    snapshot of a stream, and history when it has saved the checkpoint of an epoch.
    """
    MODELS["tiny"] = build
    # It takes longer than such small graphs run.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    _patch_faults(kill)
    return main("tests.tiny", "", COMMANDS, command)
