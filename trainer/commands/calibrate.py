"""python -m trainer calibrate: the temperature of a run's confidences, fitted on a split."""

import argparse
import shlex
import sys

from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.files.purpose import check_writable
from tfrecords.flags import add_snapshot
from tfrecords.interrupts import ending_at_once
from trainer.commands.evaluate import check_split
from trainer.distribute.startup import start_tensorflow
from trainer.input.records import Records
from trainer.pretrained import find_pretrained, run_directory
from trainer.run.cache_folder import add_cache_arguments, chosen_cache
from trainer.run.cut import ALLOW
from trainer.run.directory import CALIBRATION, Run
from trainer.run.stand_in import naming_addresses, stand_in_of

EPILOG = """\
examples:
  for a run that was trained without a validation split, or elsewhere:
    python -m trainer calibrate --run-dir runs/first --data svhn-records
  for other pictures than those of the training:
    python -m trainer calibrate --run-dir runs/first --data my-records \\
      --split test

`train` does this at its end. The temperature divides the model's outputs, so
that of the numbers read with 90 % confidence 9 in 10 are right. It changes no
number. It is written to calibration.json in the run directory, with the
accuracy and the coverage of every threshold, and is used by evaluate, predict,
explain and export. It holds for pictures like those of the split: use pictures
that the model was not trained on, and not those that `evaluate` will score.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `calibrate`."""
    parser.add_argument("--run-dir", metavar="DIR", required=True, help="run directory of the model, or its address")
    parser.add_argument("--data", type=place, required=True, help="dataset directory, or its address")
    add_snapshot(parser)
    parser.add_argument("--split", default="validation", help="split to fit on")
    parser.add_argument(
        ALLOW, action="store_true", help="read images cut with another growth or crop size than the run's"
    )
    add_cache_arguments(parser)
    parser.set_defaults(weights=None)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Fits the temperature, writes calibration.json and prints a summary.

    Raises:
      UserError: The run or the split cannot be used.
      OSError: A file cannot be read or written.
    """
    trained = Run.load(run_directory(args.run_dir))
    if find_pretrained(trained.directory.resolve()):
        raise UserError("--run-dir must not be the folder of the package's weights.", args.run_dir)
    folder = stand_in_of(trained.directory)
    check_writable("--run-dir", folder.place)
    records = Records.open(args.data, chosen_cache(args), args.snapshot)
    check_split(args, trained, records.manifest)
    if args.split == "train":
        rule = "the model was trained on pictures of this split and is too confident on them"
        print(f"note: --split train: {rule}; use others", file=sys.stderr)
    images = records.images(args.split)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    from trainer.fit.calibrate import calibrate, calibration_line

    print(calibration_line(calibrate(trained, images, records, args.split)))
    folder.publish(CALIBRATION)
    words = ["--run-dir", args.run_dir, "--target-accuracy", "0.99", "photo.png"]
    print(f"Next: python -m trainer predict {shlex.join(words)}")
    return 0
