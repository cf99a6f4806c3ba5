"""calibration.json of a run: the temperature of its confidences, and what thresholds on them promise."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.files.shards import file_sha256
from tfrecords.typed_json import Count, Rule, from_json, matching, parse_object
from trainer.run.directory import CALIBRATION, WEIGHTS, Run, write_json
from trainer.run.stand_in import shown, stand_in_of
from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.decode import Predictions
from trainer.scoring.temperature import LEAST_EXAMPLES, Share, Threshold, fit_temperature, thresholds

_Digest = Annotated[str, matching("[0-9a-f]{64}", "a SHA-256: 64 hexadecimal digits")]
_Positive = Annotated[float, Rule("above 0", lambda value: value > 0)]
_Loss = Annotated[float, Rule("at least 0", lambda value: value >= 0)]


@dataclass(frozen=True)
class Calibration:
    """Temperature of a run's confidences, and what it was fitted on.

    Attributes:
      weights_sha256: SHA-256 of the weights that the temperature belongs to.
      manifest_sha256: SHA-256 of the manifest of the dataset.
      split: Split of the dataset.
      examples: Number of examples.
      temperature: Divisor of the logits.
      log_loss_before: Mean log loss of the confidences at temperature 1, nats.
      log_loss_after: The same at the temperature.
      error_before: Expected calibration error at temperature 1, 0..1, by groups of equal size.
      error_after: The same at the temperature.
      thresholds: What thresholds on the confidence answer, the highest first, at the temperature.
    """

    weights_sha256: _Digest
    manifest_sha256: _Digest
    split: str
    examples: Annotated[Count, Rule("at least 1", lambda value: value > 0)]
    temperature: _Positive
    log_loss_before: _Loss
    log_loss_after: _Loss
    error_before: Share
    error_after: Share
    thresholds: list[Threshold]


def make_calibration(
    predictions: Predictions, correct: NDArray[np.bool_], weights_sha256: str, manifest_sha256: str, split: str
) -> Calibration:
    """Returns the calibration of a run by its predictions for a split. The same arguments give the same one.

    Args:
      predictions: Predictions at temperature 1, one per example.
      correct: (examples,) bool, which numbers are right.
      weights_sha256: SHA-256 of the weights.
      manifest_sha256: SHA-256 of the manifest of the dataset.
      split: Name of the split.

    Raises:
      UserError: There are too few examples.
    """
    check_examples(len(correct), split)
    fit = fit_temperature(predictions, correct)
    after = predictions.with_temperature(fit.temperature).confidence
    before_groups, after_groups = equal_groups(predictions.confidence, correct), equal_groups(after, correct)
    return Calibration(
        weights_sha256,
        manifest_sha256,
        split,
        fit.examples,
        fit.temperature,
        fit.log_loss_before,
        fit.log_loss_after,
        calibration_error(before_groups),
        calibration_error(after_groups),
        thresholds(after, correct),
    )


def check_examples(count: int, split: str) -> None:
    """Raises a UserError if a split has too few examples to fit a temperature on."""
    if count < LEAST_EXAMPLES:
        rule = f"A temperature is fitted on at least {LEAST_EXAMPLES} examples; {split} must have as many."
        raise UserError(rule, count)


def write_calibration(directory: Path, calibration: Calibration) -> None:
    """Writes calibration.json into a run directory atomically."""
    write_json(directory / CALIBRATION, asdict(calibration))


def read_calibration(run: Run) -> Calibration | None:
    """Returns the calibration of a run's weights; None if there is none, with a note if it is that of other weights.

    Raises:
      UserError: The file is damaged.
    """
    found = stand_in_of(run.directory)
    found.fetch(CALIBRATION)
    path = run.directory / CALIBRATION
    if not path.is_file():
        return None
    calibration = from_json(Calibration, parse_object(path.read_bytes(), str(path)), str(path))
    found.fetch(WEIGHTS)
    if run.weights.is_file() and weights_digest(run) == calibration.weights_sha256:
        return calibration
    rule = "is of other weights, and is not used; `python -m trainer calibrate` replaces it"
    print(f"note: {shown(path)} {rule}", file=sys.stderr)
    return None


def weights_digest(run: Run) -> str:
    """Returns the SHA-256 of a run's weights, hexadecimal."""
    return file_sha256(run.weights)
