"""Pictures of a source: reading them, with the reason where that fails, and their digests."""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import RejectedError
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError

_DIGEST_BYTES = 16
_ERRORS_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing about the picture. A dead letter would leave a good picture out of the dataset for good."""
Picture = bytes | NDArray[np.uint8]
"""Content of a picture's file; or its pixels, (height, width, 1 or 3) uint8, where the source holds no files."""
Read = Callable[[str], Picture]
"""Function that returns the picture of a subset and a name, as `train/5.png`; raises OSError if it cannot."""


def picture_reader(source_name: str, subsets: tuple[Subset, ...]) -> Read:
    """Returns the function that reads the picture of a subset and a name.

    Args:
      source_name: Name of the source.
      subsets: Subsets of the pictures.
    """
    source = load_source(source_name)
    by_name = {subset.name: subset for subset in subsets}

    def read(picture: str) -> Picture:
        subset, name = picture.split("/", 1)
        return source.read_picture(by_name[subset], name)

    return read


def is_pixels(picture: Picture) -> bool:
    """Returns whether a source holds no files: its pictures are in memory then, and reading ahead gains nothing."""
    return isinstance(picture, np.ndarray)


def content_digest(picture: Picture) -> bytes:
    """Returns the digest of a picture's file, or of its pixels and their shape."""
    if isinstance(picture, np.ndarray):
        return hashlib.blake2b(picture.tobytes(), digest_size=_DIGEST_BYTES, key=repr(picture.shape).encode()).digest()
    return hashlib.blake2b(picture, digest_size=_DIGEST_BYTES).digest()


@contextmanager
def reasons(key: str) -> Iterator[None]:
    """Raises an error of reading a picture in the block as the reason of a dead letter.

    Args:
      key: Key of the annotation, for messages.

    Raises:
      RejectedError: The picture is missing or cannot be read.
      UserError: The machine lacks a resource that every picture needs.
    """
    try:
        yield
    except OSError as error:
        # Without the path, which is different on every machine: the same input must give the same bytes.
        received = error.strerror or type(error).__name__
        if error.errno in _ERRORS_OF_THE_MACHINE:
            rule = f"{key}: cannot be read, because the machine lacks a resource that every picture needs."
            raise UserError(rule, received) from error
        if isinstance(error, FileNotFoundError):
            raise RejectedError("picture", "missing_picture", f"{key}: there is no such picture.", received) from error
        raise RejectedError("picture", "unreadable_picture", f"{key}: cannot be read.", received) from error


def read_picture(key: str, read: Callable[[], Picture]) -> Picture:
    """Returns a picture.

    Args:
      key: Key of the annotation, for messages.
      read: Function that returns the picture.

    Raises:
      RejectedError: It is missing or cannot be read.
      UserError: The machine lacks a resource that every picture needs.
      AssertionError: The source returned pixels of another shape or type.
    """
    with reasons(key):
        picture = read()
    if isinstance(picture, np.ndarray) and not (
        picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] in (1, 3) and picture.size
    ):
        rule = f"{key}: A source must return bytes or pixels, (height, width, 1 or 3) uint8."
        raise AssertionError(f"{rule} Received: {picture.shape} {picture.dtype}")
    return picture
