"""The size of a picture by the beginning of its file, without decoding it, and a fingerprint to find copies by."""

import contextlib
import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from beam_jobs.job.pictures import Picture, read_picture, reasons
from beam_jobs.sources.base import Source, Subset
from tfrecords.files.ahead import read_ahead
from tfrecords.files.place import Place
from tfrecords.images.crop import Shape
from tfrecords.images.decode import PictureError, picture_size

_START_BYTES = 1 << 14
"""Beginning of a file that is read: it holds the size in nearly all, and SVHN's pictures are 12 kB on average. The
complete file is read where it does not."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True)
class Header:
    """What is known of a picture that was not decoded.

    Attributes:
      size: Height and width, pixels, as `prepare` would have them.
      fingerprint: Number, 64 bits, that is the same for pictures of the same content; others may share it.
    """

    size: Shape
    fingerprint: int


@dataclass(frozen=True)
class _Start:
    """Beginning of a picture's file and the file's size, bytes; or the complete picture, where it is no file."""

    data: Picture
    num_bytes: int


def read_headers(
    annotations: Iterable[Annotation], source: Source, subset: Subset, upright: bool, is_remote: bool
) -> Iterator[tuple[Annotation, Header | DeadLetter]]:
    """Yields each annotation with the header of its picture, or with the reason why there is none.

    Args:
      annotations: Annotations of the subset; those of one picture follow each other.
      source: Source of the subset.
      subset: Subset of the pictures.
      upright: Whether pictures are turned as their files say.
      is_remote: Whether all pictures are read ahead, and not only those whose names are addresses.
    """

    def read(annotation: Annotation) -> _Start:
        return _read_start(source, subset, annotation.name)

    def is_far(annotation: Annotation) -> bool:
        return is_remote or "://" in annotation.name

    last: tuple[str, Header | DeadLetter] | None = None
    for annotation, read_one in read_ahead(annotations, read, is_far, lambda start: isinstance(start.data, np.ndarray)):
        if last is None or last[0] != annotation.name:
            try:
                with reasons(annotation.key):
                    last = annotation.name, _header(annotation, read_one(), source, subset, upright)
            except RejectedError as error:
                last = annotation.name, error.letter
        yield annotation, last[1]


def _read_start(source: Source, subset: Subset, name: str) -> _Start:
    """Returns the beginning of a picture's file.

    Raises:
      OSError: The picture is missing or cannot be read.
    """
    for place in source.picture_places(subset, name):
        try:
            return _read_place(place)
        except OSError as error:
            if error.errno not in _ABSENT and not isinstance(error, FileNotFoundError):
                raise
    picture = source.read_picture(subset, name)
    return _Start(picture, picture.nbytes if isinstance(picture, np.ndarray) else len(picture))


def _read_place(place: Place) -> _Start:
    if not place.is_remote:
        return _Start(*filesystem.read_start(place.text, _START_BYTES))
    with place.open() as stream:
        data = stream.read(_START_BYTES)
        return _Start(data, stream.seek(0, 2))


def _header(annotation: Annotation, start: _Start, source: Source, subset: Subset, upright: bool) -> Header:
    """Returns the header of a picture.

    Raises:
      OSError: The picture is needed completely, and cannot be read.
      RejectedError: It is no picture, or damaged.
    """
    data = read_picture(annotation.key, lambda: start.data)
    if isinstance(data, np.ndarray):
        height, width = data.shape[:2]
        return Header((height, width), _fingerprint(data.tobytes(), data.nbytes))
    fingerprint = _fingerprint(data, start.num_bytes)
    if len(data) < start.num_bytes:
        with contextlib.suppress(PictureError):
            return Header(picture_size(data, annotation.key, upright), fingerprint)
        data = source.read_picture(subset, annotation.name)
    try:
        return Header(picture_size(bytes(data), annotation.key, upright), fingerprint)
    except PictureError as error:
        raise RejectedError("picture", error.reason, str(error)) from error


def _fingerprint(data: bytes, num_bytes: int) -> int:
    return (num_bytes % (1 << 31)) << 32 | google_crc32c.value(data)
