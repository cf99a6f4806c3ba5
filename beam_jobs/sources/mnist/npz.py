"""mnist.npz as Keras publishes it: arrays x_train, y_train, x_test and y_test (https://keras.io/api/datasets/mnist/)."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError, one_line, printable
from tfrecords.files.place import Place

_IMAGES, _LABELS = "x_", "y_"
_DAMAGES = (ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise for damage: RuntimeError for a member that seems encrypted or packed in an unknown way,
MemoryError for an array that seems larger than memory."""


def subsets_of_npz(place: Place) -> list[str]:
    """Returns the names of the subsets in a file: NAME of each x_NAME, for which there must be y_NAME.

    Raises:
      UserError: The file cannot be read, or its arrays are no pairs.
    """
    with _opened(place) as arrays:
        names = list(arrays.files)
    images = [name.removeprefix(_IMAGES) for name in names if name.startswith(_IMAGES)]
    labels = [name.removeprefix(_LABELS) for name in names if name.startswith(_LABELS)]
    if not images or set(images) != set(labels) or not all(name.isidentifier() for name in images):
        rule = f"{place} must hold pairs of arrays: x_train and y_train, x_test and y_test."
        raise UserError(rule, printable(", ".join(names)) or "no array")
    return images


def read_npz(place: Place, subset: str) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Returns the images, (images, height, width) uint8, and the labels, (images,) integers, of a subset.

    Raises:
      UserError: The file cannot be read, or an array has another type or shape.
    """
    with _opened(place) as arrays:
        # A member of the archive that is no array comes as its bytes.
        images, labels = (np.asarray(arrays[kind + subset]) for kind in (_IMAGES, _LABELS))
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
        rule = f"{place}: x_{subset} must be (images, height, width) uint8, as mnist.npz has it."
        raise UserError(rule, f"{images.shape} {images.dtype}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        rule = f"{place}: y_{subset} must be (images,) integers, as mnist.npz has it."
        raise UserError(rule, f"{labels.shape} {labels.dtype}")
    return images, labels


@contextmanager
def _opened(place: Place) -> Iterator[Any]:
    """Opens a file of arrays; what goes wrong inside the block is an error of this file."""
    try:
        # A file object: NumPy takes whatever is no archive for one array, or for a pickle, which is refused.
        with place.open() as stream:
            arrays = np.load(stream, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise UserError(f"{place} must be an .npz archive.", "one array")
            with arrays:
                yield arrays
    except UserError:
        raise
    except _DAMAGES as error:
        raise UserError(f"{place} must be a complete .npz archive of plain arrays.", printable(str(error))) from error
    except OSError as error:
        raise UserError(f"{place} cannot be read.", one_line(error)) from error
