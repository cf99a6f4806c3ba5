"""`predict --min-confidence` and `--target-accuracy`: from which confidence on a number is an answer."""

import argparse
import shlex
import sys
from dataclasses import dataclass

from tfrecords.errors import UserError
from trainer.pretrained import chosen_name, find_pretrained
from trainer.run.directory import CALIBRATION, Run
from trainer.scoring.calibration_file import Calibration, read_calibration
from trainer.scoring.temperature import Threshold, at_least, lowest_threshold


@dataclass(frozen=True)
class Refusals:
    """The least confidence of an answer, and what it was on the examples of the calibration.

    Attributes:
      min_confidence: Least confidence, 0..1; None answers always.
      note: Line that says what is answered; empty if there is nothing to say.
    """

    min_confidence: float | None
    note: str


def add_refusal_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options, which exclude each other."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--min-confidence",
        type=float,
        metavar="P",
        help="refuse to read numbers with a confidence below this, 0 to 1",
    )
    group.add_argument(
        "--target-accuracy",
        type=float,
        metavar="A",
        help="refuse as many as needed for this share of right answers, 0 to 1, by the run's calibration.json: the "
        "lower end of the 95 %% interval on its validation split has to reach it",
    )


def check_refusals(args: argparse.Namespace) -> None:
    """Checks the options.

    Raises:
      UserError: A share is outside 0..1.
    """
    if args.min_confidence is not None and not 0 <= args.min_confidence <= 1:
        raise UserError("--min-confidence must be 0 to 1.", args.min_confidence)
    if args.target_accuracy is not None and not 0 < args.target_accuracy < 1:
        raise UserError("--target-accuracy must be above 0 and below 1.", args.target_accuracy)


def chosen_refusals(args: argparse.Namespace, run: Run) -> Refusals:
    """Returns the least confidence of an answer, and prints what it answered on the examples of the calibration.

    Raises:
      UserError: The run is not calibrated, or its examples do not support the accuracy.
    """
    if args.min_confidence is None and args.target_accuracy is None:
        return Refusals(None, "")
    calibration = read_calibration(run)
    if args.target_accuracy is None:
        refusals = _of_confidence(args.min_confidence, calibration)
    else:
        refusals = _of_accuracy(args, run, calibration)
    print(refusals.note, file=sys.stderr)
    if calibration and (own := find_pretrained(run.directory)):
        # Measured: of the answers that were 99 % right on drawn pictures, 96.9 % were right on photos.
        rule = "on other pictures fewer answers are right"
        print(
            f"note: {own.name} was calibrated on pictures like those of its training ({own.data}): {rule}",
            file=sys.stderr,
        )
    return refusals


def _of_confidence(least: float, calibration: Calibration | None) -> Refusals:
    if calibration is None:
        return Refusals(least, "note: the run has no calibration.json: a confidence of 0.9 may be right less often")
    row = at_least(calibration.thresholds, least)
    if row is None:
        rule = f"nothing on the {calibration.examples:,} examples of {calibration.split} was as confident"
        return Refusals(least, f"note: --min-confidence {least:g}: {rule}")
    return Refusals(least, f"Answers from a confidence of {least:g}: {_told(row, calibration)}")


def _of_accuracy(args: argparse.Namespace, run: Run, calibration: Calibration | None) -> Refusals:
    target, name = args.target_accuracy, chosen_name(args.run_dir, args.weights)
    if calibration is None:
        rule = f"--target-accuracy needs the {CALIBRATION} of {name}"
        hint = f"`python -m trainer calibrate --run-dir {shlex.quote(name)} --data DATA` makes it of a split validation"
        if find_pretrained(run.directory):
            hint = "these weights of the package have none: use --min-confidence, or a run of your own"
        raise UserError(f"{rule}: {hint}.", target)
    row = lowest_threshold(calibration.thresholds, target)
    if row is None:
        best = max(calibration.thresholds, key=lambda one: one.accuracy_lower)
        rule = (
            f"--target-accuracy must be at most {best.accuracy_lower:.4f}: more cannot be said from the "
            f"{calibration.examples:,} examples of {calibration.split}, where {best.right:,} of the {best.answered:,} "
            "surest answers were right"
        )
        raise UserError(f"{rule}. Calibrate on more examples, or train a better model.", target)
    return Refusals(
        row.min_confidence, f"Answers from a confidence of {row.min_confidence:.4f}: {_told(row, calibration)}"
    )


def _told(row: Threshold, calibration: Calibration) -> str:
    """Returns what a threshold answered on the examples of the calibration."""
    return (
        f"{row.coverage:.1%} of the {calibration.examples:,} examples of {calibration.split}, {row.accuracy:.2%} of "
        f"them right (at least {row.accuracy_lower:.2%})"
    )
