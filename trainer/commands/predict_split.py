"""`predict --data`: the numbers of a split of a dataset as a CSV file, such as Kaggle's submission."""

import argparse
import shlex
import sys

from tfrecords.dataset.manifest import DEAD_LETTERS, UNKNOWN_SPLIT, Manifest, SourceInfo
from tfrecords.errors import UserError
from tfrecords.files.purpose import check_writable
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import progress_of
from tfrecords.record.labels import DIGITS
from trainer.commands.evaluate import check_same_cut
from trainer.commands.refusals import chosen_refusals
from trainer.input.records import Records
from trainer.lite.runtime import start_keras
from trainer.pretrained import chosen_run
from trainer.run.cache_folder import chosen_cache
from trainer.run.directory import Run
from trainer.run.stand_in import output_file
from trainer.scoring.decode import Predictions
from trainer.scoring.prediction_output import REFUSED
from trainer.scoring.submission import Submission, kaggle_submission, keyed_submission, write_submission

SUFFIX = ".csv"
_SHOWN = 5
"""Missing rows that a warning names."""


def predict_split(args: argparse.Namespace) -> int:
    """Writes the predicted numbers of a split; returns 1 if Kaggle would refuse the file for missing rows.

    Raises:
      UserError: An option, the run or the dataset cannot be used.
      OSError: A file cannot be read or written.
    """
    _check_options(args)
    trained = chosen_run(args.run_dir, args.weights)
    records = Records.open(args.data, chosen_cache(args), args.snapshot)
    manifest = records.manifest
    manifest.split(args.split)
    check_same_cut(args, trained, manifest)
    least = chosen_refusals(args, trained).min_confidence
    source = _kaggle_source(manifest, args.split, trained)
    if source and least is not None:
        raise UserError("Kaggle takes no refusals: --min-confidence and --target-accuracy must be left out.", args.data)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_keras(trained)
    keys, predictions = _predict(args, trained, records)
    numbers = predictions.texts
    if least is not None:
        pairs = zip(numbers, predictions.confidence.tolist(), strict=True)
        numbers = [REFUSED if confidence < least else number for number, confidence in pairs]
    if source and all(key.startswith(f"{source.subset}/") for key in keys):
        submission = kaggle_submission(keys, numbers, source.pictures)
    else:
        submission = keyed_submission(keys, numbers)
    output = output_file(args.output)
    write_submission(output.path, submission)
    output.publish()
    order = "in the order of the pictures' file" if submission.is_kaggle else "in the order of the keys"
    refused = "" if least is None else f", {numbers.count(REFUSED):,} of them {REFUSED},"
    print(f"Wrote {len(keys):,} rows {','.join(submission.columns)}{refused} {order}: {args.output}")
    _print_notes(args, manifest)
    return _print_missing(args, manifest, submission)


def _check_options(args: argparse.Namespace) -> None:
    """Raises a UserError if options for pictures, or no output that can be written, are given with a dataset."""
    of_pictures = ("box", "json", "json_lines", "null")
    if given := [f"--{name.replace('_', '-')}" for name in of_pictures if getattr(args, name)]:
        raise UserError(f"--data writes a CSV file: {', '.join(given)} must go with pictures.", f"--data {args.data}")
    if args.output is None or args.output.suffix != SUFFIX:
        raise UserError(f"--data needs --output, a file that ends in {SUFFIX}.", args.output)
    if args.output.is_dir():
        raise UserError("--output must be a file.", args.output)
    check_writable("--output", args.output.parent)


def _predict(args: argparse.Namespace, trained: Run, records: Records) -> tuple[list[str], Predictions]:
    """Returns the keys of the split and the predictions, in stored order, and shows the progress."""
    from trainer.fit.errors import readable
    from trainer.input.dataset import split_dataset
    from trainer.run.weights import load_model
    from trainer.scoring.calibration_file import read_calibration
    from trainer.scoring.inference import make_forward, predict_keys

    batches = split_dataset(records.images(args.split), args.batch_size)
    read = readable(batches, args.data, args.split)
    shown = progress_of(read, f"predict {args.split}", len(batches), "batches")
    keys, found = predict_keys(make_forward(load_model(trained)), shown, trained.labels)
    calibration = read_calibration(trained)
    return keys, found.with_temperature(calibration.temperature) if calibration else found


def _kaggle_source(manifest: Manifest, split: str, trained: Run) -> SourceInfo | None:
    """Returns the subset that a split has all accepted pictures of, if it is one that Kaggle's form fits.

    That is one of the source mnist, whose pictures are numbered as the rows of their file, and read by a model that
    answers each with one digit.
    """
    if manifest.config.get("source") != "mnist" or trained.reads_length or trained.labels.alphabet != DIGITS:
        return None
    examples = manifest.split(split).examples
    sources = [one for one in manifest.sources if one.accepted]
    # One subset per split, as prepare makes them of Kaggle's train.csv and test.csv, and no jitters.
    named = [one for one in sources if one.subset == split and one.accepted == examples]
    return named[0] if named else None


def _print_notes(args: argparse.Namespace, manifest: Manifest) -> None:
    """Prints a note where the numbers of the split are known, so that predictions could be scored."""
    if args.split == UNKNOWN_SPLIT:
        return
    chosen = ["--run-dir", args.run_dir] if args.run_dir else ["--weights", args.weights] if args.weights else []
    words = ["python", "-m", "trainer", "evaluate", *chosen, "--data", str(args.data), "--split", args.split]
    words += [] if args.snapshot is None else ["--snapshot", str(args.snapshot)]
    command = shlex.join(words)
    print(f"note: the numbers of {args.split} are known; `{command}` scores the predictions", file=sys.stderr)


def _print_missing(args: argparse.Namespace, manifest: Manifest, submission: Submission) -> int:
    """Prints which rows are missing; returns the exit code."""
    limit = manifest.config.get("limit") if submission.is_kaggle else None
    if limit is not None:
        print(f"warning: `prepare --limit {limit}` took a sample of the rows: Kaggle refuses the file", file=sys.stderr)
        return 1
    if not submission.missing:
        return 0
    first = ", ".join(map(str, submission.missing[:_SHOWN])) + (", ..." if len(submission.missing) > _SHOWN else "")
    total = len(submission.missing) + len(submission.rows)
    print(
        f"warning: {len(submission.missing):,} of {total:,} rows are missing (ImageId {first}), because `prepare` "
        f"rejected their pictures ({args.data / DEAD_LETTERS}): Kaggle refuses the file",
        file=sys.stderr,
    )
    return 1
