"""digitStruct.mat: read back by plain h5py, and object by object against SVHN's own."""

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tests.real_data import data_folder

Entry = tuple[str, tuple[DigitBox, ...]]

ENTRIES: list[Entry] = [
    ("1.png", (DigitBox(1, 246, 77, 81, 219), DigitBox(9, 323, 81, 96, 219))),
    ("2.png", (DigitBox(10, 5, 6, 7, 8),)),
    ("13068.png", tuple(DigitBox(label, 10 * label, 2, 9, 20) for label in (10, 1, 2, 3, 4))),
]


def write(path: Path, entries: list[Entry]) -> None:
    write_digit_struct(path, [name for name, _ in entries], (boxes for _, boxes in entries))


def read(path: Path) -> list[Entry]:
    """Entries by h5py's high-level interface alone, as the published readers do it."""
    with h5py.File(path) as file:
        struct = file["digitStruct"]
        return [
            ("".join(map(chr, file[name][:, 0])), read_boxes(file, file[bbox]))
            for name, bbox in zip(struct["name"][:, 0], struct["bbox"][:, 0], strict=True)
        ]


def read_boxes(file: h5py.File, group: h5py.Group) -> tuple[DigitBox, ...]:
    columns = []
    for field in DigitBox._fields:
        values = group[field]
        columns.append([file[ref][0, 0] for ref in values[:, 0]] if len(values) > 1 else [values[0, 0]])
    return tuple(DigitBox(*row) for row in zip(*columns, strict=True))


def describe(path: Path) -> dict[str, list[Any]]:
    """Every object of a file: type, shape, layout, attributes, what it refers to."""
    objects: dict[str, list[Any]] = {}
    with h5py.File(path) as file:

        def visit(name: str, item: Any) -> None:
            attributes = {
                key: [b"".join(word) for word in value] if key == "MATLAB_fields" else value
                for key, value in item.attrs.items()
            }
            objects[name] = [type(item).__name__, attributes, list(item.attrs)]
            if isinstance(item, h5py.Dataset):
                layout = item.id.get_create_plist().get_layout()
                values = item[()]
                if item.dtype == h5py.ref_dtype:
                    values = np.array([[h5py.h5r.get_name(ref, file.id) for ref in row] for row in values])
                objects[name] += [item.shape, item.maxshape, item.dtype.str, layout, values.tolist()]

        file.visititems(visit)
    return objects


@pytest.mark.parametrize("count", [1, 2, 3])
def test_entries_are_read_back_as_they_were_written(tmp_path: Path, count: int) -> None:
    write(tmp_path / "digitStruct.mat", ENTRIES[:count])
    assert read(tmp_path / "digitStruct.mat") == ENTRIES[:count]


def test_a_single_digit_is_a_float_and_several_are_references(tmp_path: Path) -> None:
    write(tmp_path / "digitStruct.mat", ENTRIES)
    with h5py.File(tmp_path / "digitStruct.mat") as file:
        several, single = (file[ref] for ref in file["digitStruct/bbox"][:2, 0])
        assert several["left"].shape == (2, 1) and several["left"].dtype == h5py.ref_dtype
        assert single["left"].shape == (1, 1) and single["left"].dtype == np.float64
        assert file[several["left"][0, 0]].dtype == np.float64


def test_the_user_block_is_matlab_s_without_a_date(tmp_path: Path) -> None:
    write(tmp_path / "digitStruct.mat", ENTRIES)
    raw = (tmp_path / "digitStruct.mat").read_bytes()
    assert raw.startswith(b"MATLAB 7.3 MAT-file, Platform: ")
    assert b"Created on" not in raw[:512]
    assert raw[116:128] == bytes(8) + b"\x00\x02IM"
    assert raw[128:512] == bytes(384)
    assert raw[512:521] == b"\x89HDF\r\n\x1a\n\x00"  # superblock version 0


def test_equal_entries_give_equal_bytes_at_another_time(tmp_path: Path) -> None:
    write(tmp_path / "one.mat", ENTRIES)
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    write(tmp_path / "other.mat", ENTRIES)
    assert (tmp_path / "one.mat").read_bytes() == (tmp_path / "other.mat").read_bytes()


def test_svhn_s_own_file_written_again_has_equal_objects(tmp_path: Path) -> None:
    genuine = data_folder() / "svhn_sample" / "train" / "digitStruct.mat"
    write(tmp_path / "digitStruct.mat", read(genuine))
    ours, theirs = describe(tmp_path / "digitStruct.mat"), describe(genuine)
    assert list(ours) == list(theirs)
    for name in theirs:
        assert ours[name] == theirs[name], name


def test_columns_too_long_for_compact_storage_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_jobs.sources.svhn.write._COMPACT_LIMIT_BYTES", 20)
    write(tmp_path / "digitStruct.mat", ENTRIES)
    assert read(tmp_path / "digitStruct.mat") == ENTRIES
    with h5py.File(tmp_path / "digitStruct.mat") as file:
        assert file["digitStruct/name"].id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS


def test_no_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs at least one entry\. Received: \[\]"):
        write(tmp_path / "digitStruct.mat", [])
    assert not (tmp_path / "digitStruct.mat").exists()


def test_fewer_boxes_than_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_digit_struct(tmp_path / "digitStruct.mat", ["1.png", "2.png"], [ENTRIES[0][1]])


@pytest.mark.parametrize("boxes", [(), (DigitBox(0, 1, 1, 1, 1),)], ids=["no digit", "label 0"])
def test_an_entry_without_digits_or_with_a_label_outside_1_to_10_is_refused(
    tmp_path: Path, boxes: tuple[DigitBox, ...]
) -> None:
    with pytest.raises(ValueError, match=r"labels 1\.\.10\. Received: 1\.png: "):
        write(tmp_path / "digitStruct.mat", [("1.png", boxes)])
