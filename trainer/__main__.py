"""Trains, evaluates, applies, exports and reports models that read numbers."""

import os
import sys

from tfrecords.cli import Command, main
from trainer.distribute.startup import start_tensorflow

# Hides TensorFlow's start-up lines about its CPU build; errors are still printed.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

COMMANDS = (
    Command("train", "train a model on a dataset's records", "trainer.commands.train", extra="train"),
    Command("evaluate", "score a trained model on a split", "trainer.commands.evaluate", extra="train"),
    Command("predict", "read the numbers in your own pictures", "trainer.commands.predict", extra="train"),
    Command("export", "write a trained model for serving", "trainer.commands.export", extra="train"),
    Command("report", "make one page of a run: curves, scores, pictures", "trainer.commands.report", extra="train"),
)

_WITH_TENSORFLOW = ("train", "evaluate", "predict", "export")


def start(command: Command) -> None:
    """Starts TensorFlow if `command` is one of the trainer's that compute with it."""
    if command in COMMANDS and command.name in _WITH_TENSORFLOW:
        start_tensorflow()


if __name__ == "__main__":
    sys.exit(main("python -m trainer", __doc__ or "", COMMANDS, start=start))
