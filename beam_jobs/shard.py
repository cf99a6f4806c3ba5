"""The annotations of one shard to its records: read, crop, jitter, encode, order. Plain Python, no Beam."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import google_crc32c
import numpy as np

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from beam_jobs.assign import order_of
from beam_jobs.config import PrepareConfig
from tfrecords.boxes import BoundingBox
from tfrecords.codec import encode
from tfrecords.crop import Offset, boxes_in_window, crop_box, cut, window
from tfrecords.errors import UserError
from tfrecords.framing import frame
from tfrecords.picture import PictureError, decode_picture
from tfrecords.schema import DigitExample, pad_digits


@dataclass(frozen=True)
class Source:
    """What is known of a picture's file: its size in bytes and CRC-32C, and its height and width in pixels."""

    bytes: int
    crc32c: int
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class PictureRow:
    """What annotations.parquet says of one picture: everything known, and where it went or why not."""

    annotation: Annotation
    split: str
    shard: int
    source: Source | None
    crop_box: BoundingBox | None
    dead: DeadLetter | None


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
      annotations: of the pictures assigned to the shard, in any order.
      split: of the shard.
      shard: its number, for the rows.
      dynamic_shape: see `tfrecords.codec.encode`.
      config: how the dataset is made.
      read: returns the bytes of the picture of a key; raises OSError where it cannot.
    """
    placed: list[tuple[tuple[int, str], bytes]] = []
    rows = []
    for annotation in annotations:
        state: dict[str, Any] = {"source": None, "crop_box": None}
        try:
            for example in _examples(annotation, split, config, read, state):
                record = encode(example, config.encoding, dynamic_shape)
                placed.append((order_of(example.key, config.seed), frame(record)))
            dead = None
        except RejectedError as error:
            dead = error.letter
        rows.append(PictureRow(annotation, split, shard, dead=dead, **state))
    placed.sort(key=lambda item: item[0])
    rows.sort(key=lambda row: (row.annotation.subset, row.annotation.index))
    return [record for _, record in placed], rows


def _examples(
    annotation: Annotation, split: str, config: PrepareConfig, read: Callable[[str], bytes], state: dict[str, Any]
) -> Iterator[DigitExample]:
    """Yields the examples of one picture; notes in `state` what it learns on the way.

    Raises:
      RejectedError: the picture cannot be used; nothing was yielded.
    """
    if annotation.dead:
        raise RejectedError(annotation.dead.stage, annotation.dead.reason, annotation.dead.detail)
    data = _read(annotation.key, read)
    state["source"] = Source(len(data), google_crc32c.value(data))
    try:
        picture = decode_picture(data, annotation.key)
    except PictureError as error:
        raise RejectedError("picture", error.reason, str(error)) from error
    state["source"] = replace(state["source"], height=picture.height, width=picture.width)
    try:
        box = crop_box(annotation.boxes, config.crop.growth, picture.height, picture.width)
    except UserError as error:
        raise RejectedError("crop", "box_outside", f"{annotation.key}: {error}") from error
    state["crop_box"] = box
    crop = cut(picture, box, config.crop.crop_size)
    size = config.image_size(split)
    for key, offset in _windows(annotation.key, split, config):
        yield DigitExample(
            key=key,
            image=window(crop, offset, size),
            digits=pad_digits(annotation.digits),
            length=len(annotation.digits),
            crop_box=np.array(box, np.int64),
            jitter_offset=np.array(offset, np.int64),
            source_size=np.array((picture.height, picture.width), np.int64),
            boxes=boxes_in_window(annotation.boxes, box, config.crop.crop_size, offset),
        )


def _windows(key: str, split: str, config: PrepareConfig) -> list[tuple[str, Offset]]:
    """Returns key and offset of each example of a picture."""
    jitters = config.jitters(split)
    if jitters:
        return [(k := f"{key}#{jitter}", config.crop.jitter(config.seed, k)) for jitter in range(jitters)]
    return [(f"{key}#0", (0, 0) if config.image_size(split) == config.crop.crop_size else config.crop.centre)]


def _read(key: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(key)
    except FileNotFoundError as error:
        raise RejectedError("picture", "missing_picture", f"{key}: there is no such picture.") from error
    except OSError as error:
        # The path would say where this machine keeps the data: the same inputs must make the same bytes.
        raise RejectedError("picture", "unreadable_picture", f"{key}: cannot be read.", error.strerror) from error
