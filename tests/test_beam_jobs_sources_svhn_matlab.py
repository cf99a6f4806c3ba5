"""digitStruct.mat as MATLAB's users have it: empty values, several values, padded names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import Annotation
from beam_jobs.sources.svhn.digit_struct import FIELDS, FILE_NAME
from tests.digit_structs import (
    BOXES,
    FOUR,
    ONE,
    Saver,
    both_ways,  # noqa: F401  # a fixture
    codes,
    read_all,
    reason_and_detail,
    save_as_matlab,
    save_two,
    saver,
    with_value,
)
from tfrecords.cli import main


def mark_empty(path: Path, value: int = 1) -> None:
    """Marks the label of the second digit of the first entry as empty; its 8 bytes of floating point number stay."""
    with h5py.File(path, "r+") as file:
        label = file[file["digitStruct/bbox"][0, 0]]["label"]
        file[label[1, 0]].attrs["MATLAB_empty"] = np.uint8(value)


# --- one value for each digit ------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["compact", "contiguous"])
@pytest.mark.parametrize("fields", [FOUR, ONE], ids=["several digits", "one digit"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.usefixtures("both_ways")
def test_an_empty_value_is_no_value(field: str, fields: dict[str, list[Any]], layout: str, tmp_path: Path) -> None:
    digit = len(fields[field]) // 2
    bad, good = read_all(save_two(tmp_path / FILE_NAME, with_value(fields, field, digit, None), layout))
    reason, detail = reason_and_detail(bad)
    assert reason == "no_value"
    assert detail.startswith("train/1.png: Every field must have a value for each digit. Received: ")
    assert detail.endswith(f"no {field} of digit {digit + 1}") or f"'{field}': 0" in detail
    assert (bad.text, good.text, good.boxes) == ("", "2749", BOXES)


@pytest.mark.usefixtures("both_ways")
def test_a_picture_of_which_all_labels_are_empty_has_no_value(tmp_path: Path) -> None:
    bad, good = read_all(save_two(tmp_path / FILE_NAME, FOUR | {"label": [None] * 4}))
    assert reason_and_detail(bad)[0] == "no_value" and good.dead is None


@pytest.mark.usefixtures("both_ways")
def test_a_value_of_a_number_s_type_is_empty_if_it_is_marked_so(tmp_path: Path) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, [("1.png", list(zip(*(FOUR[f] for f in FIELDS), strict=True)))] * 2)
    mark_empty(path)
    bad, good = read_all(path)
    assert reason_and_detail(bad)[0] == "no_value" and good.text == "2749"


@pytest.mark.usefixtures("both_ways")
def test_a_value_that_is_marked_as_not_empty_is_read(tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR)
    mark_empty(path, 0)
    assert [annotation.text for annotation in read_all(path)] == ["2749"] * 2


NO_VALUES: dict[str, Callable[[Saver], Any]] = {
    "an array of HDF5 without elements": lambda to: to.array(to.refs, "odd", [], np.float64),
    "an array of HDF5 without a space": lambda to: to.refs.create_dataset("odd", data=h5py.Empty("f8")),
    "an empty cell": lambda to: to.empty(to.refs, "odd", "cell"),
    "an empty string": lambda to: to.empty(to.refs, "odd", "char"),
}


@pytest.mark.parametrize("make", NO_VALUES.values(), ids=NO_VALUES)
@pytest.mark.usefixtures("both_ways")
def test_other_empty_arrays_are_no_value(make: Callable[[Saver], Any], tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        box = to.bbox(FOUR)
        odd = make(to)
        label = to.file[box]["label"]
        label[1, 0] = odd.ref
        to.finish([to.name(codes("1.png"))] * 2, [box, to.bbox(ONE)])
    bad, good = read_all(tmp_path / FILE_NAME)
    assert reason_and_detail(bad)[0] == "no_value" and good.text == "2"


@pytest.mark.parametrize("layout", ["compact", "contiguous"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.usefixtures("both_ways")
def test_several_values_of_one_digit_are_uneven_fields(field: str, layout: str, tmp_path: Path) -> None:
    bad, good = read_all(save_two(tmp_path / FILE_NAME, with_value(FOUR, field, 2, [2, 7]), layout))
    detail = f"train/1.png: Every field must have one value for each digit. Received: 2 values as {field} of digit 3"
    assert reason_and_detail(bad) == ("uneven_fields", detail)
    assert good.text == "2749"


@pytest.mark.usefixtures("both_ways")
def test_several_labels_of_the_only_digit_are_uneven_fields(tmp_path: Path) -> None:
    bad, _ = read_all(save_two(tmp_path / FILE_NAME, with_value(ONE, "label", 0, [2, 7])))
    assert reason_and_detail(bad)[0] == "uneven_fields"


@pytest.mark.usefixtures("both_ways")
def test_an_empty_bbox_has_no_digits(tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        boxes = [to.empty(to.refs, "none", "struct").ref, to.bbox({field: [None] for field in FIELDS}), to.bbox(FOUR)]
        to.finish([to.name(codes(f"{n}.png")) for n in (1, 2, 3)], boxes)
    *bad, good = read_all(tmp_path / FILE_NAME)
    assert [reason_and_detail(annotation) for annotation in bad] == [
        ("no_digits", f"train/{n}.png: A picture must have at least one digit. Received: 0") for n in (1, 2)
    ]
    assert good.text == "2749"


# --- other readers -----------------------------------------------------------------------------


def save_with_empty_values(path: Path) -> Path:
    with saver(path) as to:
        fields = [FOUR, with_value(FOUR, "label", 1, None), with_value(FOUR, "left", 3, None), ONE]
        boxes = [to.bbox(values) for values in fields]
        for item in (*to.refs.values(), *(item for box in boxes for item in to.file[box].values())):
            if isinstance(item, h5py.Dataset) and item.dtype == np.float64:
                item.attrs["MATLAB_class"] = np.bytes_("double")
        names = [to.name(codes(f"{n}.png")) for n in range(1, 5)]
        for name in names:
            to.file[name].attrs["MATLAB_class"] = np.bytes_("char")
        to.finish(names, boxes)
    return path


def labels_by_h5py(path: Path) -> list[list[float | None]]:
    """Labels of each picture; None for MATLAB's [], as its documentation of version 7.3 has it, and nothing of ours."""

    def values(item: Any) -> list[float | None]:
        return [None] if item.attrs.get("MATLAB_empty") else item[()].ravel().tolist()

    found = []
    with h5py.File(path) as file:
        for box in file["digitStruct/bbox"][:, 0]:
            label = file[box]["label"]
            leaves = [file[ref] for ref in label[:, 0]] if label.dtype == h5py.ref_dtype else [label]
            found.append([value for leaf in leaves for value in values(leaf)])
    return found


def test_a_picture_is_accepted_if_an_independent_reading_finds_all_labels(tmp_path: Path) -> None:
    path = save_with_empty_values(tmp_path / FILE_NAME)
    theirs = labels_by_h5py(path)
    assert theirs == [[2, 7, 4, 9], [2, None, 4, 9], [2, 7, 4, 9], [2]]
    ours = read_all(path)
    assert [[int(digit) for digit in a.text] for a in ours if not a.dead] == [theirs[0], theirs[3]]
    assert [a.dead and a.dead.reason for a in ours] == [None, "no_value", "no_value", None]


def test_mat73_finds_the_same_labels_and_none_where_there_is_no_value(tmp_path: Path) -> None:
    mat73 = pytest.importorskip("mat73")
    path = save_with_empty_values(tmp_path / FILE_NAME)
    struct = mat73.loadmat(str(path))["digitStruct"]
    assert struct["name"] == [annotation.name for annotation in read_all(path)]
    labels = [box["label"] if isinstance(box["label"], list) else [box["label"]] for box in struct["bbox"]]
    assert labels == labels_by_h5py(path)


# --- names -------------------------------------------------------------------------------------

PADDED: dict[str, tuple[str, Any]] = {
    "zeros, 16 bits": ("1.png\0\0\0", np.uint16),
    "zeros, 32 bits": ("1.png\0\0\0", np.uint32),
    "zeros, 8 bits": ("1.png\0", np.uint8),
    "blanks": ("1.png    ", np.uint16),
    "blanks, then zeros": ("1.png  \0\0", np.uint16),
}


@pytest.mark.parametrize(("name", "dtype"), PADDED.values(), ids=PADDED)
@pytest.mark.usefixtures("both_ways")
def test_padding_is_no_part_of_a_name(name: str, dtype: Any, tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([to.name(codes(name), dtype)], [to.bbox(FOUR)])
    assert read_all(tmp_path / FILE_NAME) == [Annotation("train", "1.png", 0, "2749", BOXES)]


@pytest.mark.usefixtures("both_ways")
def test_blanks_stay_where_a_picture_has_them_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "1.png ").touch()
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([to.name(codes("1.png ")), to.name(codes("1.png  "))], [to.bbox(FOUR)] * 2)
    assert [annotation.name for annotation in read_all(tmp_path / FILE_NAME)] == ["1.png ", "1.png"]


@pytest.mark.usefixtures("both_ways")
def test_blanks_inside_and_before_a_name_stay(tmp_path: Path) -> None:
    names = [" 1.png", "a 1.png"]
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([to.name(codes(name)) for name in names], [to.bbox(FOUR)] * 2)
    assert [annotation.name for annotation in read_all(tmp_path / FILE_NAME)] == names


@pytest.mark.usefixtures("both_ways")
def test_several_names_of_one_picture_are_a_bad_name(tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        rows = np.array([codes("1.png"), codes("2.png")], np.uint16).T  # MATLAB's ['1.png'; '2.png']
        to.finish([to.name(rows), to.name(codes("3.png"))], [to.bbox(FOUR)] * 2)
    bad, good = read_all(tmp_path / FILE_NAME)
    detail = "digitStruct.mat: entry 1: A picture must have one name. Received: letters in 5 x 2"
    assert reason_and_detail(bad) == ("bad_name", detail) and good.name == "3.png"


@pytest.mark.parametrize("dtype", ["S9", h5py.string_dtype(), h5py.string_dtype(length=20)])
def test_names_as_text_of_hdf5_are_read(dtype: Any, tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME, "contiguous") as to:
        name = to.refs.create_dataset("text", data="Straße.png".encode() if dtype != "S9" else b"1.png", dtype=dtype)
        to.finish([name.ref], [to.bbox(FOUR)])
    assert read_all(tmp_path / FILE_NAME)[0].name == ("1.png" if dtype == "S9" else "Straße.png")


@pytest.mark.usefixtures("both_ways")
def test_an_empty_name_is_no_value(tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([to.empty(to.refs, "none", "char").ref, to.name(codes("2.png"))], [to.bbox(FOUR)] * 2)
    bad, good = read_all(tmp_path / FILE_NAME)
    detail = "digitStruct.mat: entry 1: A picture must have a name. Received: []"
    assert (bad.name, reason_and_detail(bad)) == ("#1", ("no_value", detail))
    assert good.dead is None


# --- end to end --------------------------------------------------------------------------------


def test_a_prepared_dataset_has_the_padded_name_and_counts_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    with saver(folder / FILE_NAME) as to:
        boxes = [FOUR, with_value(FOUR, "label", 1, None), with_value(FOUR, "left", 0, [1, 2])]
        names = [to.name(codes(f"{n}.png  \0")) for n in (1, 2, 3, 4)]
        to.finish(names, [*map(to.bbox, boxes), to.empty(to.refs, "none", "struct").ref])
    for n in (1, 2, 3, 4):
        Image.new("RGB", (64, 32), (90, 80, 70)).save(folder / f"{n}.png")
    argv = ["prepare", "--source", "svhn", "--input", str(folder), "--output", str(tmp_path / "records")]
    options = ["--test-fraction", "0", "--validation-fraction", "0", "--jitters", "0", "--max-dead-fraction", "1"]
    assert main("beam_jobs", "", COMMANDS, [*argv, *options]) == 0
    examples = tfrecords.open(tmp_path / "records", "train")
    assert [(example.key, example.text) for example in examples] == [("photos/1.png#0", "2749")]
    letters = [json.loads(line) for line in (tmp_path / "records" / "dead_letters.jsonl").read_text().splitlines()]
    assert [(letter["key"], letter["reason"]) for letter in letters] == [
        ("photos/2.png", "no_value"),
        ("photos/3.png", "uneven_fields"),
        ("photos/4.png", "no_digits"),
    ]
