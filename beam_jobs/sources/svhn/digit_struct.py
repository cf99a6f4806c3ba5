"""SVHN Format 1: digitStruct.mat, as MATLAB 7.3 saves it, to Annotations.

The file is HDF5. `/digitStruct/name` and `/digitStruct/bbox` are columns of object references. A name is an array of
UTF-16 codes. A bbox is a group of the fields height, left, top, width and label. A field is one value or, for a picture
of several digits, a column of references to one value each. Label 10 means the digit 0
(http://ufldl.stanford.edu/housenumbers/).

The digits of 5 pictures of train (262, 10855, 16278, 18702, 19970) and 3 of test (7314, 10036, 12100) are stored out
of their order from the left; the reading order `left` sorts them.

Entries are read in bulk (module `bulk`). Entries that are stored otherwise or break a rule are read one by one through
HDF5's library (module `entry`), about a hundred times as slow.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from beam_jobs.annotation import Annotation
from beam_jobs.sources.hdf5.bulk import ObjectMap
from beam_jobs.sources.hdf5.rings import find_ring
from beam_jobs.sources.svhn import FILE_NAME
from beam_jobs.sources.svhn.bulk import BulkReader, Entries
from beam_jobs.sources.svhn.columns import open_columns, refuse_other_schema
from beam_jobs.sources.svhn.entry import BOX_LIMIT, FIELDS, read_entry
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

__all__ = ["FIELDS", "FILE_NAME", "count_entries", "read_annotations"]

_BATCH = 2048
"""Entries per batch: 512 take 1.5 times as long; 4096 are no faster and need 90 MB of memory, not 70 (measured)."""
_RINGS = {"heap": "a local heap's free blocks", "tree": "the nodes of a group's B-tree"}
_MAKE_BOX = partial(tuple.__new__, BoundingBox)
"""`BoundingBox(*edges)` without its layer of Python: 0.15 µs instead of 0.5."""


def count_entries(path: Path) -> int:
    """Returns the number of pictures that a digitStruct.mat names, after a check that HDF5's library can read it.

    Raises:
      UserError: There is no such file, it is not a digitStruct.mat, or its entries have other classes or fields.
    """
    if path.is_file() and (ring := find_ring(path)) is not None:
        part, offset = ring
        raise UserError(f"{path} is damaged: {_RINGS[part]} form a ring.", f"{part} at byte {offset}")
    with open_columns(path) as (file, columns):
        refuse_other_schema(path, file, columns)
        return columns[0].size


def read_annotations(path: Path, subset: str, start: int, stop: int, digit_order: str = "left") -> Iterator[Annotation]:
    """Yields the annotations of a range of entries; a bad entry becomes a rejected `Annotation`.

    Args:
      path: Path of the digitStruct.mat.
      subset: Name of the pictures' subset.
      start: Index of the first entry.
      stop: Index after the last entry.
      digit_order: One of `beam_jobs.sources.base.DIGIT_ORDERS`.

    Raises:
      UserError: The file as a whole cannot be read.
    """
    with open_columns(path) as (file, columns):
        addresses = [column.addresses(path)[start:stop] for column in columns]
        for first, entries in _read_in_bulk(file, path, addresses):
            annotations = _annotations(entries, subset, start + first, digit_order)
            for index, annotation in enumerate(annotations, start + first):
                if annotation is None:
                    references = [column.reference(index) for column in columns]
                    yield read_entry(file, subset, index, references, digit_order)
                else:
                    yield annotation


def _read_in_bulk(file: h5py.File, path: Path, addresses: list[np.ndarray]) -> Iterator[tuple[int, Entries]]:
    """Yields batches of entries with the index of their first entry in `addresses`: those of names and of bboxes."""
    with ObjectMap(path, file.userblock_size) as objects:
        reader = BulkReader(objects, FIELDS)
        for first in range(0, len(addresses[0]), _BATCH):
            yield first, reader.read(*(column[first : first + _BATCH] for column in addresses))
            objects.release()


def _annotations(entries: Entries, subset: str, first: int, digit_order: str) -> Iterator[Annotation | None]:
    """Yields the annotations of entries; None for an entry that was not read or that breaks a rule.

    Args:
      entries: Entries that were read in bulk.
      subset: Name of the pictures' subset.
      first: Index of the first entry.
      digit_order: One of `beam_jobs.sources.base.DIGIT_ORDERS`.
    """
    owner = np.repeat(np.arange(len(entries.counts)), entries.counts)
    good, bad_rows = entries.counts > 0, ~_keeps_rules(entries.values)
    good[owner[bad_rows]] = False
    values = np.where(bad_rows, 0, entries.values)
    if digit_order == "left":
        left = values[FIELDS.index("left")]
        # Nearly all digits are stored in order, and sorting takes eight times as long as this check.
        if ((np.diff(left) < 0) & (np.diff(owner) == 0)).any():
            values = values[:, np.lexsort((left, owner))]
    label, left, top, width, height = values
    # The digits of all entries as one text: SVHN's label 10 is the digit 0.
    text = (label.astype(np.int64) % 10 + ord("0")).astype(np.uint8).tobytes().decode()
    edges = [edge.tolist() for edge in (top, left, top + height, left + width)]
    boxes = map(_MAKE_BOX, zip(*edges, strict=True))
    # One by one: in a list, the annotations are garbage-collected again and again, which took half of the time.
    rows = zip(entries.names, entries.counts.tolist(), good.tolist(), strict=True)
    start = 0
    for index, (name, count, is_good) in enumerate(rows, first):
        number, number_boxes = text[start : start + count], tuple(islice(boxes, count))
        start += count
        if is_good and name is not None:
            yield Annotation(subset, name, index, number, number_boxes)
        else:
            yield None


def _keeps_rules(values: np.ndarray) -> np.ndarray:
    """Returns (digits,) bool: which digits of (fields, digits) float64 keep the rules of `read_entry`."""
    label, *box, width, height = values
    good: np.ndarray = (label >= 0) & (label <= 10) & (label == np.floor(label)) & (width > 0) & (height > 0)
    return good & (np.abs([*box, width, height]) < BOX_LIMIT).all(axis=0)
