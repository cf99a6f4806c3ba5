"""Reads entries of digitStruct.mat in bulk, if they are stored as MATLAB 7.3 stores them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from beam_jobs.sources.hdf5.bulk import ObjectMap, Objects
from beam_jobs.sources.hdf5.header import REFERENCE
from beam_jobs.sources.hdf5.templates import dataset_template, group_template
from beam_jobs.sources.svhn.name import is_plain_without_padding

_CODES = "<u2"
_FIRST_SURROGATE = 0xD800
_IS_PLAIN = np.array([bool(re.fullmatch(r"[\w.-]", chr(code), re.ASCII)) for code in range(128)] + [False] * 65408)
"""(65536,) bool: which codes all names of SVHN consist of. A pattern per name would take 4 % of the reading time."""


@dataclass(frozen=True)
class Entries:
    """A range of entries of digitStruct.mat, as far as they could be read in bulk.

    Attributes:
      names: Names of the pictures' files; None for one that could not be read, that is padded or no plain file name.
      counts: (entries,) int64, number of digits; 0 if the fields could not be read.
      values: (fields, sum of counts) float64, entry by entry, digits in the order of the file.
    """

    names: list[str | None]
    counts: np.ndarray
    values: np.ndarray


class BulkReader:
    """Reader of one file's entries; it keeps the templates of the file's objects for the entries that follow."""

    def __init__(self, file: ObjectMap, fields: Sequence[str]) -> None:
        """Takes the map of the file, and the names of the fields to read from every bbox."""
        self._width = len(fields)
        self._names = Objects(file, dataset_template)
        self._groups = Objects(file, partial(group_template, names=fields))
        self._fields = Objects(file, dataset_template)
        self._referenced_values = Objects(file, dataset_template)

    def read(self, names_at: np.ndarray, boxes_at: np.ndarray) -> Entries:
        """Returns the entries at these addresses.

        Args:
          names_at: (entries,) uint64, file addresses of the names.
          boxes_at: (entries,) uint64, file addresses of the bboxes.
        """
        return Entries(self._read_names(names_at), *self._read_boxes(boxes_at))

    def _read_names(self, addresses: np.ndarray) -> list[str | None]:
        """Returns the names of `Entries`."""
        names = np.full(len(addresses), None, object)
        for kind, indices, raw in self._names.read(addresses):
            if kind == _CODES:
                codes = raw.view(_CODES)
                plain = _are_plain(codes)
                text = codes[plain].astype("<u4").view(f"<U{codes.shape[1]}")
                names[indices[plain]] = text[:, 0]
        return names.tolist()

    def _read_boxes(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the counts and values of `Entries`."""
        members = np.zeros((len(addresses), self._width), "<u8")
        for _, indices, raw in self._groups.read(addresses):
            members[indices] = raw.view("<u8")
        counts, values, read = self._read_fields(members.ravel())
        starts = (np.cumsum(counts) - counts).reshape(members.shape)
        entry = np.repeat(np.arange(counts.size), counts) // self._width
        counts = counts.reshape(members.shape)
        complete = (counts == counts[:, :1]).all(axis=1)
        complete[entry[~read]] = False
        digits = np.where(complete, counts[:, 0], 0)
        index_in_entry = np.arange(digits.sum()) - np.repeat(np.cumsum(digits) - digits, digits)
        return digits, values[np.repeat(starts, digits, axis=0).T + index_in_entry]

    def _read_fields(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads fields. A field has one or more values, or references to one value each.

        Args:
          addresses: (fields,) uint64, file addresses.

        Returns:
          (fields,) int64, number of values, 0 if the field cannot be read; (values,) float64, field by field;
          (values,) bool, whether the value could be read.
        """
        parts = [
            (indices, raw.view("<u8" if kind == REFERENCE else kind), kind == REFERENCE)
            for kind, indices, raw in self._fields.read(addresses)
            if kind != _CODES  # of class char or uint16: left to `read_entry`
        ]
        counts = np.zeros(len(addresses), np.int64)
        for indices, stored, _ in parts:
            counts[indices] = stored.shape[1]
        starts = np.cumsum(counts) - counts
        values, pointers = np.zeros(counts.sum()), np.zeros(counts.sum(), "<u8")
        read = np.zeros(len(values), bool)
        for indices, stored, is_reference in parts:
            targets = starts[indices][:, np.newaxis] + np.arange(stored.shape[1])
            if is_reference:
                pointers[targets] = stored
            else:
                values[targets], read[targets] = stored, True
        referenced = np.flatnonzero(~read)
        for kind, indices, raw in self._referenced_values.read(pointers[referenced]):
            # Several values where one is meant are left to `read_entry`, which rejects them.
            if kind not in (REFERENCE, _CODES) and raw.view(kind).shape[1] == 1:
                targets = referenced[indices]
                values[targets], read[targets] = raw.view(kind)[:, 0], True
        return counts, values, read


def _are_plain(codes: np.ndarray) -> np.ndarray:
    """Returns (names,) bool: which names, (names, letters) uint16 codes, are plain file names without padding."""
    plain: np.ndarray = _IS_PLAIN[codes].all(axis=1) & (codes[:, 0] != ord("."))
    if not plain.all():
        # NumPy strips zeros at the end of text; surrogates of letters beyond 16 bits are left to `read_entry`.
        whole = ((codes > 0) & (codes < _FIRST_SURROGATE)).all(axis=1)
        for index in np.flatnonzero(whole & ~plain):
            plain[index] = is_plain_without_padding("".join(map(chr, codes[index])))
    return plain
