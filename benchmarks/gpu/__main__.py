"""Trains a model on whichever of Keras's backends sees a GPU, and prints its scores and speeds.

    python -m benchmarks.gpu --data photos replica
    python -m benchmarks.gpu --data photos replica --minutes 2 --backend torch --precision tf32 --batch-size 1024
    python -m benchmarks.gpu --data photos --steps 20 --batch-size 16 --readers 0

TensorFlow is not needed: Keras runs on JAX or PyTorch, and separate processes read records with `tfrecords.open`, a few
batches ahead of the device. Augmentation, loss, optimizer, schedule and averaging are the trainer's. --data takes
several dataset directories: the model learns from all their train splits as one (a directory that is named twice counts
twice), and is scored on the splits validation and test of each.

The clock starts when everything is compiled. The speed in images/s covers all steps since then, on real input; it is
compared with the speed on one batch that stays on the device. The last rows show how close that is to the chip's limit:
the operations of a step, counted from the model's layers, against large matrix products of the same precision on the
same backend. --precision mixed_bfloat16 stores values between layers in 16 bits; tf32 and float32 store them in 32, and
multiply with 11 and 24 bits of significance. Without a GPU this only checks that it runs: give --steps.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu.backends import PRECISIONS, PROBES, choose
from tfrecords.errors import UserError
from trainer.distribute.startup import start_tensorflow
from trainer.run.config import AugmentConfig, TrainConfig

_MATRIX = {True: 8192, False: 1024}
"""Height and width of the matrices that measure the peak, with a GPU and without."""
_MOST_READERS = 8
# Warp and smoothing are those of docs/accuracy.md for the photos; the EMA decay lies between its two trainings'.
_DEFAULT = TrainConfig(
    global_batch_size=256,
    label_smoothing=0.05,
    ema_decay=0.998,
    augment=AugmentConfig(zoom=0.2, stretch=0.2, rotate=10.0, shear=0.2),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, prints the report, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        config = _make_config(args)
        if not args.minutes > 0 or args.steps < 0 or args.readers < 0:
            rule = "--minutes must be above 0, --steps and --readers 0 or more."
            raise UserError(rule, f"{args.minutes:g}, {args.steps} and {args.readers}")
        choice = choose(args.backend)
        print(f"Backend: {choice.why}", flush=True)
        os.environ["KERAS_BACKEND"] = choice.backend
        if choice.backend == "tensorflow":
            start_tensorflow()
        # This is the first import of Keras, which then fixes its backend.
        from benchmarks.gpu.report import report
        from benchmarks.gpu.run import Job, run

        job = Job(
            tuple(args.data), config, args.precision, args.minutes, args.steps, args.readers, _MATRIX[choice.has_gpu]
        )
        print(*report(job, choice, run(job)), sep="\n")
    except (OSError, UserError) as error:
        parser.exit(1, f"error: {error}\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="DIRECTORY", help="dataset directories of prepare")
    add("--minutes", type=float, default=10.0, help="minutes of training (default: 10)")
    add("--steps", type=int, default=0, help="number of training steps, instead of --minutes")
    add(
        "--backend",
        choices=("auto", *PROBES),
        default="auto",
        help="backend of Keras; auto takes the first that sees a GPU (default: auto)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="mixed_bfloat16",
        help="precision of products (default: mixed_bfloat16)",
    )
    add("--model", default=_DEFAULT.model, help=f"architecture out of trainer.models (default: {_DEFAULT.model})")
    add("--batch-size", type=int, default=_DEFAULT.global_batch_size, help="examples per step (default: 256)")
    add(
        "--learning-rate",
        type=float,
        help="peak learning rate (default: the trainer's, times the square root of the ratio of batch sizes)",
    )
    add(
        "--ema-decay",
        type=float,
        default=_DEFAULT.ema_decay,
        help="EMA decay of the weights; 0 disables it (default: 0.998)",
    )
    add("--label-smoothing", type=float, default=_DEFAULT.label_smoothing, help="label smoothing (default: 0.05)")
    for name in ("zoom", "stretch", "rotate", "shear"):
        default = getattr(_DEFAULT.augment, name)
        add(f"--{name}", type=float, default=default, help=f"augmentation as in trainer train (default: {default:g})")
    readers = min(_MOST_READERS, (os.cpu_count() or 1) - 1)
    add(
        "--readers",
        type=int,
        default=readers,
        help=f"number of reading processes; 0 reads in a thread (default: {readers})",
    )
    add("--seed", type=int, default=0, help="random seed for weights, order and augmentation (default: 0)")
    return parser


def _make_config(args: argparse.Namespace) -> TrainConfig:
    augment = replace(
        _DEFAULT.augment, **{name: getattr(args, name) for name in ("zoom", "stretch", "rotate", "shear")}
    )
    config = replace(
        _DEFAULT,
        model=args.model,
        global_batch_size=args.batch_size,
        ema_decay=args.ema_decay,
        label_smoothing=args.label_smoothing,
        augment=augment,
        seed=args.seed,
    )
    usual = TrainConfig()
    # Adam's steps may grow with the square root of the batch size, as the noise of the gradients falls with it.
    scaled = usual.learning_rate * math.sqrt(config.global_batch_size / usual.global_batch_size)
    return replace(config, learning_rate=scaled if args.learning_rate is None else args.learning_rate)


if __name__ == "__main__":
    sys.exit(main())
