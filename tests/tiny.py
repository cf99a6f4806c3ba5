"""The trainer's command line with a model that is traced in a second, killed where it is told: python -m tests.tiny.

TINY_KILL=steps:3 kills the process for good when it looks at its third step, TINY_KILL=weights when it has saved
weights.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.fit import loop as training
from trainer.models import MODELS


def build(image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns a model with all that has a state: batch normalisation and dropout."""
    images = keras.Input(image_shape, name="image")
    values = keras.layers.AveragePooling2D(6, name="pool")(images / 255.0)
    values = keras.layers.BatchNormalization(name="norm")(values)
    values = keras.layers.Flatten(name="flat")(values)
    values = keras.layers.Dense(32, activation="relu", name="dense")(values)
    values = keras.layers.Dropout(0.3, name="dropout")(values)
    length = keras.layers.Dense(7, name="length_logits")(values)
    digits = keras.layers.Reshape((5, 10), name="digit_logits")(keras.layers.Dense(50, name="digits")(values))
    return keras.Model(images, {"length_logits": length, "digit_logits": digits}, name="tiny")


def _patch_faults() -> None:
    kill = os.environ.get("TINY_KILL", "")
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


if __name__ == "__main__":
    MODELS["tiny"] = build
    _patch_faults()
    sys.exit(main("tests.tiny", "", COMMANDS))
