"""The annotations of one shard to the records of complete pictures, to find numbers in. Plain Python, no Beam.

A picture is one record with all its numbers, or none: a number that is missing from its record would be learned as
background.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import BOX_OUTSIDE, NO_FAULTS, OTHER_CLASS, Annotation, DeadLetter, RejectedError
from beam_jobs.job.pictures import Read
from beam_jobs.prepare.assign import order_of
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.load_picture import PictureRow, load
from beam_jobs.prepare.make_shard import reject_duplicates
from tfrecords.files.framing import frame
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, Shape, union
from tfrecords.images.fit import fit_to_canvas
from tfrecords.record.labels import Labels
from tfrecords.record.scene import SceneExample, encode_scene

INCOMPLETE = "incomplete_picture"
"""Reason of a number that is left out because another annotation of its picture was rejected."""
_TWICE = ("duplicate_annotation", "duplicate_box", "duplicate")
"""Reasons of a box that is there already: its number is not lost."""
_LEAST_SIDE = 0.5
"""Smallest height and width of the part of a box that is inside its picture, pixels: nobody sees less."""


def by_picture(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Returns annotations with those of a picture next to each other, in the source's order."""
    return sorted(annotations, key=lambda annotation: (annotation.picture, annotation.index))


def make_scenes(
    annotations: Iterable[Annotation],
    split: str,
    shard: int,
    config: PrepareConfig,
    read: Read,
    is_remote: bool = False,
) -> tuple[list[bytes], list[PictureRow]]:
    """Returns a shard's framed records, in their final order, and a row per annotation, in the source's order.

    Args:
      annotations: Annotations of the shard's pictures, as `by_picture` returns them.
      split: Split of the shard.
      shard: Index of the shard, for the rows.
      config: How the dataset is made.
      read: Function that returns the picture of a subset and a name; raises OSError if it cannot.
      is_remote: Whether the pictures are far away, so that several are read at once.

    Raises:
      UserError: The machine lacks a resource that every picture needs.
    """
    placed: list[tuple[tuple[int, str], bytes]] = []
    rows: list[PictureRow] = []
    waiting: deque[list[PictureRow]] = deque()
    pictures = _pictures(annotations, split, shard, waiting)
    for whole, pixels in load(pictures, read, config.orientation == "upright", is_remote):
        own = waiting.popleft()
        if pixels is not None:
            try:
                example = scene_of(
                    whole.annotation.key, [row.annotation for row in own if not row.dead], pixels, config
                )
                record = frame(encode_scene(example, config.encoding))
                placed.append((order_of(example.key, config.seed), record))
            except RejectedError as error:
                whole.dead = error.letter
        complete(own, whole)
        rows += own
    rows.sort(key=lambda row: (row.annotation.subset, row.annotation.index))
    return [record for _, record in sorted(placed, key=lambda item: item[0])], rows


def _pictures(
    annotations: Iterable[Annotation], split: str, shard: int, waiting: deque[list[PictureRow]]
) -> Iterator[PictureRow]:
    """Yields a row for each picture, with a dead letter if it cannot be used; those of its annotations wait."""
    for _, group in groupby(annotations, attrgetter("picture")):
        rows = [PictureRow(annotation, split, shard, dead=annotation.dead) for annotation in group]
        reject_duplicates(rows)
        waiting.append(rows)
        yield PictureRow(replace(rows[0].annotation, part=0, dead=cause_of(rows)), split, shard)


def cause_of(rows: Iterable[PictureRow]) -> DeadLetter | None:
    """Returns why a picture cannot be used, by the rows of its annotations; None if it can."""
    return next((row.dead for row in rows if row.dead and row.dead.reason not in _TWICE), None)


def complete(rows: list[PictureRow], whole: PictureRow) -> None:
    """Completes the rows of a picture by what is known of it: of those without a number, one at most is accepted.

    Args:
      rows: Rows of all its annotations, in the source's order.
      whole: Row of the picture, with the reason if it is left out.
    """
    cause = whole.dead
    numbers = sum(bool(row.annotation.text) for row in rows if not row.dead)
    for at, row in enumerate(rows):
        row.file, row.decode_us, row.is_again = whole.file, whole.decode_us, at > 0
        if row.dead:
            continue
        if cause:
            row.dead = _letter(row.annotation, cause)
        elif not row.annotation.text:
            if numbers:
                rule = f"{row.annotation.key}: A box of another class is no number."
                row.dead = RejectedError("annotation", OTHER_CLASS, rule).letter
            numbers += 1


def _letter(annotation: Annotation, cause: DeadLetter) -> DeadLetter:
    """Returns the dead letter of an annotation whose picture is left out for a cause, its own or another's."""
    if cause.stage != "annotation" or cause.reason in NO_FAULTS:
        return cause
    rule = f"{annotation.key}: A picture needs all its numbers, or those that are missing are taught as background."
    return RejectedError("annotation", INCOMPLETE, rule, cause.detail).letter


def scene_of(
    key: str, annotations: list[Annotation], picture: NDArray[np.uint8], config: PrepareConfig
) -> SceneExample:
    """Returns the scene of a picture.

    Args:
      key: Subset and name of the picture.
      annotations: All its annotations; those without a text are no numbers.
      picture: Pixels, (height, width, 3 or 1) uint8.
      config: How the dataset is made.

    Raises:
      RejectedError: A box lies outside the picture.
      AssertionError: The source returned another number of boxes than characters.
    """
    image, _, content = fit_to_canvas(picture, config.canvas)
    fitted = to_channels(image, config.channels)
    height, width, _ = picture.shape
    return label_scene(key, annotations, fitted, (height, width), content, config.labels)


def label_scene(
    key: str, annotations: list[Annotation], image: NDArray[np.uint8], size: Shape, content: Shape, labels: Labels
) -> SceneExample:
    """Returns the scene of a picture that is fitted into its image already.

    Boxes that reach outside the picture are clipped.

    Args:
      key: Subset and name of the picture.
      annotations: All its annotations; those without a text are no numbers.
      image: Pixels, (height, width, 3 or 1) uint8.
      size: Height and width of the picture, pixels.
      content: Height and width of the picture in the image, pixels.
      labels: What the dataset's numbers may be.

    Raises:
      RejectedError: A box lies outside the picture.
      AssertionError: The source returned another number of boxes than characters.
    """
    height, width = size
    scale = np.tile((content[0] / height, content[1] / width), 2)
    numbers = [annotation for annotation in annotations if annotation.text]
    boxes, indices, owners, digit_boxes = [], [], [], []
    for index, annotation in enumerate(numbers):
        text, characters = annotation.text, annotation.boxes
        if characters and len(characters) != len(text):
            rule = f"{annotation.key}: A source must return a box for each character of {text!r}, or none."
            raise AssertionError(f"{rule} Received: {len(characters)}")
        digit_boxes += [_inside(annotation.key, box, height, width) for box in characters]
        boxes.append(_inside(annotation.key, union(annotation.placed), height, width))
        indices += labels.digits(text)[: len(characters)].tolist()
        owners += [index] * len(characters)
    return SceneExample(
        key=key,
        image=image,
        texts=tuple(annotation.text for annotation in numbers),
        boxes=(np.array(boxes, np.float64).reshape(-1, 4) * scale).astype(np.float32),
        digit_labels=np.array(indices, np.int64),
        digit_numbers=np.array(owners, np.int64),
        digit_boxes=(np.array(digit_boxes, np.float64).reshape(-1, 4) * scale).astype(np.float32),
        source_size=np.array(size, np.int64),
        content_size=np.array(content, np.int64),
        alphabet=labels.alphabet,
    )


def _inside(key: str, box: BoundingBox, height: int, width: int) -> BoundingBox:
    """Returns the part of a box that is inside a picture.

    Raises:
      RejectedError: It is none.
    """
    clipped = box.clip(height, width)
    if min(clipped.height, clipped.width) < _LEAST_SIDE:
        rule = (
            f"{key}: Each number's and character's box must overlap the picture ({height} x {width}, height x width)."
        )
        raise RejectedError("crop", BOX_OUTSIDE, rule, box)
    return clipped
