"""Numbers read without a box: what becomes of each, the scores, and the files that `evaluate --finder` writes.

The score is that of `benchmarks.reading`: of a picture with one number, the surest answer is right or wrong, wherever
it was found. Of pictures with several, each number is to be answered at its place; of those without, nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.files.publish import atomic_write
from tfrecords.images.crop import BoundingBox
from tfrecords.typed_json import parse_lines
from trainer.scoring.metrics import COVERAGE_ACCURACY, coverage_at, coverage_curve, wilson_interval

RIGHT = "right"
NOT_FOUND = "not found"
ELSEWHERE = "found elsewhere"
REFUSED = "refused as no number"
MISREAD = "read wrong"
OUTRANKED = "another place was surer"
OUTCOMES = (RIGHT, NOT_FOUND, ELSEWHERE, REFUSED, MISREAD, OUTRANKED)
"""What becomes of a number: it is answered; nothing was found in its picture; all that was found has an IoU below 0.5
with it; the reader takes its place for no number, or is too unsure; it is read wrong there; or it is read right there,
and another place is answered."""
ANSWERED = "answered anyway"
"""What goes wrong with a picture without a number."""


@dataclass(frozen=True)
class Answer:
    """What is read at a place.

    Attributes:
      text: Characters of the number; empty for no number.
      confidence: Confidence of the reader, 0..1.
      box: Place, pixels of the source picture; None for the complete picture.
      box_confidence: Confidence of the finder, 0..1; 1 without a box.
    """

    text: str
    confidence: float
    box: BoundingBox | None
    box_confidence: float

    @property
    def score(self) -> float:
        """Confidence in the place and in the text together, 0..1."""
        return self.confidence * self.box_confidence


@dataclass(frozen=True)
class TrueNumber:
    """A number of a picture, and what became of it.

    Attributes:
      text: Its characters.
      box: Its box, pixels of the source picture.
      outcome: One of `OUTCOMES`.
      read: What is read at the place that overlaps it by an IoU of 0.5 or more; None if no place does.
    """

    text: str
    box: BoundingBox
    outcome: str
    read: Answer | None


@dataclass(frozen=True)
class ReadPicture:
    """A picture, its numbers and the answers.

    Attributes:
      key: Key of the picture.
      numbers: Its numbers.
      answers: What is answered, the surest first.
      places: All places that were found, pixels of the source picture, the most confident first, and the confidences.
    """

    key: str
    numbers: tuple[TrueNumber, ...]
    answers: tuple[Answer, ...]
    places: tuple[tuple[BoundingBox, float], ...]


def score_unboxed(pictures: Sequence[ReadPicture]) -> dict[str, Any]:
    """Returns the scores of pictures: those with one number, those with several, and those without.

    Shares and intervals are None where there is nothing to count.
    """
    alone = [each for each in pictures if len(each.numbers) == 1]
    several = [each for each in pictures if len(each.numbers) > 1]
    empty = [each for each in pictures if not each.numbers]
    right = [each.numbers[0].outcome == RIGHT for each in alone]
    # Below every confidence: what is not read is not answered.
    sure = [each.answers[0].confidence if each.answers else -1.0 for each in alone]
    coverage = coverage_at(*coverage_curve(sure, right), COVERAGE_ACCURACY) if alone else None
    answered = sum(bool(each.answers) for each in empty)
    return {
        "num_pictures": len(pictures),
        "num_examples": len(alone),
        **_share("whole_number_accuracy", sum(right), len(alone)),
        "coverage_at_98": coverage,
        "outcomes": _outcomes(alone),
        "several": {
            "num_pictures": len(several),
            **_numbers([number.outcome == RIGHT for each in several for number in each.numbers]),
            "outcomes": _outcomes(several),
        },
        "without_number": {"num_pictures": len(empty), "answered": answered, **_share("share", answered, len(empty))},
    }


def _numbers(right: list[bool]) -> dict[str, Any]:
    return {"num_numbers": len(right), **_share("accuracy", sum(right), len(right))}


def _share(name: str, count: int, total: int) -> dict[str, Any]:
    """Returns a share and its 95 % interval."""
    return {
        name: count / total if total else None,
        f"{name}_interval": wilson_interval(count, total) if total else None,
    }


def _outcomes(pictures: Iterable[ReadPicture]) -> dict[str, int]:
    counts = Counter(number.outcome for each in pictures for number in each.numbers)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def write_unboxed(path: Path, pictures: Iterable[ReadPicture]) -> None:
    """Writes a line of JSON per picture; boxes are ymin, xmin, ymax, xmax in pixels of the source picture."""
    with atomic_write(path) as stream:
        for each in pictures:
            line = {
                "key": each.key,
                "numbers": [
                    {
                        "text": one.text,
                        "box": _edges(one.box),
                        "outcome": one.outcome,
                        "read": None if one.read is None else _answer(one.read),
                    }
                    for one in each.numbers
                ],
                "answers": [_answer(one) for one in each.answers],
                "places": [{"box": _edges(box), "confidence": round(sure, 4)} for box, sure in each.places],
            }
            stream.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "confidence": round(answer.confidence, 4),
        "box": None if answer.box is None else _edges(answer.box),
        "box_confidence": round(answer.box_confidence, 4),
    }


def _edges(box: BoundingBox) -> list[float]:
    return [round(edge, 2) for edge in box]


def read_unboxed(path: Path) -> list[ReadPicture]:
    """Returns the pictures of a file of `write_unboxed`, in stored order.

    Raises:
      UserError: A line is not as `write_unboxed` writes it.
      OSError: The file cannot be read.
    """
    rule = "as `python -m trainer evaluate --finder` writes it; evaluate again."
    return parse_lines(path.read_bytes(), str(path), _parse, rule)


def _parse(content: Any) -> ReadPicture:
    numbers = tuple(
        TrueNumber(
            str(one["text"]),
            _box(one["box"]),
            OUTCOMES[OUTCOMES.index(one["outcome"])],
            None if one["read"] is None else _parse_answer(one["read"]),
        )
        for one in content["numbers"]
    )
    answers = tuple(map(_parse_answer, content["answers"]))
    places = tuple((_box(one["box"]), float(one["confidence"])) for one in content["places"])
    return ReadPicture(str(content["key"]), numbers, answers, places)


def _parse_answer(content: dict[str, Any]) -> Answer:
    box = content["box"]
    sure = float(content["confidence"]), float(content["box_confidence"])
    return Answer(str(content["text"]), sure[0], None if box is None else _box(box), sure[1])


def _box(edges: list[float]) -> BoundingBox:
    return BoundingBox(*map(float, edges))
