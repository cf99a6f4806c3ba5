"""idx files: arrays behind a short header (http://yann.lecun.com/exdb/mnist/, "THE IDX FILE FORMAT").

A file begins with two zero bytes, the code of the values' type and the number of dimensions; then comes each dimension
as a big-endian 32-bit integer; then the values, big-endian, the last dimension fastest.
"""

import gzip
import re
import struct
from math import prod
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beam_jobs.sources.base import FOR_VALIDATION
from beam_jobs.sources.pixels.parts import unpacked
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place

UBYTE, INT = 0x08, 0x0C
_CHUNK = 1 << 22
_TYPES = {UBYTE: ">u1", 0x09: ">i1", 0x0B: ">i2", INT: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_SUBSETS = {"t10k": "test", "": "train"}
_NAME = re.compile(
    rf"(?P<set>.*?)(?P<subset>train|t10k|test|{'|'.join(sorted(FOR_VALIDATION, key=len, reverse=True))}|)[-_.]?"
    r"(?P<kind>images|labels)[-_.]?(idx\d?)?[-_.]?(ubyte|int)?(\.gz)?"
)


class IdxName(NamedTuple):
    """What the name of an idx file says.

    Attributes:
      collection: Text before the subset: empty for MNIST, `emnist-digits-`, `qmnist-`.
      subset: Name of the subset: train, test (t10k), val.
      kind: images or labels.
    """

    collection: str
    subset: str
    kind: str


def idx_name(name: str) -> IdxName | None:
    """Returns what the name of a file says, if it is one that idx files have: `train-images-idx3-ubyte.gz`."""
    match = _NAME.fullmatch(name.lower())
    if not match or not ("idx" in name.lower() or "ubyte" in name.lower()):
        return None
    subset = match["subset"]
    return IdxName(match["set"], _SUBSETS.get(subset, subset), match["kind"])


def read_images(place: Place) -> NDArray[np.uint8]:
    """Returns the images of a file: (images, height, width) uint8, mapped to memory if the file is local and plain.

    Raises:
      UserError: The file cannot be read, or is no complete idx file of images.
    """
    images = _read(place, ((UBYTE, 3),), "images: unsigned bytes (0x08) in 3 dimensions")
    if not images.size:
        raise UserError(f"{place} must hold at least one image, each of at least one pixel.", images.shape)
    return images.view(np.uint8)


def read_labels(place: Place) -> NDArray[np.integer]:
    """Returns the labels of a file: (labels,) integers. Of QMNIST's eight columns, the first is the class.

    QMNIST's format is that of https://github.com/facebookresearch/qmnist.

    Raises:
      UserError: The file cannot be read, or is no complete idx file of labels.
    """
    labels = _read(
        place, ((UBYTE, 1), (INT, 2)), "labels: unsigned bytes (0x08) in 1 dimension, or QMNIST's (0x0c) in 2"
    )
    if labels.ndim == 2 and not labels.shape[1]:
        raise UserError(f"{place} must hold a class for each image.", labels.shape)
    return labels[:, 0] if labels.ndim == 2 else labels


def _read(place: Place, allowed: tuple[tuple[int, int], ...], what: str) -> NDArray[np.integer]:
    """Returns the array of a file whose type and number of dimensions are among those allowed."""
    with unpacked(place) as stream:
        dtype, shape, offset = _header(stream, place, allowed, what)
        expected = prod(shape) * dtype.itemsize
        is_plain = not place.is_remote and not isinstance(stream, gzip.GzipFile)
        if not is_plain:
            values = _content(stream, expected + 1)
            _check_size(place, shape, expected, len(values))
            return np.frombuffer(values, dtype).reshape(shape)
        _check_size(place, shape, expected, stream.seek(0, 2) - offset)
    if not expected:
        return np.empty(shape, dtype)
    try:
        return np.memmap(place.path, dtype, "r", offset, shape)
    except OSError as error:
        raise UserError(f"{place} cannot be read.", one_line(error)) from error


def _header(
    stream: BinaryIO, place: Place, allowed: tuple[tuple[int, int], ...], what: str
) -> tuple["np.dtype[np.integer]", tuple[int, ...], int]:
    """Returns the type, the shape and the offset of the values."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        rule = f"{place} must be an idx file, which begins with two zero bytes and the code of a type."
        raise UserError(rule, magic.hex(" ") or "an empty file")
    if (magic[2], magic[3]) not in allowed:
        raise UserError(f"{place} must be an idx file of {what}.", f"type 0x{magic[2]:02x} in {magic[3]} dimensions")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise UserError(f"{place} must be complete: its header ends early.", f"{4 + len(sizes)} bytes")
    return np.dtype(_TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes), 4 + len(sizes)


def _content(stream: BinaryIO, most: int) -> bytearray:
    """Returns what follows in a stream, up to `most` bytes: one more than an array needs shows what follows it."""
    content = bytearray()
    # By chunks, since a damaged header may announce more than any memory holds.
    while chunk := stream.read(min(_CHUNK, most - len(content))):
        content += chunk
    return content


def _check_size(place: Place, shape: tuple[int, ...], expected: int, found: int) -> None:
    """Checks that the values are those that the header announces, and that nothing follows them."""
    size = "x".join(map(str, shape))
    if found < expected:
        raise UserError(f"{place} must be complete: {expected} bytes for {size} values.", f"{found} bytes")
    if found > expected:
        raise UserError(f"{place} must end after {expected} bytes of {size} values.", f"{found} bytes or more")
