"""Reads each picture with each system, in each view, and scores the answers."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.reading.peers import Peer, Text
from benchmarks.reading.pictures import Labelled
from trainer.scoring.metrics import COVERAGE_ACCURACY, coverage_at, coverage_curve, wilson_interval

JOINS: dict[str, Callable[[Sequence[Text]], Text]] = {
    "most confident": lambda texts: max(texts, key=lambda text: text.confidence),
    "tallest": lambda texts: max(texts, key=lambda text: text.height),
    "left to right": lambda texts: _joined(sorted(texts, key=lambda text: text.left)),
}
"""Rules for the number of a picture in which several texts with digits were found."""
_NOTHING = Text("", 0.0)


@dataclass(frozen=True)
class View:
    """What a system is shown of a picture.

    Attributes:
      title: Name for the table.
      margin: Margin around the box, as a fraction of its size; None without a box.
      is_cut: Whether pictures are crops already, with margins of their own, as those of a dataset directory.
    """

    title: str
    margin: float | None
    is_cut: bool = False


@dataclass
class Answers:
    """Answers of one system in one view, picture by picture.

    Attributes:
      labelled: Splits and true numbers of the pictures.
      found: Answer to each picture, by the rule that joins texts; the rule is empty for a number that is cut out.
      seconds: Processor time of all pictures.
    """

    labelled: list[tuple[str, str]] = field(default_factory=list)
    found: dict[str, list[Text]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    def add(self, split: str, text: str, found: Mapping[str, Text], seconds: float) -> None:
        """Adds the answers to a picture, by rule, and what they took."""
        self.labelled.append((split, text))
        self.seconds += seconds
        for rule, answer in found.items():
            self.found[rule].append(answer)


@dataclass(frozen=True)
class Score:
    """What one system reached in one view on some pictures.

    Attributes:
      pictures: Number of pictures.
      right: Number of pictures whose number is right, in length and every digit.
      accuracy: Share of those, 0..1.
      low: Lower end of its 95 % interval (Wilson's).
      high: Upper end.
      coverage: Share that can be answered at 98 % accuracy, 0..1. A picture in which nothing is read is not answered.
      nothing: Share in which no digit is read.
      other_length: Share that is read with another number of digits.
      other_digit: Share that is read with the right number of digits and a wrong digit.
      milliseconds: Processor time of a picture, mean.
      rule: Rule that joined the texts; empty where a number is cut out.
    """

    pictures: int
    right: int
    accuracy: float
    low: float
    high: float
    coverage: float
    nothing: float
    other_length: float
    other_digit: float
    milliseconds: float
    rule: str


def views_of(margins: Sequence[float], without_box: bool) -> list[View]:
    """Returns the views of pictures with boxes: each margin, then the complete picture."""
    views = [View(f"box +{100 * margin:.0f} %" if margin else "tight box", margin) for margin in margins]
    return [*views, *([View("no box", None)] if without_box else [])]


def answer_all(
    pictures: Iterable[Labelled], peers: Mapping[str, Peer], views: Sequence[View]
) -> dict[tuple[str, str], Answers]:
    """Returns the answers of each system in each view, by name of the system and title of the view.

    A view leaves out pictures that it does not suit: those with other numbers without a box, those without boxes with.
    Time counts from the pixels in memory to the number: neither reading, nor decoding, nor cutting out.
    """
    answers: dict[tuple[str, str], Answers] = defaultdict(Answers)
    for each in pictures:
        for view in views:
            if not _suits(each, view):
                continue
            margin = each.margin if view.is_cut else view.margin
            image = each.picture if view.is_cut or margin is None else each.crop(margin)
            for name, peer in peers.items():
                kept = answers[name, view.title]
                if not kept.labelled:
                    _read(peer, image, margin)  # what is compiled or allocated at first is no cost of a picture
                start = time.process_time()
                found = _read(peer, image, margin)
                seconds = time.process_time() - start
                kept.add(each.split, each.text, _by_rule(found) if margin is None else {"": found[0]}, seconds)
    return answers


def _read(peer: Peer, image: NDArray[np.uint8], margin: float | None) -> Sequence[Text]:
    return peer.find(image) if margin is None else [peer.read(image, margin)]


def _suits(each: Labelled, view: View) -> bool:
    return view.is_cut or (each.is_alone if view.margin is None else bool(each.boxes))


def _by_rule(texts: Sequence[Text]) -> dict[str, Text]:
    """Returns the number of a picture by each rule, out of its texts with digits."""
    with_digits = [text for text in texts if text.digits]
    return {name: join(with_digits) if with_digits else _NOTHING for name, join in JOINS.items()}


def _joined(texts: Sequence[Text]) -> Text:
    return Text("".join(text.digits for text in texts), min(text.confidence for text in texts))


def score(answers: Answers, split: str | None = None) -> Score:
    """Returns the scores of some answers, by the rule that reads most of all pictures right.

    Args:
      answers: Answers of a system in a view.
      split: Split of the pictures to score; None for all.
    """
    rule = max(answers.found, key=lambda name: sum(_right(answers, name)))
    chosen = [index for index, (each, _) in enumerate(answers.labelled) if split in (None, each)]
    texts = [answers.labelled[index][1] for index in chosen]
    found = [answers.found[rule][index] for index in chosen]
    right = [answer.digits == text for answer, text in zip(found, texts, strict=True)]
    total, right_count = len(chosen), sum(right)
    # Below every confidence: what is not read is not answered.
    confidence = [answer.confidence if answer.digits else -1.0 for answer in found]
    nothing = sum(not answer.digits for answer in found)
    same_length = sum(len(answer.digits) == len(text) for answer, text in zip(found, texts, strict=True))
    low, high = wilson_interval(right_count, total)
    return Score(
        pictures=total,
        right=right_count,
        accuracy=right_count / total,
        low=max(0.0, low),
        high=min(1.0, high),
        coverage=coverage_at(*coverage_curve(confidence, right), COVERAGE_ACCURACY),
        nothing=nothing / total,
        other_length=(total - nothing - same_length) / total,
        other_digit=(same_length - right_count) / total,
        milliseconds=1000 * answers.seconds / len(answers.labelled),
        rule=rule,
    )


def _right(answers: Answers, rule: str) -> list[bool]:
    return [answer.digits == text for answer, (_, text) in zip(answers.found[rule], answers.labelled, strict=True)]
