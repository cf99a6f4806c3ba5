"""python -m trainer evaluate: every score of a split, and every prediction."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.flags import local_path
from trainer.distribute.startup import start_tensorflow
from trainer.run.directory import EVALUATION, PREDICTIONS, Run, write_json

EPILOG = """\
example:
  python -m trainer evaluate --run-dir runs/first --data records --split test

Writes evaluation.json (the scores) and predictions.parquet (one row per
example) to the run directory. `python -m trainer report` shows them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate`."""
    parser.add_argument("--run-dir", type=local_path, required=True, help="run directory of the trained model")
    parser.add_argument("--data", type=local_path, required=True, help="dataset directory")
    parser.add_argument("--split", default="test", help="split to score")
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        help="number of windows per image whose probabilities are averaged; 1 takes the centre only",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="examples per batch; the scores do not depend on it"
    )


def run(args: argparse.Namespace) -> int:
    """Scores a split, writes the scores and the predictions, and prints a summary.

    Raises:
      UserError: An option, the run or the dataset cannot be used.
      OSError: A file cannot be read or written.
    """
    if args.crops < 1:
        raise UserError("--crops must be at least 1.", args.crops)
    trained = Run.load(args.run_dir)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    start_tensorflow()
    from trainer.fit.errors import readable
    from trainer.input.dataset import open_images, split_dataset
    from trainer.run.weights import load_model
    from trainer.scoring.inference import make_forward, predict_split
    from trainer.scoring.metrics import score
    from trainer.scoring.prediction_file import write_predictions

    pictures = open_images(args.data, args.split)
    if args.crops > 1 and pictures.shape[0] == trained.image_shape[0]:
        rule = f"--crops must be 1 where images are stored at the model's own size, as in {args.split} of {args.data}"
        raise UserError(f"{rule} (`prepare --whole-crops` stores larger ones).", f"--crops {args.crops}")
    batches = split_dataset(pictures, args.batch_size)
    bar = tqdm(
        readable(batches, args.data, args.split),
        total=len(batches),
        desc=f"evaluate {args.split}",
        unit=" batches",
        leave=False,
        mininterval=1.0,
    )
    found = predict_split(make_forward(load_model(trained), args.crops), bar)
    scores = score(found.predictions, found.length, found.digits)
    content = {"split": args.split, "data": str(args.data), "crops": args.crops, "loss": found.loss, **scores}
    write_json(args.run_dir / EVALUATION, content)
    write_predictions(args.run_dir / PREDICTIONS, found.keys, found.predictions, found.length, found.digits)
    _print_summary(scores, args.split, args.run_dir)
    return 0


def _print_summary(scores: dict[str, Any], split: str, run_dir: Path) -> None:
    for name in ("whole_number_accuracy", "digit_accuracy", "length_accuracy", "coverage_at_98", "num_examples"):
        value = scores[name]
        print(f"{name:<24}{value:>10,}" if isinstance(value, int) else f"{name:<24}{value:>10.4f}")
    low, high = scores["whole_number_accuracy_interval"]
    print(
        f"Read {scores['whole_number_accuracy']:.1%} of the {scores['num_examples']:,} numbers of {split} without a "
        f"mistake (95 % interval {low:.1%} to {high:.1%}): {run_dir / EVALUATION}"
    )
    print(f"Next: python -m trainer report --run-dir {shlex.quote(str(run_dir))}")
