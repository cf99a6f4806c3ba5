"""An annotation's picture to its pixels: read, decoded, and what is learned of the file on the way.

Not ahead in a second thread, though decoding lets go of Python's lock: to take it again between the kernel's short
steps costs as long as is gained (measured).
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from tfrecords.images.decode import PictureError, decode_picture

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


Read = Callable[[str], bytes]
"""Returns the bytes of the picture of a key; raises OSError where it cannot."""
Loaded = tuple[PictureRow, NDArray[np.uint8] | None]
"""A picture's row and its pixels, (height, width, 3) uint8; None where the row tells why there are none."""


def load(rows: Iterable[PictureRow], read: Read) -> Iterator[Loaded]:
    """Yields each row, with what was learned of its picture's file, and the picture.

    Raises:
      UserError: the machine is short of something, so that no picture can be read.
    """
    for row in rows:
        try:
            yield row, _picture(row, read)
        except RejectedError as error:
            row.dead = error.letter
            yield row, None


def _picture(row: PictureRow, read: Read) -> NDArray[np.uint8]:
    annotation = row.annotation
    if annotation.dead:
        raise RejectedError(annotation.dead.stage, annotation.dead.reason, annotation.dead.detail)
    data = _read(annotation.key, read)
    checksum = google_crc32c.value(data)
    start = time.perf_counter_ns()
    try:
        picture = decode_picture(data, annotation.key)
    except PictureError as error:
        row.source = Source(len(data), checksum)
        raise RejectedError("picture", error.reason, str(error)) from error
    row.decode_us = (time.perf_counter_ns() - start) // 1000
    row.source = Source(len(data), checksum, *picture.shape[:2])
    return picture


def _read(key: str, read: Read) -> bytes:
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
