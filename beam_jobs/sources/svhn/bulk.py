"""Reads entries of digitStruct.mat in bulk, where they are stored as MATLAB 7.3 stores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from beam_jobs.sources.hdf5.bulk import ObjectMap, Objects
from beam_jobs.sources.hdf5.header import REFERENCE
from beam_jobs.sources.hdf5.templates import dataset_template, group_template

_CODES = "<u2"
_FIRST_SURROGATE = 0xD800


@dataclass(frozen=True)
class Entries:
    """Some entries of digitStruct.mat, as far as they could be read in bulk.

    Attributes:
      names: of the pictures' files; None where it could not be read.
      counts: (entries,) int64, each one's digits; 0 where its fields could not be read.
      values: (fields, sum of counts) float64, entry by entry, digits as stored.
    """

    names: list[str | None]
    counts: np.ndarray
    values: np.ndarray


class BulkReader:
    """Reads entries of one file; what it learns of the file's objects serves the entries that follow."""

    def __init__(self, file: ObjectMap, fields: Sequence[str]) -> None:
        """Takes the map of the file, and which fields to read of every bbox."""
        self._width = len(fields)
        self._names = Objects(file, dataset_template)
        self._groups = Objects(file, partial(group_template, names=fields))
        self._fields = Objects(file, dataset_template)
        self._numbers = Objects(file, dataset_template)

    def read(self, names_at: np.ndarray, boxes_at: np.ndarray) -> Entries:
        """Reads entries.

        Args:
          names_at: (entries,) uint64, file addresses of the names.
          boxes_at: (entries,) uint64, file addresses of the bboxes.
        """
        return Entries(self._read_names(names_at), *self._read_boxes(boxes_at))

    def _read_names(self, addresses: np.ndarray) -> list[str | None]:
        names = np.full(len(addresses), None, object)
        for kind, which, raw in self._names.read(addresses):
            if kind == _CODES:
                codes = raw.view(_CODES)
                # NumPy's text loses zeros at its end; surrogates, of letters beyond 16 bits, are for `read_entry`.
                plain = ((codes > 0) & (codes < _FIRST_SURROGATE)).all(axis=1)
                text = codes[plain].astype("<u4").view(f"<U{codes.shape[1]}")
                names[which[plain]] = text[:, 0]
        return names.tolist()

    def _read_boxes(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the counts and values of `Entries`."""
        members = np.zeros((len(addresses), self._width), "<u8")
        for _, which, raw in self._groups.read(addresses):
            members[which] = raw.view("<u8")
        counts, values, read = self._read_fields(members.ravel())
        starts = (np.cumsum(counts) - counts).reshape(members.shape)
        entry = np.repeat(np.arange(counts.size), counts) // self._width
        counts = counts.reshape(members.shape)
        whole = (counts == counts[:, :1]).all(axis=1)
        whole[entry[~read]] = False
        digits = np.where(whole, counts[:, 0], 0)
        place = np.arange(digits.sum()) - np.repeat(np.cumsum(digits) - digits, digits)
        return digits, values[np.repeat(starts, digits, axis=0).T + place]

    def _read_fields(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads fields, each one or more numbers, or references to one number each.

        Returns:
          (fields,) int64, how many numbers each has, 0 where it cannot be read; (numbers,) float64, field by
          field; (numbers,) bool, which of these could be read.
        """
        parts = [
            (which, raw.view("<u8" if kind == REFERENCE else kind), kind == REFERENCE)
            for kind, which, raw in self._fields.read(addresses)
        ]
        counts = np.zeros(len(addresses), np.int64)
        for which, numbers, _ in parts:
            counts[which] = numbers.shape[1]
        starts = np.cumsum(counts) - counts
        values, pointers = np.zeros(counts.sum()), np.zeros(counts.sum(), "<u8")
        read = np.zeros(len(values), bool)
        for which, numbers, is_reference in parts:
            places = starts[which][:, np.newaxis] + np.arange(numbers.shape[1])
            if is_reference:
                pointers[places] = numbers
            else:
                values[places], read[places] = numbers, True
        behind = np.flatnonzero(~read)
        for kind, which, raw in self._numbers.read(pointers[behind]):
            if kind != REFERENCE:
                values[behind[which]], read[behind[which]] = raw.view(kind)[:, 0], True
        return counts, values, read
