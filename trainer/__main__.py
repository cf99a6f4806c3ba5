"""Trains, evaluates, applies, exports and reports models that read numbers."""

import os
import sys

from tfrecords.cli import Command, main
from trainer.distribute.startup import start_tensorflow

# Hides TensorFlow's start-up lines about its CPU build; errors are still printed.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

COMMANDS = (
    Command("train", "train a model on a dataset's records", "trainer.commands.train"),
    Command("evaluate", "score a trained model on a split", "trainer.commands.evaluate"),
    Command("predict", "read the numbers in your own pictures", "trainer.commands.predict"),
    Command("export", "write a trained model for serving", "trainer.commands.export"),
    Command("report", "make one page of a run: curves, scores, pictures", "trainer.commands.report"),
)

_WITH_TENSORFLOW = ("train", "evaluate", "predict", "export")

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _WITH_TENSORFLOW:
        start_tensorflow()
    sys.exit(main("python -m trainer", __doc__ or "", COMMANDS))
