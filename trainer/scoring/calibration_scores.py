"""The calibration of a split's predictions, in the form of evaluation-SPLIT.json."""

from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.calibration_file import Calibration


def calibration_scores(
    confidence: ArrayLike, correct: ArrayLike, before: ArrayLike | None = None, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Returns the expected calibration error, and the groups of answers that it is the mean of.

    Args:
      confidence: (examples,) float, 0..1, as `predict` shows it.
      correct: (examples,) bool.
      before: (examples,) float, confidences at temperature 1; None if no temperature is applied.
      calibration: Temperature of the confidences; None if none is applied.
    """
    groups = equal_groups(confidence, correct)
    scores: dict[str, Any] = {
        "error": calibration_error(groups),
        "temperature": calibration.temperature if calibration else None,
        "groups": [asdict(group) for group in groups],
    }
    if before is not None and calibration is not None:
        groups = equal_groups(before, correct)
        scores |= {
            "fitted_on": calibration.split,
            "error_before": calibration_error(groups),
            "groups_before": [asdict(group) for group in groups],
        }
    return scores
