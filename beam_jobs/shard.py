"""The annotations of one shard to its records: read, crop, jitter, encode, order. Plain Python, no Beam."""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from beam_jobs.assign import order_of
from beam_jobs.config import PrepareConfig
from tfrecords.boxes import BoundingBox
from tfrecords.codec import encode_in_parts
from tfrecords.crop import Offset, boxes_in_windows, crop_box, window
from tfrecords.errors import UserError
from tfrecords.framing import frame
from tfrecords.picture import PictureError, cut, decode_picture
from tfrecords.schema import DigitExample, pad_digits

_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of reading that say nothing of the picture: as a dead letter, a whole picture would be missing for good."""


@dataclass(frozen=True)
class Source:
    """What is known of a picture's file: its size in bytes and CRC-32C, and its height and width in pixels."""

    bytes: int
    crc32c: int
    height: int | None = None
    width: int | None = None


@dataclass
class PictureRow:
    """What annotations.parquet says of one picture: everything known, filled in on the way, and why it went no further.

    Attributes:
      decode_us: how long decoding took, microseconds; for the job's metrics, never written.
    """

    annotation: Annotation
    split: str
    shard: int
    source: Source | None = None
    crop_box: BoundingBox | None = None
    dead: DeadLetter | None = None
    decode_us: int | None = None


def make_shard(
    annotations: Iterable[Annotation],
    split: str,
    shard: int,
    dynamic_shape: bool,
    config: PrepareConfig,
    read: Callable[[str], bytes],
) -> tuple[list[bytes], list[PictureRow]]:
    """Returns a shard's framed records, in their final order, and a row for each of its pictures.

    Args:
      annotations: of the pictures assigned to the shard, in any order; all of one name are among them.
      split: of the shard.
      shard: its number, for the rows.
      dynamic_shape: see `tfrecords.codec.encode`.
      config: how the dataset is made.
      read: returns the bytes of the picture of a key; raises OSError where it cannot.

    Raises:
      UserError: the machine is short of something, so that no picture can be read.
    """
    placed: list[tuple[tuple[int, str], bytes, PictureRow]] = []
    rows = []
    for annotation in annotations:
        row = PictureRow(annotation, split, shard)
        try:
            for example in _examples(row, config, read):
                record = frame(*encode_in_parts(example, config.encoding, dynamic_shape))
                placed.append((order_of(example.key, config.seed), record, row))
        except RejectedError as error:
            row.dead = error.letter
        rows.append(row)
    rows.sort(key=lambda row: (row.annotation.subset, row.annotation.index))
    _reject_duplicates(rows)
    placed.sort(key=lambda item: item[0])
    return [record for _, record, row in placed if not row.dead], rows


def _reject_duplicates(rows: list[PictureRow]) -> None:
    """Rejects of each picture's rows, in the order of the source, all but the first.

    Only now, not when they are met: which is the first must not depend on the order in which a runner brings them.
    Those whose annotation was rejected do not count: another one of the same picture may be right.
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


def _examples(row: PictureRow, config: PrepareConfig, read: Callable[[str], bytes]) -> Iterator[DigitExample]:
    """Yields the examples of one picture; notes in `row` what it learns on the way.

    Raises:
      RejectedError: the picture cannot be used; nothing was yielded.
      UserError: see `make_shard`.
    """
    annotation = row.annotation
    if annotation.dead:
        raise RejectedError(annotation.dead.stage, annotation.dead.reason, annotation.dead.detail)
    picture = _picture(row, read)
    height, width, _ = picture.shape
    try:
        box = row.crop_box = crop_box(annotation.boxes, config.crop.growth, height, width)
    except UserError as error:
        raise RejectedError("crop", "box_outside", f"{annotation.key}: {error}") from error
    crop = cut(picture, box, config.crop.crop_size)
    windows = _windows(annotation.key, row.split, config)
    boxes = boxes_in_windows(annotation.boxes, box, config.crop.crop_size, [offset for _, offset in windows])
    size = config.image_size(row.split)
    digits = pad_digits(annotation.digits)
    where, source_size = np.array(box, np.int64), np.array((height, width), np.int64)
    for (key, offset), window_boxes in zip(windows, boxes, strict=True):
        yield DigitExample(
            key=key,
            image=window(crop, offset, size),
            digits=digits,
            length=len(annotation.digits),
            crop_box=where,
            jitter_offset=np.array(offset, np.int64),
            source_size=source_size,
            boxes=window_boxes,
        )


def _picture(row: PictureRow, read: Callable[[str], bytes]) -> NDArray[np.uint8]:
    """Reads and decodes a picture: (height, width, 3) uint8."""
    key = row.annotation.key
    data = _read(key, read)
    checksum = google_crc32c.value(data)
    start = time.perf_counter_ns()
    try:
        picture = decode_picture(data, key)
    except PictureError as error:
        row.source = Source(len(data), checksum)
        raise RejectedError("picture", error.reason, str(error)) from error
    row.decode_us = (time.perf_counter_ns() - start) // 1000
    row.source = Source(len(data), checksum, *picture.shape[:2])
    return picture


def _windows(key: str, split: str, config: PrepareConfig) -> list[tuple[str, Offset]]:
    """Returns key and offset of each example of a picture."""
    jitters = config.jitters(split)
    if jitters:
        return [(k := f"{key}#{jitter}", config.crop.jitter(config.seed, k)) for jitter in range(jitters)]
    return [(f"{key}#0", (0, 0) if config.image_size(split) == config.crop.crop_size else config.crop.centre)]


def _read(key: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(key)
    except OSError as error:
        # Not all of the error: the path would say where this machine keeps the data, and the same inputs must make
        # the same bytes.
        received = error.strerror or type(error).__name__
        if error.errno in _OF_THE_MACHINE:
            rule = f"{key}: cannot be read: the machine is short of something that all pictures need."
            raise UserError(rule, received) from error
        if isinstance(error, FileNotFoundError):
            raise RejectedError("picture", "missing_picture", f"{key}: there is no such picture.", received) from error
        raise RejectedError("picture", "unreadable_picture", f"{key}: cannot be read.", received) from error
