"""Records to readers of numbers: train, evaluate, predict, export, report."""

import os
import sys

from tfrecords.cli import Command, main

# TensorFlow's start-up lines about its CPU build say nothing to a user; errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

COMMANDS = (
    Command("train", "train a model on a dataset's records", "trainer.train"),
    Command("evaluate", "score a trained model on a split", "trainer.evaluate"),
    Command("predict", "read the numbers in your own pictures", "trainer.predict"),
    Command("export", "write a trained model for serving", "trainer.export"),
    Command("report", "make one page of a run: curves, scores, pictures", "trainer.report.command"),
)

if __name__ == "__main__":
    sys.exit(main("python -m trainer", __doc__ or "", COMMANDS))
