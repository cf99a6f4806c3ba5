"""The part of `explain` for models that find numbers: heat maps, kernels and feature maps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox
from tfrecords.images.fit import fit_to_canvas
from tfrecords.images.marks import FOUND, TRUE, Mark
from tfrecords.interrupts import ending_at_once
from tfrecords.pages.page import write_page
from tfrecords.record.scene import SceneExample
from trainer.distribute.startup import start_tensorflow
from trainer.finding.boxes import Found
from trainer.finding.finder import Finder
from trainer.input.records import Records
from trainer.reader import read_picture
from trainer.report.explain_find import (
    MOST_SCENES,
    FinderEvidence,
    FinderSource,
    SceneSubject,
    gather_finder,
    render_finder_explanation,
)
from trainer.report.room import Explanation
from trainer.run.directory import Run
from trainer.run.stand_in import OutputFile

_MOST_EMPTY = 2
"""Largest number of pictures without a number that are looked into."""


def explain_finder(
    args: argparse.Namespace, trained: Run, records: Records, output: OutputFile
) -> tuple[Explanation, FinderEvidence]:
    """Writes the page of a model that finds numbers.

    Args:
      args: Options of `explain`.
      trained: Run of the model.
      records: Dataset of scenes.
      output: File of the page.

    Raises:
      UserError: The dataset or the picture cannot be used, or the run has no weights.
      OSError: A file cannot be read or written.
    """
    if args.box:
        raise UserError(f"--box must not go with {trained.config.model}, which looks for numbers.", args.box)
    picture = read_picture(args.picture) if args.picture else None
    with ending_at_once():
        start_tensorflow()
    finder = Finder(trained)
    notes: list[str] = []
    if picture is None:
        subjects, notes = _stored_subjects(args, records, finder)
    else:
        subjects = [_subject("picture", args.picture.name, picture, None, finder)]
    evidence = gather_finder(finder.model, subjects)
    split = "" if args.picture else args.split
    name = trained.directory.resolve().name
    source = FinderSource(name, trained.config.model, records.manifest.name, split, finder.threshold, tuple(notes))
    explanation = render_finder_explanation(source, evidence)
    write_page(output.path, explanation.html)
    output.publish()
    return explanation, evidence


def choose_scenes(scenes: Sequence[SceneExample], most: int = MOST_SCENES) -> list[SceneExample]:
    """Returns the scenes to look into: the first ones with numbers, then up to two of the first ones without."""
    empty = [one for one in scenes if not one.texts][:_MOST_EMPTY]
    return [one for one in scenes if one.texts][: most - len(empty)] + empty


def _stored_subjects(
    args: argparse.Namespace, records: Records, finder: Finder
) -> tuple[list[SceneSubject], list[str]]:
    """Returns the pictures of the split that are looked into, and a sentence about the others."""
    # Of a dataset of this task, they are scenes.
    examples: Sequence[Any] = records.examples(args.split)
    count = min(args.examples, len(examples), 10 * MOST_SCENES)
    chosen = choose_scenes([examples[index] for index in range(count)])
    subjects = []
    for place, scene in enumerate(chosen, start=1):
        height, width = scene.content_size.tolist()
        picture = np.ascontiguousarray(scene.image[:height, :width])
        subjects.append(_subject(f"scene-{place}", scene.key, picture, scene, finder))
    return subjects, [f"{len(chosen)} of the {len(examples):,} pictures of the split are looked into, of the first."]


def _subject(
    name: str, title: str, picture: NDArray[np.uint8], scene: SceneExample | None, finder: Finder
) -> SceneSubject:
    """Returns a picture with what is there, if that is known, and what is found in it."""
    found = finder.find(picture)
    image, scale, content = fit_to_canvas(to_channels(picture, finder.run.image_shape[2]), finder.canvas)
    boxes = [] if scene is None else [BoundingBox(*box) for box in scene.boxes.tolist()]
    marks = [Mark(_scaled(box, scale), "", TRUE) for box in boxes]
    marks += [Mark(_scaled(one.box, scale), f"{one.confidence:.0%}", FOUND) for one in found]
    return SceneSubject(name, title, _story(scene, found), image, content, tuple(marks))


def _story(scene: SceneExample | None, found: Sequence[Found]) -> str:
    boxes = f"{len(found)} box{'' if len(found) == 1 else 'es'} found."
    if scene is None:
        return boxes
    return f"{'Numbers: ' + ', '.join(scene.texts) if scene.texts else 'No number'}; {boxes}"


def _scaled(box: BoundingBox, scale: NDArray[np.float64]) -> BoundingBox:
    return BoundingBox(*(np.array(box) * scale).tolist())
