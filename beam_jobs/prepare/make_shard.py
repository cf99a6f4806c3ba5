"""The annotations of one shard to its records: crop, jitter, encode, order. Plain Python, no Beam."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import BOX_OUTSIDE, Annotation, RejectedError
from beam_jobs.job.pictures import Read
from beam_jobs.prepare.assign import order_of
from beam_jobs.prepare.backgrounds import MARK, background_box, has_background
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.load_picture import PictureRow, load
from tfrecords.errors import UserError
from tfrecords.files.framing import frame
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, Offset, Shape, boxes_in_windows, crop_box, window
from tfrecords.images.decode import cut
from tfrecords.record.codec import encode_in_parts
from tfrecords.record.schema import DigitExample


def make_shard(
    annotations: Iterable[Annotation],
    split: str,
    shard: int,
    dynamic_shape: bool,
    config: PrepareConfig,
    read: Read,
    is_remote: bool = False,
) -> tuple[list[bytes], list[PictureRow]]:
    """Returns a shard's framed records, in their final order, and a row per picture, in the source's order.

    Args:
      annotations: Annotations of the shard's pictures, in any order, with all annotations of each name.
      split: Split of the shard.
      shard: Index of the shard, for the rows.
      dynamic_shape: Whether images of the dataset differ in size; see `tfrecords.record.codec.encode`.
      config: How the dataset is made.
      read: Function that returns the picture of a subset and a name; raises OSError if it cannot.
      is_remote: Whether the pictures are far away, so that several are read at once.

    Raises:
      UserError: The machine lacks a resource that every picture needs.
    """
    placed: list[tuple[tuple[int, str], bytes, PictureRow]] = []
    rows = []
    new_rows = (PictureRow(annotation, split, shard) for annotation in annotations)
    for row, picture in load(new_rows, read, config.orientation == "upright", is_remote):
        try:
            for example in picture_examples(row, picture, config):
                record = frame(*encode_in_parts(example, config.encoding, dynamic_shape))
                placed.append((order_of(example.key, config.seed), record, row))
        except RejectedError as error:
            row.dead = error.letter
        rows.append(row)
    rows.sort(key=lambda row: (row.annotation.subset, row.annotation.index))
    reject_duplicates(rows)
    placed.sort(key=lambda item: item[0])
    return [record for _, record, row in placed if not row.dead], rows


def reject_duplicates(rows: list[PictureRow]) -> None:
    """Rejects all but the first of several rows of one picture.

    This happens after sorting, since the first must not depend on the order in which a runner delivers annotations.
    Rows whose annotation was rejected do not count: another annotation of the same picture may be right.

    Args:
      rows: Rows of a shard, in the source's order.
    """
    named = set()
    for row in rows:
        annotation = row.annotation
        if annotation.dead:
            continue
        if annotation.key in named:
            rule = f"{annotation.key}: A picture must be named once."
            row.dead = RejectedError("annotation", "duplicate_name", rule, f"entry {annotation.index + 1}").letter
        named.add(annotation.key)


def picture_examples(
    row: PictureRow, picture: NDArray[np.uint8] | None, config: PrepareConfig
) -> Iterator[DigitExample]:
    """Yields the examples of one picture, and stores the crop's box in `row`.

    Args:
      row: Row of the picture.
      picture: Pixels, (height, width, 3 or 1) uint8; None if the picture was rejected before, which yields nothing.
      config: How the dataset is made.

    Raises:
      RejectedError: The picture cannot be used; nothing was yielded.
      AssertionError: The source returned another number of boxes than characters.
    """
    annotation = row.annotation
    if picture is None:
        return
    key, (height, width, _) = annotation.key, picture.shape
    if annotation.boxes and len(annotation.boxes) != len(annotation.text):
        rule = f"{key}: A source must return a box for each character of {annotation.text!r}, or none."
        raise AssertionError(f"{rule} Received: {len(annotation.boxes)}")
    try:
        box = row.crop_box = crop_box(annotation.placed, config.crop.growth, height, width)
    except UserError as error:
        raise RejectedError("crop", BOX_OUTSIDE, f"{key}: {error}") from error
    yield from _cut(picture, box, annotation.text, annotation.boxes, _windows(f"{key}#", row.split, config), config)
    if config.backgrounds and annotation.placed and has_background(key, config.seed, config.backgrounds):
        placed = (*annotation.placed, *annotation.others)
        beside = background_box(key, config.seed, placed, picture, config.labels.max_length)
        if beside:
            yield from _cut(picture, beside, "", (), _windows(f"{key}{MARK}", row.split, config), config)


def _cut(
    picture: NDArray[np.uint8],
    box: BoundingBox,
    text: str,
    boxes: tuple[BoundingBox, ...],
    windows: list[tuple[str, Offset, Shape]],
    config: PrepareConfig,
) -> Iterator[DigitExample]:
    """Yields an example per window of the crop at `box`."""
    labels, crop_shape = config.labels, config.crop.crop_shape
    crop = to_channels(cut(picture, box, crop_shape), config.channels)
    placed = boxes_in_windows(boxes, box, crop_shape, [offset for _, offset, _ in windows], labels.max_length)
    padded = labels.digits(text)
    crop_edges, source_size = np.array(box, np.int64), np.array(picture.shape[:2], np.int64)
    for (key, offset, shape), window_boxes in zip(windows, placed, strict=True):
        yield DigitExample(
            key=key,
            image=window(crop, offset, shape),
            digits=padded,
            length=len(text),
            crop_box=crop_edges,
            jitter_offset=np.array(offset, np.int64),
            source_size=source_size,
            boxes=window_boxes,
            has_digit_boxes=len(boxes) == len(text),
            alphabet=labels.alphabet,
        )


def _windows(start: str, split: str, config: PrepareConfig) -> list[tuple[str, Offset, Shape]]:
    """Returns the key, which begins with `start`, and the window's offset and shape of each example of a crop."""
    jitters, shape = config.jitters(split), config.image_shape(split)
    if jitters:
        return [(k := f"{start}{jitter}", config.crop.jitter(config.seed, k), shape) for jitter in range(jitters)]
    return [(f"{start}0", (0, 0) if shape == config.crop.crop_shape else config.crop.centre, shape)]
