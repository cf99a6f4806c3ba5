"""Trains, evaluates, applies, exports and reports models that read numbers."""

import sys

from tfrecords.cli import Command, main
from tfrecords.interrupts import keep_exit_code

COMMANDS = (
    Command("train", "train a model on a dataset's records", "trainer.commands.train", extra="train"),
    Command("evaluate", "score a trained model on a split", "trainer.commands.evaluate", extra="train"),
    Command("calibrate", "fit the temperature of a run's confidences", "trainer.commands.calibrate", extra="train"),
    Command("predict", "read the numbers in your own pictures", "trainer.commands.predict", extra="lite"),
    Command("export", "write a trained model for serving", "trainer.commands.export", extra="train"),
    Command("summary", "list a model's layers, shapes and weights", "trainer.commands.summary", extra="train"),
    Command("report", "make one page of a run: curves, scores, pictures", "trainer.commands.report", extra="train"),
    Command("audit", "find wrong labels, duplicates, leaks and outliers", "trainer.commands.audit", extra="train"),
    Command("explain", "make one page of what happens inside a model", "trainer.commands.explain", extra="train"),
)

if __name__ == "__main__":
    sys.exit(keep_exit_code(lambda: main("python -m trainer", __doc__ or "", COMMANDS)))
