"""MATLAB 7.3's conventions in an HDF5 file: classes, empty arrays, and the variables of a file.

MATLAB writes the class of a variable to the attribute `MATLAB_class`. It stores an empty array as a dataset of the
array's dimensions with the attribute `MATLAB_empty` (as `[]`: two zeros). Objects such as strings, tables and
categoricals are handles: arrays of uint32 whose contents are elsewhere.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5s

from beam_jobs.annotation import RejectedError
from tfrecords.errors import printable

EMPTY, CLASS = b"MATLAB_empty", b"MATLAB_class"
NUMBER_CLASSES = (
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
)
"""Classes whose datasets hold the numbers themselves."""
_MAX_VALUES = 1 << 16
"""Largest number of values of one variable: a damaged size must not fill the memory."""
_MAX_SHOWN = 10
"""Largest number of variables or fields that a message lists."""


def read_array(dataset: Any) -> Any:
    """Returns the values of a low-level dataset, as a flat array; none if it is empty.

    Raises:
      TypeError: The object is not a dataset.
      ValueError: There are too many values, or they are in another file.
    """
    if not isinstance(dataset, h5d.DatasetID):
        raise TypeError(f"values must be a dataset, not {type(dataset).__name__}")
    require_inside(dataset)
    if is_empty(dataset):
        return np.empty(0)
    shape = dataset.shape
    if math.prod(shape) > _MAX_VALUES:
        raise ValueError(f"there must be at most {_MAX_VALUES} values, not {shape}")
    values = np.empty(shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, values)
    return values.ravel()


def open_member(group: h5g.GroupID, name: bytes) -> Any:
    """Returns a low-level object of a group, which a link to another file or place must not replace.

    Raises:
      KeyError: The object cannot be opened.
      RuntimeError: There is no such object.
      ValueError: It is a link. A link can lead to any file, even to one that never ends.
    """
    if group.links.get_info(name).type != h5l.TYPE_HARD:
        raise ValueError(f"{name.decode()} must be in its group, not a link")
    return h5o.open(group, name)


def require_inside(dataset: h5d.DatasetID) -> None:
    """Checks that the values of a low-level dataset are in its own file.

    Raises:
      ValueError: They are in other files.
    """
    if dataset.get_offset() is not None:  # it has a place in the file, as nearly all have: faster than the properties
        return
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or (layout == h5d.CONTIGUOUS and properties.get_external_count()):
        raise ValueError("values must be in the file itself, not in another file")


def is_empty(dataset: h5d.DatasetID) -> bool:
    """Returns whether a low-level dataset is an empty array: MATLAB's, or HDF5's without values."""
    empty = _attribute(dataset, EMPTY)
    if empty is not None and np.any(empty):
        return True
    return bool(dataset.get_space().get_simple_extent_npoints() == 0)


def is_references(item: Any) -> bool:
    """Returns whether an object of h5py, of either level, is a dataset of object references."""
    return isinstance(item, h5py.Dataset | h5d.DatasetID) and h5py.check_ref_dtype(item.dtype) is h5py.Reference


def class_of(item: Any) -> str | None:
    """Returns MATLAB's class of a low-level object; None if another program wrote it."""
    value = _attribute(item, CLASS)
    if value is None:
        return None
    text = value.ravel()[0] if value.size else b""
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)


def describe(group: h5py.Group) -> str:
    """Returns the variables of a file, or the fields of a struct, with their classes, for a message."""
    return list_names(_described(group)) or "nothing"


def list_names(names: Iterable[str]) -> str:
    """Returns names with commas between them, at most ten, for a message."""
    names = iter(names)
    shown = map(printable, islice(names, _MAX_SHOWN))
    return ", ".join(shown) + (", ..." if next(names, None) is not None else "")


def _described(group: h5py.Group) -> Iterator[str]:
    """Yields name, class and shape or fields of each member of a group, except MATLAB's own."""
    for name in group:
        if name.startswith("#"):
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield f"{name} (link)"
            continue
        item = group.get(name)
        found = None if item is None else class_of(item.id)
        if isinstance(item, h5py.Group):
            yield f"{name} ({found or 'group'} of {list_names(item) or 'nothing'})"
        elif isinstance(item, h5py.Dataset):
            shape = "empty" if is_empty(item.id) else "x".join(map(str, item.shape)) or "1"
            kind = found or ("references" if is_references(item) else item.dtype.name)
            yield f"{name} ({kind}, {shape})"
        else:
            yield f"{name} (unreadable)"


def _attribute(item: Any, name: bytes) -> Any:
    """Returns the value of an attribute, as an array; None if there is no such attribute."""
    if not h5a.exists(item, name):
        return None
    attribute = h5a.open(item, name)
    if not attribute.get_space().get_simple_extent_npoints():
        return None
    value = np.empty(attribute.shape, attribute.dtype)
    attribute.read(value)
    return value


def wrong_class(item: Any, where: str, what: str, allowed: str) -> RejectedError:
    """Returns the error of a low-level object that is of another class than allowed.

    Args:
      item: Object of another class.
      where: File and entry.
      what: What the object is: "a name".
      allowed: Allowed class or classes.

    Raises:
      TypeError: The object has no class: the entry is damaged, or another program wrote it.
    """
    found = class_of(item)
    if found is None:
        kind = item.dtype if isinstance(item, h5d.DatasetID) else type(item).__name__
        raise TypeError(f"{what} must be {allowed}, not {kind}")
    if isinstance(item, h5d.DatasetID) and item.dtype.names:
        found = f"complex {found}"  # the only structured type of MATLAB's numbers
    return RejectedError("annotation", "wrong_class", f"{where}: MATLAB's class of {what} must be {allowed}.", found)
