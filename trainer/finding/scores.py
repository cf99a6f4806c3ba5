"""Scores of the numbers that a model finds: recall, precision and average precision at an IoU of 0.5.

Matches are those of COCO: the most confident box chooses first, and takes the number that it overlaps most of those
that are free. Average precision is the area under precision over recall, with all points and each precision the best at
that recall or a higher one (PASCAL VOC, Everingham et al. 2012, section 4.2.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox
from trainer.finding.boxes import Found, box_iou

LEAST_CONFIDENCE = 0.01
"""Confidence from which boxes are scored."""
FIXED_THRESHOLD = 0.5
MATCH_IOU = 0.5
_CLOSE_IOU = 0.75


@dataclass(frozen=True)
class Matches:
    """The boxes found in several pictures, the most confident first, and what they match.

    Attributes:
      confidence: Confidence of each box: (boxes,) float64.
      iou: IoU with the number that it matches, or 0: (boxes,) float64.
      numbers: Number of numbers in the pictures.
    """

    confidence: NDArray[np.float64]
    iou: NDArray[np.float64]
    numbers: int


def match_numbers(
    found: Sequence[Found], truth: Sequence[BoundingBox], least: float = MATCH_IOU
) -> list[tuple[int | None, float]]:
    """Returns the index of the number that each box of a picture matches, and their IoU; None and 0 if it matches none.

    Args:
      found: Boxes found, the most confident first.
      truth: Boxes of the numbers.
      least: Least IoU of a match.
    """
    free = list(range(len(truth)))
    matched: list[tuple[int | None, float]] = []
    for one in found:
        overlaps = {index: box_iou(one.box, truth[index]) for index in free}
        best = max(free, key=overlaps.__getitem__, default=None)
        if best is None or overlaps[best] < least:
            matched.append((None, 0.0))
            continue
        matched.append((best, overlaps[best]))
        free.remove(best)
    return matched


def match(found: Sequence[Found], truth: Sequence[BoundingBox], least: float = MATCH_IOU) -> list[float]:
    """Returns the IoU of each box of a picture with the number that it matches: see `match_numbers`."""
    return [overlap for _, overlap in match_numbers(found, truth, least)]


def match_all(found: Sequence[Sequence[Found]], truth: Sequence[Sequence[BoundingBox]]) -> Matches:
    """Returns the matches in several pictures, given as of `match`, one entry a picture."""
    pairs = list(zip(found, truth, strict=True))
    confidence = np.array([one.confidence for each in found for one in each], np.float64)
    iou = np.array([value for each, boxes in pairs for value in match(each, boxes)], np.float64)
    order = np.argsort(-confidence, kind="stable")
    return Matches(confidence[order], iou[order], sum(len(boxes) for boxes in truth))


def average_precision(matches: Matches) -> float:
    """Returns the average precision, 0..1; 0 without a number."""
    if not matches.numbers or not len(matches.iou):
        return 0.0
    right = np.cumsum(matches.iou > 0)
    precision = right / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[matches.iou > 0].sum() / matches.numbers)


def best_threshold(matches: Matches) -> float:
    """Returns the confidence from which boxes have the best F1, the harmonic mean of recall and precision."""
    if not (matches.iou > 0).any():
        return FIXED_THRESHOLD
    confidence, right = matches.confidence, np.cumsum(matches.iou > 0)
    f1 = 2 * right / (np.arange(1, len(right) + 1) + matches.numbers)
    # Boxes of one confidence are above a threshold together.
    f1[:-1][confidence[:-1] == confidence[1:]] = -1
    return float(confidence[int(f1.argmax())])


def at_threshold(matches: Matches, threshold: float) -> dict[str, float]:
    """Returns recall and precision of the boxes from a confidence on; 1 where there is nothing to find, or found."""
    count = int((matches.confidence >= threshold).sum())
    right = int((matches.iou[:count] > 0).sum())
    return {
        "recall": right / matches.numbers if matches.numbers else 1.0,
        "precision": right / count if count else 1.0,
    }


def score_found(
    found: Sequence[Sequence[Found]], truth: Sequence[Sequence[BoundingBox]], threshold: float | None = None
) -> dict[str, Any]:
    """Returns the scores of pictures.

    Args:
      found: Boxes found in each picture with a confidence of `LEAST_CONFIDENCE` or more, the most confident first.
      truth: Boxes of the numbers of each picture.
      threshold: Confidence of the scores that need one; None takes that of the best F1 of these pictures.
    """
    matches = match_all(found, truth)
    threshold = best_threshold(matches) if threshold is None else threshold
    count = int((matches.confidence >= threshold).sum())
    right = matches.iou[:count][matches.iou[:count] > 0]
    fixed = at_threshold(matches, FIXED_THRESHOLD)
    empty = [index for index, boxes in enumerate(truth) if not boxes]
    wrong = sum(any(one.confidence >= threshold for one in found[index]) for index in empty)
    return {
        "average_precision": average_precision(matches),
        **at_threshold(matches, threshold),
        "threshold": threshold,
        **{f"{name}_at_{FIXED_THRESHOLD}": value for name, value in fixed.items()},
        "recall_at_iou_0.75": float((right >= _CLOSE_IOU).sum() / matches.numbers) if matches.numbers else 1.0,
        "mean_iou": float(right.mean()) if len(right) else 0.0,
        "num_pictures": len(truth),
        "num_numbers": matches.numbers,
        "num_pictures_without_number": len(empty),
        "num_of_these_with_a_box": wrong,
    }
