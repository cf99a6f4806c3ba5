"""Damaged digitStruct.mat: an entry that is read in bulk has the values that HDF5's library reads, if it reads any."""

import re
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.sources.svhn import digit_struct
from beam_jobs.sources.svhn.digit_struct import FIELDS, FILE_NAME, count_entries, read_annotations
from beam_jobs.sources.svhn.entry import HDF5_ERRORS, read_entry
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

ENTRIES = 40
MUTATIONS = 40
"""Mutations per file: one for each entry on average, of about 70 objects each."""
_COLUMNS_BYTES = 4096
"""Bytes at the start and at the end of the file that may hold its groups and columns; damaged, the file is refused."""
Values = tuple[str, tuple[int, ...], tuple[BoundingBox, ...]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file in MATLAB's layout, with one to three digits per picture; some values are marked as empty or not empty."""
    path = tmp_path_factory.mktemp("damage") / FILE_NAME
    boxes = [[DigitBox(1 + (n + k) % 10, 10 * k, 2, 9, 20) for k in range(1 + n % 3)] for n in range(ENTRIES)]
    write_digit_struct(path, [f"{n + 1}.png" for n in range(ENTRIES)], boxes)
    with h5py.File(path, "r+") as file:
        numbers = [x for x in file["#refs#"].values() if isinstance(x, h5py.Dataset) and x.dtype == np.float64]
        for index, number in enumerate(numbers[::40]):
            number.attrs["MATLAB_empty"] = np.uint8(index % 2)
    return path.read_bytes()


def mutate(whole: bytes, rng: np.random.Generator) -> bytes:
    """Changes bits, bytes and words, and copies runs of words, in the objects to which the columns refer."""
    data = bytearray(whole)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8)[_COLUMNS_BYTES:-_COLUMNS_BYTES]) + _COLUMNS_BYTES
    for place in rng.choice(used, MUTATIONS).tolist():
        word, source = place & ~7, int(rng.choice(used)) & ~7
        old = int.from_bytes(data[word : word + 8], "little")
        kind = rng.integers(5)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            data[place] = 0
        elif kind == 3:
            data[word : word + 8] = struct.pack("<Q", (old + int(rng.choice([-16, -8, -1, 1, 8, 16]))) % 2**64)
        else:
            size = 8 * int(rng.integers(1, 6))
            data[word : word + size] = data[source : source + size]
    return bytes(data[: len(whole)])


def read_plainly(file: h5py.File, index: int) -> Values | None:
    """Values of an entry by h5py's high-level interface, without attributes; None if it cannot read them."""

    def numbers(item: Any) -> list[float]:
        values = item[()].ravel()
        return [float(file[v][()].ravel()[0]) for v in values] if item.dtype == h5py.ref_dtype else values.tolist()

    try:
        name, bbox = (file[file[f"digitStruct/{field}"][index, 0]] for field in ("name", "bbox"))
        text = "".join(map(chr, name[()].ravel()))
        rows = sorted(zip(*(numbers(bbox[field]) for field in FIELDS), strict=True), key=lambda row: row[1])
        boxes = tuple(BoundingBox(top, left, top + height, left + width) for _, left, top, width, height in rows)
        return text, tuple(int(row[0]) % 10 for row in rows), boxes
    except (*HDF5_ERRORS, AttributeError):
        return None


def read_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Annotation | None, Annotation, Values | None]]:
    """Each entry in bulk (None if it was left to the library), through the library, and plainly."""
    with monkeypatch.context() as patch:
        patch.setattr(digit_struct, "read_entry", lambda *arguments: None)
        in_bulk = list(read_annotations(path, "train", 0, ENTRIES))
    with h5py.File(path) as file:
        columns = [file[f"digitStruct/{field}"] for field in ("name", "bbox")]
        found: list[tuple[Annotation | None, Annotation, Values | None]] = []
        for index, ours in enumerate(in_bulk):
            theirs = read_entry(file, "train", index, [column[index, 0] for column in columns], "left")
            found.append((ours, theirs, read_plainly(file, index)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_mutated_entries_are_read_in_bulk_as_by_the_library_or_rejected_by_it(
    seed: int, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(mutate(whole, np.random.default_rng(seed)))
    found = read_both(path, monkeypatch)
    read = [(ours, theirs, plain) for ours, theirs, plain in found if ours is not None]
    assert ENTRIES / 5 < len(read) < ENTRIES
    for ours, theirs, plain in read:
        assert repr(ours) == repr(theirs) or (theirs.dead and theirs.dead.reason == "unreadable_entry")
        assert plain is None or repr(plain) == repr((ours.name, tuple(map(int, ours.text)), ours.boxes))


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_file_whose_tree_would_fill_the_library_s_stack_is_refused(nodes: int, whole: bytes, tmp_path: Path) -> None:
    data = bytearray(whole)
    places = [match.start() for match in re.finditer(rb"TREE\0\0\x01\0", whole)][:nodes]  # groups of one node
    for place, following in zip(places, [*places[1:], places[0]], strict=True):
        data[place + 5] = 1
        data[place + 32 : place + 40] = struct.pack("<Q", following - 512)
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(UserError, match=rf"is damaged: .* form a ring\. Received: tree at byte {places[0]}$"):
        count_entries(tmp_path / FILE_NAME)


def test_a_tree_of_many_levels_is_read(tmp_path: Path) -> None:
    boxes = [[DigitBox(1, 2, 3, 4, 5)] * 3] * 100
    write_digit_struct(tmp_path / FILE_NAME, [f"{n}.png" for n in range(100)], boxes)
    assert re.search(rb"TREE\0[\x01-\x07]", (tmp_path / FILE_NAME).read_bytes())
    assert count_entries(tmp_path / FILE_NAME) == 100
