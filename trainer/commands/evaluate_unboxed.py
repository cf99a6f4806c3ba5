"""The part of `evaluate` for a reader and a finder together: numbers read in complete pictures, without their boxes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import FIND, READ, Manifest
from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import progress_of
from tfrecords.record.scene import SceneExample
from trainer.commands.evaluate_output import copy_config, print_replaced
from trainer.distribute.startup import start_tensorflow
from trainer.finding.boxes import Found, box_iou
from trainer.finding.finder import check_finds
from trainer.finding.scores import MATCH_IOU
from trainer.input.records import Records
from trainer.photo_reader import Finding, PhotoNumber, PhotoReader
from trainer.pretrained import run_directory
from trainer.reader import Reader
from trainer.run.directory import Run, write_json
from trainer.run.evaluations import UnboxedFiles
from trainer.run.stand_in import StandIn, absolute, shown
from trainer.scoring.unboxed import (
    ELSEWHERE,
    MISREAD,
    NOT_FOUND,
    OUTRANKED,
    REFUSED,
    RIGHT,
    Answer,
    ReadPicture,
    TrueNumber,
    score_unboxed,
    write_unboxed,
)


class Remembering:
    """A finder that keeps what it found last, also what the reader takes for no number.

    Attributes:
      found: Places found in the last picture, the most confident first.
    """

    def __init__(self, finder: Finding) -> None:
        """Takes a finder."""
        self._finder = finder
        self.found: list[Found] = []

    def find(self, picture: NDArray[np.uint8]) -> list[Found]:
        """As `Finding.find`."""
        self.found = self._finder.find(picture)
        return self.found


def check_reader(args: argparse.Namespace, trained: Run, manifest: Manifest) -> None:
    """Checks that a run reads numbers, and that a dataset holds complete pictures.

    Args:
      args: Options `data` and `finder`.
      trained: Run of the reader.
      manifest: Manifest of the dataset.

    Raises:
      UserError: It does not.
    """
    if trained.task != READ:
        rule = f"--finder must go with a model that can {READ} numbers; without it, a finder is scored alone."
        raise UserError(rule, trained.directory)
    if manifest.task != FIND:
        rule = "--finder must go with a dataset of complete pictures, of `python -m beam_jobs prepare --task find`."
        raise UserError(rule, args.data)


def run_unboxed(args: argparse.Namespace, trained: Run, records: Records, output: StandIn) -> int:
    """Reads the numbers of complete pictures with a reader and a finder, and writes scores, answers and failures.

    Args:
      args: Options of `evaluate`, with `finder`.
      trained: Run of the reader.
      records: Dataset of scenes.
      output: Folder to write to.

    Raises:
      UserError: The finder or the dataset cannot be used.
    """
    if args.crops > 1:
        raise UserError("--crops must be 1 with --finder.", args.crops)
    finder = Run.load(run_directory(args.finder))
    check_finds(finder)
    with ending_at_once():
        start_tensorflow()
    pair = PhotoReader.load(finder, Reader(trained))
    examples = records.examples(args.split)
    scenes = progress_of(examples, f"evaluate {args.split}", len(examples), "pictures")
    pictures, reduced = read_pictures(pair, scenes)
    scores = score_unboxed(pictures)
    files = UnboxedFiles.of_split(output.folder, args.split)
    output.fetch(files.scores.name)
    facts = {
        "split": args.split,
        "data": absolute(args.data),
        "dataset": records.manifest.name,
        "manifest_sha256": records.manifest_sha256,
        "crops": 1,
        "finder": args.finder,
    }
    print_replaced(files.scores, facts)
    copy_config(trained, output)
    write_json(files.scores, {**facts, "num_reduced": reduced, **scores})
    write_unboxed(files.pictures, pictures)
    output.publish(files.scores.name, files.pictures.name)
    _print_scores(scores, reduced, files)
    return 0


def read_pictures(pair: PhotoReader, scenes: Iterable[Any]) -> tuple[list[ReadPicture], int]:
    """Returns what is read in each scene, and the number of scenes that are smaller than their source pictures.

    Args:
      pair: Finder and reader; its finder is replaced.
      scenes: `SceneExample`s.
    """
    memory = Remembering(pair.finder)
    pair.finder = memory
    pictures, reduced = [], 0
    for scene in scenes:
        pictures.append(read_scene(pair, memory, scene))
        reduced += bool((scene.content_size < scene.source_size).any())
    return pictures, reduced


def read_scene(pair: PhotoReader, memory: Remembering, scene: SceneExample) -> ReadPicture:
    """Returns what is read in a scene, and what became of its numbers.

    Args:
      pair: Finder and reader.
      memory: Its finder.
      scene: Scene.
    """
    height, width = scene.content_size.tolist()
    picture = np.ascontiguousarray(to_channels(scene.image[:height, :width], 3))
    numbers = pair.read(picture)
    places, scale = memory.found, np.tile(scene.content_size / scene.source_size, 2)
    answers = [_answer(one, scale) for one in numbers]
    is_alone = len(scene.texts) == 1
    found = []
    for text, edges in zip(scene.texts, scene.boxes.tolist(), strict=True):
        box = BoundingBox(*edges)
        at = _place_of(box, places)
        read = None if at is None else _read_at(pair, picture, at, numbers)
        right = _is_right(text, box, numbers, is_alone)
        outcome = RIGHT if right else outcome_of(text, places, read, numbers)
        there = None if read is None or at is None else Answer(*read, _source(at.box, scale), at.confidence)
        found.append(TrueNumber(text, _source(box, scale), outcome, there))
    everything = tuple((_source(one.box, scale), one.confidence) for one in places)
    return ReadPicture(scene.key, tuple(found), tuple(answers), everything)


def _is_right(text: str, box: BoundingBox, answers: Sequence[PhotoNumber], is_alone: bool) -> bool:
    """Returns whether a number is answered: by the surest answer if it is alone, else by one at its place."""
    if is_alone:
        return bool(answers) and answers[0].text == text
    return any(one.text == text and one.box is not None and box_iou(one.box, box) >= MATCH_IOU for one in answers)


def outcome_of(
    text: str, places: Sequence[Found], read: tuple[str, float] | None, answers: Sequence[PhotoNumber]
) -> str:
    """Returns why a number is not answered, one of `trainer.scoring.unboxed.OUTCOMES`.

    Args:
      text: Number.
      places: All places that were found in its picture.
      read: Text and confidence of the reader at the place of the number; None if no place overlaps it.
      answers: What is answered, the surest first.
    """
    if not places:
        return NOT_FOUND
    if read is None:
        return ELSEWHERE
    # Where all places are refused, the complete picture is read.
    has_place = any(one.box is not None for one in answers)
    if not read[0] or not has_place:
        return REFUSED
    return OUTRANKED if read[0] == text else MISREAD


def _place_of(box: BoundingBox, places: Sequence[Found]) -> Found | None:
    """Returns the place that overlaps a number most; None if none has an IoU of 0.5."""
    overlaps = [box_iou(one.box, box) for one in places]
    best = max(range(len(places)), key=overlaps.__getitem__, default=None)
    return None if best is None or overlaps[best] < MATCH_IOU else places[best]


def _read_at(
    pair: PhotoReader, picture: NDArray[np.uint8], place: Found, answers: Sequence[PhotoNumber]
) -> tuple[str, float]:
    """Returns what the reader reads at a place, and its confidence, also where that is no answer."""
    for one in answers:
        if one.box == place.box:
            return one.text, one.confidence
    predictions = pair.predict_at(picture, [place.box])
    return predictions.texts[0], float(predictions.confidence[0])


def _answer(number: PhotoNumber, scale: NDArray[np.float64]) -> Answer:
    box = None if number.box is None else _source(number.box, scale)
    return Answer(number.text, number.confidence, box, number.box_confidence)


def _source(box: BoundingBox, scale: NDArray[np.float64]) -> BoundingBox:
    """Returns a box of the image in pixels of the source picture."""
    return BoundingBox(*(np.array(box) / scale).tolist())


def _print_scores(scores: dict[str, Any], reduced: int, files: UnboxedFiles) -> None:
    """Prints the scores, what became of the numbers, and what was scored otherwise."""
    for outcome, count in scores["outcomes"].items():
        print(f"{outcome:<24}{count:>10,}")
    if scores["num_examples"]:
        low, high = scores["whole_number_accuracy_interval"]
        print(
            f"Read {scores['whole_number_accuracy']:.1%} of the numbers of {scores['num_examples']:,} pictures with "
            f"one number, without a box (95 % interval {low:.1%} to {high:.1%}): {shown(files.scores)}"
        )
    several, without = scores["several"], scores["without_number"]
    if several["num_pictures"]:
        print(
            f"In {several['num_pictures']:,} pictures with several numbers, read {several['accuracy']:.1%} of "
            f"{several['num_numbers']:,} in their places."
        )
    if without["num_pictures"]:
        print(f"Answered {without['answered']:,} of {without['num_pictures']:,} pictures without a number.")
    if reduced:
        print(f"note: {reduced:,} of {scores['num_pictures']:,} pictures are smaller in the records than in the source")
    folder = shlex.quote(shown(files.scores.parent))
    print(f"Next: python -m trainer report --run-dir {folder} --without-box")
