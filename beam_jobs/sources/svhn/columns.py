"""The two fields of digitStruct, `name` and `bbox`, as columns with an element per picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from h5py import h5s, h5t

from beam_jobs.sources.svhn import FILE_NAME
from beam_jobs.sources.svhn.entry import HDF5_ERRORS, read_entry
from beam_jobs.sources.svhn.matlab import describe, is_references, require_inside
from tfrecords.errors import UserError

_NOWHERE = np.uint64(2**64 - 1)
"""HDF5's address of nothing: the bulk reader leaves such an object to HDF5's library."""
_DIRECT_TYPES = "iuSO"
"""Kinds of NumPy's types that codes, text and MATLAB's handles have."""
_ENTRIES_OF_SCHEMA = 10
"""Entries that are read to find out whether the file has SVHN's classes and fields; the first good one ends it."""


class Column(NamedTuple):
    """One field of all entries.

    Attributes:
      field: Dataset of references; or the value itself, of a digitStruct of one picture (a 1x1 struct).
      is_direct: Whether it is the value itself.
    """

    field: h5py.Dataset | h5py.Group
    is_direct: bool

    @property
    def size(self) -> int:
        """Number of entries."""
        return 1 if self.is_direct else int(self.field.size)

    def reference(self, index: int) -> h5py.Reference:
        """Returns the reference to the value of the entry at an index."""
        return self.field.ref if self.is_direct else self.field[np.unravel_index(index, self.field.shape)]

    def addresses(self, path: Path) -> np.ndarray:
        """Returns (entries,) uint64, the file addresses of the values in the file at `path`.

        Raises:
          UserError: The column is damaged.
        """
        if self.is_direct:
            return np.array([_NOWHERE])
        addresses = np.zeros(self.field.shape, "<u8")
        try:
            # HDF5's own type of a reference is its address in memory too; h5py would create an object for each.
            self.field.id.read(h5s.ALL, h5s.ALL, addresses, h5t.STD_REF_OBJ)
        except HDF5_ERRORS as error:
            raise UserError(f"{path} cannot be read: {self.field.name} is damaged.", error) from error
        return addresses.ravel()


@contextmanager
def open_columns(path: Path) -> Iterator[tuple[h5py.File, tuple[Column, Column]]]:
    """Yields the open digitStruct.mat at `path` and its columns, `name` and `bbox`, equally long.

    Raises:
      UserError: There is no such file, or it is not a digitStruct.mat.
    """
    if not path.is_file():
        raise UserError(f"{path} must be SVHN's {FILE_NAME}: there is no such file.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} must be an HDF5 file (MATLAB v7.3).", error) from error
    with file:
        yield file, _columns(file, path)


def refuse_other_schema(path: Path, file: h5py.File, columns: tuple[Column, Column]) -> None:
    """Refuses a file whose first entries all have a class or fields that are not read: so have the others.

    Args:
      path: Path of the file.
      file: The same file, open.
      columns: Its columns.

    Raises:
      UserError: It is such a file.
    """
    details = []
    for index in range(min(columns[0].size, _ENTRIES_OF_SCHEMA)):
        references = [column.reference(index) for column in columns]
        letter = read_entry(file, path.parent.name, index, references, "stored").dead
        if letter is None or letter.reason not in ("wrong_class", "wrong_fields"):
            return
        details.append(letter.detail)
    if details:
        raise UserError(f"{path} has other classes or fields than SVHN's file. {details[0]}")


def _columns(file: h5py.File, path: Path) -> tuple[Column, Column]:
    """Returns the columns `name` and `bbox`."""
    try:
        struct = _member(file, "digitStruct")
        is_struct = isinstance(struct, h5py.Group) and "name" in struct and "bbox" in struct
        if is_struct:
            name, bbox = (_column(_member(struct, field)) for field in ("name", "bbox"))
            # A file cannot hold more entries than bytes: a damaged size must not fill the memory.
            if name and bbox and name.size == bbox.size <= path.stat().st_size:
                return name, bbox
        received = describe(struct if is_struct else file)  # fails for a damaged group
    except HDF5_ERRORS as error:
        raise UserError(f"{path} cannot be read: it is damaged.", error) from error
    rule = (
        f"{path} must hold digitStruct/name and digitStruct/bbox, equally long references, "
        "or the name and the struct of one picture."
    )
    raise UserError(rule, received)


def _member(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """Returns a member of a group, None if there is none; a link is not followed, since it can lead to any file."""
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def _column(field: h5py.Dataset | h5py.Group | None) -> Column | None:
    """Returns a field of digitStruct as a column, None if it cannot be one."""
    if isinstance(field, h5py.Dataset):
        require_inside(field.id)
    if is_references(field):
        return Column(field, is_direct=False)
    is_value = isinstance(field, h5py.Group) or (isinstance(field, h5py.Dataset) and field.dtype.kind in _DIRECT_TYPES)
    return Column(field, is_direct=True) if is_value else None
