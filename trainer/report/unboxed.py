"""Numbers read without a box to one HTML page: what became of them, and the failures by kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox
from tfrecords.images.marks import FOUND, TRUE, Mark
from tfrecords.pages.formats import format_percent
from tfrecords.pages.page import render_page
from tfrecords.typed_json import parse_object
from trainer.report.inputs import EVALUATE
from trainer.report.page import COMMAND, Report
from trainer.report.scenes import Card, Group, draw_cards, load_scenes, sample_order
from trainer.run.directory import CONFIG
from trainer.run.evaluations import UnboxedFiles, unboxed_splits
from trainer.scoring.unboxed import (
    ANSWERED,
    ELSEWHERE,
    MISREAD,
    NOT_FOUND,
    OUTRANKED,
    REFUSED,
    RIGHT,
    Answer,
    ReadPicture,
    TrueNumber,
    read_unboxed,
)

_MOST_PLACES = 4
"""Places drawn in a picture in which the number was not found."""
_KINDS = {
    NOT_FOUND: (
        "Not found",
        "Nothing was found in the picture. The complete picture was read instead; the surest wrong answer is first.",
    ),
    ELSEWHERE: (
        "Found elsewhere",
        "All that was found overlaps the number by an IoU below 0.5: signs, windows, or a part of the number.",
    ),
    MISREAD: (
        "Found but read wrong",
        "The number was found, and the reader is wrong. The most confident mistakes are first.",
    ),
    OUTRANKED: (
        "Found and read right, but another place was surer",
        "In a picture of one number another place is answered; in one of several, this number was not sure enough "
        "next to the others.",
    ),
    REFUSED: (
        "Refused as no number",
        "The number was found, and the reader takes the place for no number, or is too unsure of it.",
    ),
}
"""Heading and explanation of each kind of failure, in the order of the page."""


@dataclass(frozen=True)
class Unboxed:
    """An evaluation of a reader and a finder together, with the run directory that it is in.

    Attributes:
      run_dir: Run directory.
      model: Name of the reader's architecture.
      data_dir: Dataset directory.
      split: Split that was evaluated.
      scores: Scores, as of `trainer.scoring.unboxed.score_unboxed`.
      pictures: What was read in each picture.
    """

    run_dir: Path
    model: str
    data_dir: Place | None
    split: str
    scores: dict[str, Any]
    pictures: list[ReadPicture]


def load_unboxed(run_dir: Path, data_dir: Place | None, split: str | None) -> Unboxed:
    """Returns an evaluation of a run directory.

    Args:
      run_dir: Directory with a config.json and the files of `evaluate --finder`.
      data_dir: Dataset directory; None takes the one of the evaluation.
      split: Split of the evaluation; None takes test, validation or train, whichever is there.

    Raises:
      UserError: There is no such evaluation, or a file is damaged.
      OSError: A file cannot be read.
    """
    splits = unboxed_splits(run_dir)
    chosen = split or next(iter(splits), None)
    if chosen is None or chosen not in splits:
        made = f"`{EVALUATE} --finder FINDER` writes one"
        rule = f"{run_dir} has evaluations without boxes of {', '.join(splits) or 'no split'}; {made}."
        raise UserError(rule, "--without-box" if chosen is None else f"--split {chosen}")
    files = UnboxedFiles.of_split(run_dir, chosen)
    scores = parse_object(files.scores.read_bytes(), str(files.scores))
    config = parse_object((run_dir / CONFIG).read_bytes(), str(run_dir / CONFIG))
    recorded = scores.get("data")
    place = data_dir or (Place(str(recorded)) if recorded else None)
    return Unboxed(run_dir, str(config.get("model", "A model")), place, chosen, scores, read_unboxed(files.pictures))


def render_unboxed(found: Unboxed) -> Report:
    """Returns the page of an evaluation; the same evaluation and pictures give the same page."""
    groups = list(failures(found.pictures))
    scenes, missing = load_scenes(found.data_dir, found.split, groups)
    if found.data_dir is None:
        missing = ["The galleries have no pictures: the evaluation names no dataset; use `--data DATA`."]
    pictures = draw_cards(groups, scenes)
    values = {
        "name": found.run_dir.resolve().name,
        "model": found.model,
        "dataset": found.scores.get("dataset", ""),
        "scores": found.scores,
        "missing": missing,
        "kinds": [(RIGHT, "Read right"), *((kind, title) for kind, (title, _) in _KINDS.items())],
        "groups": groups,
        "pictures": pictures,
    }
    html = render_page(Path(__file__).parent / "unboxed.html", COMMAND, values)
    return Report(html, len(pictures), tuple(missing))


def failures(pictures: Sequence[ReadPicture]) -> Iterator[Group]:
    """Yields the failures by kind, then the pictures without a number that were answered, then some right ones."""
    pairs = [(each, number) for each in pictures for number in each.numbers]
    for kind, (title, explanation) in _KINDS.items():
        chosen = [pair for pair in pairs if pair[1].outcome == kind]
        chosen.sort(key=lambda pair: (-_sureness(*pair), pair[0].key))
        cards = [_number_card(*pair) for pair in chosen]
        yield Group.first(kind.replace(" ", "-"), title, explanation, cards)
    answered = [each for each in pictures if not each.numbers and each.answers]
    answered.sort(key=lambda each: -each.answers[0].score)
    yield Group.first(
        ANSWERED.replace(" ", "-"),
        "Without a number, and answered anyway",
        "Pictures without a number in which one is read. The most confident answers are first.",
        [Card(each.key, "No number is there", _answer_facts(each), _answer_marks(each)) for each in answered],
    )
    right = sorted((pair for pair in pairs if pair[1].outcome == RIGHT), key=lambda pair: sample_order(pair[0].key))
    yield Group.first("right", "Read right", "A fixed sample.", [_number_card(*pair) for pair in right])


def _sureness(picture: ReadPicture, number: TrueNumber) -> float:
    """Returns the confidence of what is read in place of a number."""
    if number.outcome in (MISREAD, REFUSED) and number.read is not None:
        return number.read.score
    return picture.answers[0].score if picture.answers else 0.0


def _number_card(picture: ReadPicture, number: TrueNumber) -> Card:
    """Returns a picture with a number that was read or not, what was answered, and both confidences."""
    read, marks = number.read, [Mark(number.box, "" if number.read else number.text, TRUE)]
    if number.outcome == RIGHT:
        answer = next(one for one in picture.answers if one.text == number.text)
        return Card(picture.key, number.text, (_sure(answer),), _answer_marks(picture), is_right=True)
    if read is None:
        facts = _answer_facts(picture)
        marks += [Mark(box, f"{sure:.0%}", FOUND) for box, sure in picture.places[:_MOST_PLACES]]
    else:
        is_answer = any(one.box == read.box for one in picture.answers)
        facts = (_sure(read), *(() if is_answer else _answer_facts(picture)))
        marks += [_mark(read), *(_answer_marks(picture) if number.outcome == OUTRANKED else ())]
    return Card(picture.key, _title(number), facts, tuple(marks))


def _title(number: TrueNumber) -> str:
    """Returns what became of a number that was not read, in a few words."""
    if number.read is None:
        return f"{number.text} {number.outcome}"
    return f"{number.text} read as {number.read.text or 'no number'}"


def _answer_facts(picture: ReadPicture) -> tuple[tuple[str, str], ...]:
    """Returns the surest answer of a picture with its confidences."""
    if not picture.answers:
        return (("Answer", "none"),)
    first = picture.answers[0]
    where = "" if first.box else ", in the complete picture"
    return ("Surest answer", f"{first.text}{where}"), _sure(first)


def _sure(answer: Answer) -> tuple[str, str]:
    """Returns the confidence in a place and in its text."""
    if answer.box is None:
        return "Sure of text", format_percent(answer.confidence)
    return "Sure of place, text", f"{format_percent(answer.box_confidence)}, {format_percent(answer.confidence)}"


def _answer_marks(picture: ReadPicture) -> tuple[Mark, ...]:
    return tuple(_mark(one) for one in picture.answers if one.box is not None)


def _mark(answer: Answer) -> Mark:
    """Returns the mark of an answer, as `predict --draw` draws it."""
    box = answer.box if answer.box is not None else BoundingBox(0, 0, 0, 0)
    return Mark(box, f"{answer.text or 'none'} {answer.score:.0%}", FOUND)
