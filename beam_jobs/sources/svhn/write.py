"""Writes digitStruct.mat as MATLAB 7.3 does, which wrote SVHN's own files."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5r, h5s, h5t

_USER_BLOCK_BYTES = 512
_SUBSYSTEM_OFFSET = 116  # bytes of text before MATLAB's subsystem offset, version and byte order
_HEADER_TEXT = b"MATLAB 7.3 MAT-file, Platform: streetdigits, HDF5 schema 1.00 ."
# MATLAB adds "Created on: <date>", but equal entries must give equal bytes.
_HEADER = _HEADER_TEXT.ljust(_SUBSYSTEM_OFFSET) + bytes(8) + b"\x00\x02IM"
_FIELDS = ("height", "left", "top", "width", "label")  # in the order of MATLAB_fields
_NAME_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
_COMPACT_LIMIT_BYTES = 60_000  # HDF5 keeps compact data in an object header message of at most 64 KiB


class DigitBox(NamedTuple):
    """One digit as digitStruct.mat holds it.

    Attributes:
      label: Label: 1..9 for the digits 1 to 9, 10 for the digit 0.
      left: Distance from the picture's left edge to the box, pixels.
      top: Distance from the picture's top edge to the box, pixels.
      width: Width of the box, pixels.
      height: Height of the box, pixels.
    """

    label: int
    left: int
    top: int
    width: int
    height: int


def write_digit_struct(path: Path, names: Sequence[str], boxes: Iterable[Sequence[DigitBox]]) -> None:
    """Writes a digitStruct.mat with the groups, attributes and layouts of SVHN's own files.

    Equal entries give equal bytes under one version of HDF5: the header has no date, and objects have no time of
    modification. Names, order, types, layouts and attributes of the objects are those of SVHN's own
    train/digitStruct.mat (2017). It takes about 3 ms per entry, nearly all in HDF5.

    Args:
      path: Path of the file; an existing file is replaced.
      names: File name (ASCII) of each picture.
      boxes: Digits of each picture, in reading order; read one picture at a time, so a generator may draw the
        pictures meanwhile.

    Raises:
      ValueError: There is no entry, there are more or fewer boxes than names, or a picture has no digit or a label
        outside 1..10.
    """
    if not names:
        raise ValueError(f"digitStruct.mat needs at least one entry. Received: {names!r}")
    with h5py.File(path, "w", libver="earliest", userblock_size=_USER_BLOCK_BYTES) as file:
        _Writer(file).write(names, boxes)
    with path.open("r+b") as raw:
        raw.write(_HEADER)


def _reference_name(index: int) -> bytes:
    """Returns the name at an index in #refs#: a, b, ..., Z, 1, ..., 9, 0, ab, bb, ... as MATLAB counts."""
    name = ""
    while True:
        index, letter = divmod(index, len(_NAME_ALPHABET))
        name += _NAME_ALPHABET[letter]
        if not index:
            return name.encode()


@functools.cache
def _space(shape: tuple[int, ...]) -> h5s.SpaceID:
    return h5s.create_simple(shape, shape)


@functools.cache
def _stored_type(dtype: np.dtype) -> h5t.TypeID:
    return h5t.py_create(dtype, logical=True)


@functools.cache
def _text_type(length: int) -> h5t.TypeStringID:
    kind = h5t.C_S1.copy()
    kind.set_size(length)
    return kind


class _Writer:
    """Writer of one file, on HDF5's low-level interface, since the high-level one cannot make compact datasets."""

    def __init__(self, file: h5py.File) -> None:
        """Takes the open file and creates its two groups."""
        self._root = file.id
        self._struct = h5g.create(file.id, b"digitStruct")
        self._refs = h5g.create(file.id, b"#refs#")
        self._names_given = 0
        self._scalar = h5s.create(h5s.SCALAR)
        self._fields_space = h5s.create_simple((len(_FIELDS),))
        self._fields_type = h5t.vlen_create(h5t.py_create(np.dtype("S1")))
        self._compact = self._creation_properties(h5d.COMPACT)

    def write(self, names: Sequence[str], boxes: Iterable[Sequence[DigitBox]]) -> None:
        """Writes all entries."""
        self._write_canonical_empty()
        name_references = [self._write_name(name) for name in names]
        box_references = [self._write_boxes(name, digits) for name, digits in zip(names, boxes, strict=True)]
        self._write_text(self._struct, b"MATLAB_class", b"struct")
        self._write_fields(self._struct, ("name", "bbox"))
        self._write_references(self._struct, b"name", name_references)
        self._write_references(self._struct, b"bbox", box_references)

    @staticmethod
    def _creation_properties(layout: int) -> h5p.PropDCID:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_layout(layout)
        properties.set_obj_track_times(False)
        return properties

    def _next_name(self) -> bytes:
        self._names_given += 1
        return _reference_name(self._names_given - 1)

    def _write_canonical_empty(self) -> None:
        """Writes the object for [] with which MATLAB begins #refs#."""
        dataset = self._write_array(self._refs, self._next_name(), np.zeros(2, np.uint64))
        self._write_text(dataset, b"MATLAB_class", b"canonical empty")
        self._write_number(dataset, b"MATLAB_empty", np.uint8(1))

    def _write_name(self, name: str) -> h5r.Reference:
        key = self._next_name()
        codes = np.frombuffer(name.encode("ascii"), np.uint8).astype(np.uint16)
        dataset = self._write_array(self._refs, key, codes[:, np.newaxis])
        self._write_text(dataset, b"MATLAB_class", b"char")
        self._write_number(dataset, b"MATLAB_int_decode", np.int32(2))
        self._write_text(dataset, b"H5PATH", b"/#refs#/" + key)
        return h5r.create(dataset, b".", h5r.OBJECT)

    def _write_boxes(self, name: str, boxes: Sequence[DigitBox]) -> h5r.Reference:
        """Writes one struct: values for a single digit, references to values for several digits."""
        if not boxes or any(not 1 <= box.label <= 10 for box in boxes):
            raise ValueError(f"An entry needs one digit or more, with labels 1..10. Received: {name}: {boxes}")
        key = self._next_name()
        group = h5g.create(self._refs, key)
        self._write_text(group, b"MATLAB_class", b"struct")
        self._write_text(group, b"H5PATH", b"/#refs#/" + key)
        self._write_fields(group, _FIELDS)
        for field in _FIELDS:
            values = [getattr(box, field) for box in boxes]
            if len(values) == 1:
                # MATLAB repeats the name of the struct here and omits that of the field.
                self._write_double(group, field.encode(), values[0], b"/#refs#/" + key + key)
                continue
            self._write_references(group, field.encode(), [self._write_leaf(value) for value in values])
        return h5r.create(group, b".", h5r.OBJECT)

    def _write_leaf(self, value: float) -> h5r.Reference:
        key = self._next_name()
        dataset = self._write_double(self._refs, key, value, b"/#refs#/" + key)
        return h5r.create(dataset, b".", h5r.OBJECT)

    def _write_double(self, group: h5g.GroupID, name: bytes, value: float, path: bytes) -> h5d.DatasetID:
        dataset = self._write_array(group, name, np.array([[value]], np.float64))
        self._write_text(dataset, b"MATLAB_class", b"double")
        self._write_text(dataset, b"H5PATH", path)
        return dataset

    def _write_references(self, group: h5g.GroupID, name: bytes, references: Sequence[h5r.Reference]) -> None:
        column = np.empty((len(references), 1), dtype=h5py.ref_dtype)
        column[:, 0] = references
        self._write_array(group, name, column)

    def _write_array(self, group: h5g.GroupID, name: bytes, values: np.ndarray) -> h5d.DatasetID:
        small = values.nbytes <= _COMPACT_LIMIT_BYTES
        properties = self._compact if small else self._creation_properties(h5d.CONTIGUOUS)
        dataset = h5d.create(group, name, _stored_type(values.dtype), _space(values.shape), properties)
        dataset.write(h5s.ALL, h5s.ALL, values)
        return dataset

    def _write_text(self, owner: Any, name: bytes, text: bytes) -> None:
        kind = _text_type(len(text))
        # The type in memory too: with NumPy's padded type a terminator would replace the last letter.
        h5a.create(owner, name, kind, self._scalar).write(np.array(text), mtype=kind)

    def _write_number(self, owner: Any, name: bytes, value: np.integer) -> None:
        h5a.create(owner, name, h5t.py_create(value.dtype), self._scalar).write(np.array(value))

    def _write_fields(self, owner: Any, names: Sequence[str]) -> None:
        letters = np.empty(len(names), dtype=h5py.vlen_dtype(np.dtype("S1")))
        letters[:] = [np.array(list(name), "S1") for name in names]
        space = h5s.create_simple(letters.shape)
        h5a.create(owner, b"MATLAB_fields", self._fields_type, space).write(letters)
