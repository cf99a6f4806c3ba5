"""The calibration of a run: one pass over a split with its best weights, at the end of a training or later."""

import sys

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.progress import print_line
from trainer.fit.errors import readable
from trainer.input.dataset import split_dataset
from trainer.input.records import Records
from trainer.run.directory import Run
from trainer.run.weights import load_model
from trainer.scoring.calibration_file import (
    Calibration,
    check_examples,
    make_calibration,
    weights_digest,
    write_calibration,
)
from trainer.scoring.inference import make_forward, predict_split
from trainer.scoring.metrics import correct_numbers
from trainer.scoring.temperature import LEAST_EXAMPLES

SPLIT = "validation"
_BATCH = 256


def calibrate(run: Run, images: ImageCache, records: Records, split: str = SPLIT) -> Calibration:
    """Fits the temperature of a run's best weights on a split, and writes calibration.json.

    The model is built from the run's files, as `evaluate` and `predict` build it, so that a resumed training, a
    repeated one and the command `calibrate` write the same file.

    Args:
      run: Run with weights.
      images: Images of the split.
      records: Dataset of the images.
      split: Name of the split.

    Raises:
      UserError: The split has too few examples or cannot be read, or the run has no weights.
      OSError: The file cannot be written.
    """
    check_examples(len(images), split)
    read = readable(split_dataset(images, _BATCH), records.directory, split, run.reads_length)
    found = predict_split(make_forward(load_model(run)), read, run.labels, records.manifest.labels)
    correct = correct_numbers(found.predictions, found.length, found.digits)
    made = make_calibration(found.predictions, correct, weights_digest(run), records.manifest_sha256, split)
    write_calibration(run.directory, made)
    return made


def calibrate_trained(run: Run, images: ImageCache | None, records: Records) -> None:
    """Calibrates a run at the end of its training, and prints what came of it.

    Args:
      run: Run with weights.
      images: Images of the validation split; None without one.
      records: Dataset of the images.

    Raises:
      UserError: The split cannot be read.
      OSError: The file cannot be written.
    """
    if images is None or len(images) < LEAST_EXAMPLES:
        examples = f"{len(images)} examples" if images is not None else "none"
        rule = f"a temperature needs a validation split of at least {LEAST_EXAMPLES} examples (here: {examples})"
        print_line(f"note: confidences are not calibrated: {rule}")
        return
    print_line(calibration_line(calibrate(run, images, records)), sys.stdout)


def calibration_line(made: Calibration) -> str:
    """Returns what is printed of a calibration."""
    errors = f"{100 * made.error_before:.1f} to {100 * made.error_after:.1f} points"
    return (
        f"Calibrated on {made.examples:,} examples of {made.split}: temperature {made.temperature:.2f}, "
        f"calibration error {errors}."
    )
