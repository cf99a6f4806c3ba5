"""Writes digitStruct.mat through h5py, in any layout, with anything in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from beam_jobs.annotation import Annotation
from beam_jobs.sources.hdf5 import bulk as hdf5_bulk
from beam_jobs.sources.svhn.digit_struct import FIELDS, count_entries, read_annotations
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords.images.crop import BoundingBox

Row = tuple[float, ...]  # in the order of FIELDS
Entry = tuple[str, list[Row]]


def save_as_matlab(path: Path, entries: list[Entry]) -> Path:
    names, rows = zip(*entries, strict=True)
    write_digit_struct(path, names, ([DigitBox(*map(int, row)) for row in boxes] for boxes in rows))
    return path


class Saver:
    """Writes digitStruct.mat through h5py, in any layout, with anything in it."""

    def __init__(self, file: h5py.File, layout: str = "compact", row: bool = False, one_as_reference: bool = False):
        self.file, self.layout, self.row, self.one_as_reference = file, layout, row, one_as_reference
        self.refs = file.create_group("#refs#")
        self.count = 0

    def array(self, group: h5py.Group, name: str, values: Any, dtype: Any) -> h5py.Dataset:
        values = np.ascontiguousarray(np.asarray(values, dtype))
        if values.ndim == 1:
            values = values[np.newaxis] if self.row else values[:, np.newaxis]
        if self.layout != "compact":
            options: dict[str, dict[str, Any]] = {
                "contiguous": {},
                "chunked": {"chunks": True},
                "gzip": {"chunks": True, "compression": "gzip"},
            }
            return group.create_dataset(name, data=values, dtype=dtype, **options[self.layout])
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_layout(h5d.COMPACT)
        space, kind = h5s.create_simple(values.shape), h5t.py_create(np.dtype(dtype), logical=True)
        dataset = h5d.create(group.id, name.encode(), kind, space, properties)
        if values.size:
            dataset.write(h5s.ALL, h5s.ALL, values)
        return h5py.Dataset(dataset)

    def next_name(self) -> str:
        self.count += 1
        return f"r{self.count}"

    def name(self, codes: Any, dtype: Any = np.uint16) -> h5py.Reference:
        return self.array(self.refs, self.next_name(), codes, dtype).ref

    def empty(self, group: h5py.Group, name: str, cls: str = "double") -> h5py.Dataset:
        """MATLAB's []: its dimensions, marked by an attribute."""
        dataset = self.array(group, name, [0, 0], np.uint64)
        dataset.attrs["MATLAB_class"], dataset.attrs["MATLAB_empty"] = np.bytes_(cls), np.uint8(1)
        return dataset

    def value(self, group: h5py.Group, name: str, value: Any) -> h5py.Dataset:
        """One digit's value of a field: a number, several numbers, None for MATLAB's [], or an array of any type."""
        if value is None:
            return self.empty(group, name)
        if isinstance(value, np.ndarray):
            return self.array(group, name, value, value.dtype)
        return self.array(group, name, value if isinstance(value, list) else [value], np.float64)

    def bbox(self, fields: dict[str, list[Any]], group: h5py.Group | None = None) -> h5py.Reference:
        group = self.refs.create_group(self.next_name()) if group is None else group
        for field, values in fields.items():
            if len(values) == 1 and not self.one_as_reference:
                self.value(group, field, values[0])
                continue
            leaves = np.empty(len(values), h5py.ref_dtype)
            for place, value in enumerate(values):
                leaves[place] = self.value(self.refs, self.next_name(), value).ref
            self.array(group, field, leaves, h5py.ref_dtype)
        return group.ref

    def finish_one(self, name: Any, boxes: dict[str, list[Any]] | None, dtype: Any = np.uint16) -> None:
        """A 1x1 struct, which holds its fields themselves."""
        group = self.file.create_group("digitStruct")
        self.array(group, "name", name, dtype)
        if boxes is None:
            self.empty(group, "bbox", "struct")
        else:
            self.bbox(boxes, group.create_group("bbox"))

    def finish(self, names: list[Any], boxes: list[Any]) -> None:
        group = self.file.create_group("digitStruct")
        for field, references in (("name", names), ("bbox", boxes)):
            column = np.empty(len(references), h5py.ref_dtype)
            column[:] = references
            self.array(group, field, column, h5py.ref_dtype)


@contextmanager
def saver(path: Path, layout: str = "compact") -> Iterator[Saver]:
    """A `Saver` of a file as MATLAB lays it out."""
    with h5py.File(path, "w", libver="earliest", userblock_size=512) as file:
        yield Saver(file, layout)


def codes(name: str) -> list[int]:
    """UTF-16, as MATLAB has it; halves of letters as they are."""
    return np.frombuffer(name.encode("utf-16-le", "surrogatepass"), "<u2").tolist()


def columns_of(rows: list[Row]) -> dict[str, list[float]]:
    return {field: [row[place] for row in rows] for place, field in enumerate(FIELDS)}


def save(path: Path, entries: list[Entry], how: dict[str, Any] | None = None, **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        saver = Saver(file, **(how or {}))
        names = [saver.name(codes(name)) for name, _ in entries]
        saver.finish(names, [saver.bbox(columns_of(rows)) for _, rows in entries])
    return path


def only_h5py(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every entry read through h5py, as where the file cannot be mapped."""
    monkeypatch.setattr(hdf5_bulk, "_SUPERBLOCK", b"none has this")


FOUR = columns_of([(2, 10, 2, 9, 20), (7, 20, 2, 9, 20), (4, 30, 2, 9, 20), (9, 40, 2, 9, 20)])
ONE = columns_of([(2, 10, 2, 9, 20)])
BOXES = tuple(BoundingBox(2, left, 22, left + 9) for left in (10, 20, 30, 40))


@pytest.fixture(params=["in bulk", "through h5py"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "through h5py":
        only_h5py(monkeypatch)


def read_all(path: Path, digit_order: str = "left") -> list[Annotation]:
    return list(read_annotations(path, "train", 0, count_entries(path), digit_order))


def reason_and_detail(annotation: Annotation) -> tuple[str, str]:
    assert annotation.dead is not None, annotation
    return annotation.dead.reason, annotation.dead.detail


def with_value(fields: dict[str, list[Any]], field: str, digit: int, value: Any) -> dict[str, list[Any]]:
    return fields | {field: [value if place == digit else old for place, old in enumerate(fields[field])]}


def save_two(path: Path, fields: dict[str, list[Any]], layout: str = "compact") -> Path:
    """An entry with these fields, and a good one."""
    with saver(path, layout) as to:
        to.finish([to.name(codes("1.png")), to.name(codes("2.png"))], [to.bbox(fields), to.bbox(FOUR)])
    return path
