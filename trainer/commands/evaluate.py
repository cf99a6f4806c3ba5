"""python -m trainer evaluate: every score of a split, and every answer."""

import argparse
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from trainer.fit.errors import readable
from trainer.input.dataset import open_images, split_dataset
from trainer.run.directory import EVALUATION, PREDICTIONS, Run, write_json
from trainer.run.weights import load_model
from trainer.scoring.inference import Answers, answer, make_forward
from trainer.scoring.metrics import correct_numbers, score

EPILOG = """\
example:
  python -m trainer evaluate --run-dir runs/first --data svhn-records --split test

Writes evaluation.json (the scores) and predictions.parquet (a row an example) into the run directory;
`python -m trainer report` shows them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--run-dir", type=Path, required=True, help="of a trained model")
    parser.add_argument("--data", type=Path, required=True, help="dataset directory")
    parser.add_argument("--split", default="test", help="to score")
    parser.add_argument(
        "--crops", type=int, default=1, help="windows of each picture whose answers are averaged; 1: its middle alone"
    )
    parser.add_argument("--batch-size", type=int, default=256, help="examples at a time; no score depends on it")


def run(args: argparse.Namespace) -> int:
    """Scores a split and writes the scores and answers."""
    if args.crops < 1:
        raise UserError("--crops must be at least 1.", args.crops)
    run_ = Run.load(args.run_dir)
    pictures = open_images(args.data, args.split)
    batches = split_dataset(pictures, args.batch_size)
    if args.crops > 1 and pictures.shape[0] == run_.image_shape[0]:
        rule = f"--crops must be 1 where pictures are stored in the model's own size: {args.split} of {args.data}"
        raise UserError(f"{rule} has one window of each (`prepare --whole-crops` keeps more).", f"--crops {args.crops}")
    whole = readable(batches, args.data, args.split)
    bar = tqdm(whole, total=len(batches), desc=f"evaluate {args.split}", unit=" batches", leave=False, mininterval=1.0)
    answers = answer(make_forward(load_model(run_), args.crops), bar)
    scores = score(answers.numbers, answers.length, answers.digits)
    content = {"split": args.split, "data": str(args.data), "crops": args.crops, "loss": answers.loss, **scores}
    write_json(args.run_dir / EVALUATION, content)
    with atomic_write(args.run_dir / PREDICTIONS) as stream:
        stream.write(_predictions(answers))
    low, high = scores["whole_number_accuracy_interval"]
    for name in ("whole_number_accuracy", "digit_accuracy", "length_accuracy", "coverage_at_98", "num_examples"):
        value = scores[name]
        print(f"{name:<24}{value:>10,}" if isinstance(value, int) else f"{name:<24}{value:>10.4f}")
    print(
        f"{scores['whole_number_accuracy']:.1%} of {scores['num_examples']:,} numbers of {args.split} read whole "
        f"(95 % interval {low:.1%} to {high:.1%}): {args.run_dir / EVALUATION}"
    )
    print(f"Next: python -m trainer report --run-dir {args.run_dir}")
    return 0


def _predictions(answers: Answers) -> bytes:
    """Returns a Parquet file of one row an example, in stored order."""
    truth = ["".join(map(str, row[:length])) for row, length in zip(answers.digits, answers.length, strict=True)]
    table = pa.table(
        {
            "key": answers.keys,
            "number": truth,
            "answer": answers.numbers.texts,
            "confidence": answers.numbers.confidence,
            "correct": correct_numbers(answers.numbers, answers.length, answers.digits),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
