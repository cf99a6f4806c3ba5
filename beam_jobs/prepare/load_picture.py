"""Pixels of an annotation's picture: read, decoded, with what is learned about the file on the way.

Not decoded ahead of time in a second thread, although that releases Python's lock: taking it again between the short
steps of the crop costs as much time as is gained (measured). Remote files, not local ones, are read ahead by
threads: see `tfrecords.files.ahead`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from beam_jobs.job.pictures import Picture, Read, is_pixels, read_picture
from tfrecords.files.ahead import read_ahead
from tfrecords.images.crop import BoundingBox
from tfrecords.images.decode import PictureError, decode_picture


@dataclass(frozen=True)
class PictureFile:
    """What is known of a picture's file, or of its pixels where the source holds no files.

    Attributes:
      bytes: Size of the file or of the pixels, bytes.
      crc32c: CRC-32C of the file, or of the pixels row by row.
      height: Height of the picture, pixels; None if it cannot be decoded.
      width: Width of the picture, pixels; None if it cannot be decoded.
    """

    bytes: int
    crc32c: int
    height: int | None = None
    width: int | None = None


@dataclass
class PictureRow:
    """Row of annotations.parquet for one picture, filled in step by step.

    Attributes:
      annotation: Annotation of the picture.
      split: Split of the picture.
      shard: Index of the picture's shard.
      file: What is known of the file; None if it could not be read.
      crop_box: Box of the crop in the picture's pixels; None if there is no crop.
      dead: Reason for the rejection of the picture, or None.
      decode_us: Decoding time, microseconds; for the job's metrics, never written.
      is_again: Whether the picture was read for another row already; for the job's metrics, never written.
    """

    annotation: Annotation
    split: str
    shard: int
    file: PictureFile | None = None
    crop_box: BoundingBox | None = None
    dead: DeadLetter | None = None
    decode_us: int | None = None
    is_again: bool = False


Loaded = tuple[PictureRow, NDArray[np.uint8] | None]
"""Row of a picture and its pixels, (height, width, 3) uint8, or as the source gave them; None if the row has a dead
letter."""


def load(rows: Iterable[PictureRow], read: Read, upright: bool = True, is_remote: bool = False) -> Iterator[Loaded]:
    """Yields each row, completed by what is learned of the picture's file, with the picture.

    Args:
      rows: Rows of the pictures.
      read: Function that returns the picture of a subset and a name.
      upright: Whether pictures are turned as their files say.
      is_remote: Whether all pictures are read ahead, and not only those whose names are addresses.

    Raises:
      UserError: The machine lacks a resource that every picture needs.
      AssertionError: The source returned pixels of another shape or type.
    """

    def is_far(row: PictureRow) -> bool:
        return row.annotation.dead is None and (is_remote or "://" in row.annotation.name)

    for row, read_row in read_ahead(rows, lambda row: read(row.annotation.picture), is_far, is_pixels):
        try:
            yield row, _picture(row, read_row, upright)
        except RejectedError as error:
            row.dead = error.letter
            yield row, None


def _picture(row: PictureRow, read: Callable[[], Picture], upright: bool) -> NDArray[np.uint8]:
    annotation = row.annotation
    if annotation.dead:
        raise RejectedError(annotation.dead.stage, annotation.dead.reason, annotation.dead.detail)
    data = read_picture(annotation.key, read)
    if isinstance(data, np.ndarray):
        row.file = PictureFile(data.nbytes, google_crc32c.value(data.tobytes()), *data.shape[:2])
        return data
    checksum = google_crc32c.value(data)
    start = time.perf_counter_ns()
    try:
        picture = decode_picture(data, annotation.key, upright)
    except PictureError as error:
        row.file = PictureFile(len(data), checksum)
        raise RejectedError("picture", error.reason, str(error)) from error
    row.decode_us = (time.perf_counter_ns() - start) // 1000
    row.file = PictureFile(len(data), checksum, *picture.shape[:2])
    return picture
