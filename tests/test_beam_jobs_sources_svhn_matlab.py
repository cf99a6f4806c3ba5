"""digitStruct.mat as MATLAB's users have it: empty values, several values, padded names, other classes and fields."""

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
from beam_jobs.sources.svhn.digit_struct import FIELDS, FILE_NAME, count_entries, read_annotations
from tests.digit_structs import Saver, codes, columns_of, only_h5py, save_as_matlab, saver
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

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
    assert (bad.digits, good.digits, good.boxes) == ((), (2, 7, 4, 9), BOXES)


@pytest.mark.usefixtures("both_ways")
def test_a_picture_of_which_all_labels_are_empty_has_no_value(tmp_path: Path) -> None:
    bad, good = read_all(save_two(tmp_path / FILE_NAME, FOUR | {"label": [None] * 4}))
    assert reason_and_detail(bad)[0] == "no_value" and good.dead is None


@pytest.mark.usefixtures("both_ways")
def test_a_value_of_a_number_s_type_is_empty_if_it_is_marked_so(tmp_path: Path) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, [("1.png", list(zip(*(FOUR[f] for f in FIELDS), strict=True)))] * 2)
    mark_empty(path)
    bad, good = read_all(path)
    assert reason_and_detail(bad)[0] == "no_value" and good.digits == (2, 7, 4, 9)


@pytest.mark.usefixtures("both_ways")
def test_a_value_that_is_marked_as_not_empty_is_read(tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR)
    mark_empty(path, 0)
    assert [annotation.digits for annotation in read_all(path)] == [(2, 7, 4, 9)] * 2


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
    assert reason_and_detail(bad)[0] == "no_value" and good.digits == (2,)


@pytest.mark.parametrize("layout", ["compact", "contiguous"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.usefixtures("both_ways")
def test_several_values_of_one_digit_are_uneven_fields(field: str, layout: str, tmp_path: Path) -> None:
    bad, good = read_all(save_two(tmp_path / FILE_NAME, with_value(FOUR, field, 2, [2, 7]), layout))
    detail = f"train/1.png: Every field must have one value for each digit. Received: 2 values as {field} of digit 3"
    assert reason_and_detail(bad) == ("uneven_fields", detail)
    assert good.digits == (2, 7, 4, 9)


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
    assert good.digits == (2, 7, 4, 9)


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
    assert [list(a.digits) for a in ours if not a.dead] == [theirs[0], theirs[3]]
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
    assert read_all(tmp_path / FILE_NAME) == [Annotation("train", "1.png", 0, (2, 7, 4, 9), BOXES)]


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


# --- one picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["compact", "contiguous"])
@pytest.mark.parametrize(("fields", "digits"), [(FOUR, (2, 7, 4, 9)), (ONE, (2,))], ids=["several digits", "one digit"])
@pytest.mark.usefixtures("both_ways")
def test_a_struct_of_one_picture_is_read(
    fields: dict[str, list[Any]], digits: tuple[int, ...], layout: str, tmp_path: Path
) -> None:
    with saver(tmp_path / FILE_NAME, layout) as to:
        to.finish_one(codes("1.png"), fields)
    assert count_entries(tmp_path / FILE_NAME) == 1
    assert read_all(tmp_path / FILE_NAME) == [Annotation("train", "1.png", 0, digits, BOXES[: len(digits)])]
    assert list(read_annotations(tmp_path / FILE_NAME, "train", 1, 2)) == []


def test_a_struct_of_one_picture_with_its_name_in_a_cell_is_read(tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish_one(np.array([to.name(codes("1.png"))], object), FOUR, h5py.ref_dtype)
    assert read_all(tmp_path / FILE_NAME) == [Annotation("train", "1.png", 0, (2, 7, 4, 9), BOXES)]


def test_a_struct_of_one_picture_without_digits_or_with_an_empty_label_is_rejected(tmp_path: Path) -> None:
    for boxes, reason in ((None, "no_digits"), (with_value(FOUR, "label", 0, None), "no_value")):
        with saver(tmp_path / FILE_NAME) as to:
            to.finish_one(codes("1.png"), boxes)
        (bad,) = read_all(tmp_path / FILE_NAME)
        assert (bad.name, reason_and_detail(bad)[0]) == ("1.png", reason)


# --- other classes, fields and variables -------------------------------------------------------


def handle(to: Saver, cls: str) -> h5py.Dataset:
    """An object of a class that MATLAB stores as a handle."""
    dataset = to.array(to.refs, to.next_name(), [3707764736, 2, 1, 1, to.count, 1], np.uint32)
    dataset.attrs["MATLAB_class"], dataset.attrs["MATLAB_object_decode"] = np.bytes_(cls), np.int32(3)
    return dataset


def char(to: Saver, text: str) -> h5py.Reference:
    dataset = to.array(to.refs, to.next_name(), codes(text), np.uint16)
    dataset.attrs["MATLAB_class"] = np.bytes_("char")
    return dataset.ref


def complex_number(to: Saver) -> h5py.Reference:
    dataset = to.refs.create_dataset(to.next_name(), data=np.array([(7, 1)], [("real", "<f8"), ("imag", "<f8")]))
    dataset.attrs["MATLAB_class"] = np.bytes_("double")
    return dataset.ref


def cell(to: Saver, *content: h5py.Reference) -> h5py.Reference:
    dataset = to.array(to.refs, to.next_name(), np.array(content, object), h5py.ref_dtype)
    dataset.attrs["MATLAB_class"] = np.bytes_("cell")
    return dataset.ref


def with_label(to: Saver, leaf: h5py.Reference) -> h5py.Reference:
    """A bbox with another label of its second digit."""
    box = to.bbox(FOUR)
    label = to.file[box]["label"]
    label[1, 0] = leaf
    return box


def renamed(to: Saver, *fields: str) -> h5py.Reference:
    return to.bbox(dict.fromkeys(fields, FOUR["label"]))


OTHER_SCHEMAS: dict[str, tuple[Callable[[Saver], Any], Callable[[Saver], Any], str]] = {
    "names that are strings": (
        lambda to: handle(to, "string").ref,
        lambda to: to.bbox(FOUR),
        "digitStruct.mat: entry 1: MATLAB's class of a name must be char. Received: string",
    ),
    "names that are categorical": (
        lambda to: handle(to, "categorical").ref,
        lambda to: to.bbox(FOUR),
        "digitStruct.mat: entry 1: MATLAB's class of a name must be char. Received: categorical",
    ),
    "boxes that are tables": (
        lambda to: char(to, "1.png"),
        lambda to: handle(to, "table").ref,
        "1.png: MATLAB's class of a bbox must be struct. Received: table",
    ),
    "labels that are strings": (
        lambda to: char(to, "1.png"),
        lambda to: with_label(to, handle(to, "string").ref),
        "1.png: MATLAB's class of a label must be numeric. Received: string",
    ),
    "labels that are letters": (
        lambda to: char(to, "1.png"),
        lambda to: with_label(to, char(to, "\5")),
        "1.png: MATLAB's class of a label must be numeric. Received: char",
    ),
    "labels that are complex": (
        lambda to: char(to, "1.png"),
        lambda to: with_label(to, complex_number(to)),
        "1.png: MATLAB's class of a label must be numeric. Received: complex double",
    ),
    "boxes that are cells": (
        lambda to: char(to, "1.png"),
        lambda to: cell(to, to.bbox(FOUR)),
        "1.png: MATLAB's class of a bbox must be struct. Received: cell",
    ),
    "boxes of other fields": (
        lambda to: char(to, "1.png"),
        lambda to: renamed(to, "digit1", "digit2"),
        "1.png: A bbox must have the fields label, left, top, width, height. Received: digit1, digit2",
    ),
    "boxes of fields in capitals": (
        lambda to: char(to, "1.png"),
        lambda to: renamed(to, *map(str.title, FIELDS)),
        "1.png: A bbox must have the fields label, left, top, width, height. Received: Height, Label, Left, Top, Width",
    ),
}


@pytest.mark.parametrize(("name", "bbox", "text"), OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS)
@pytest.mark.usefixtures("both_ways")
def test_a_file_of_other_classes_or_fields_is_refused_in_one_line(
    name: Callable[[Saver], Any], bbox: Callable[[Saver], Any], text: str, tmp_path: Path
) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([name(to) for _ in range(12)], [bbox(to) for _ in range(12)])
    with pytest.raises(UserError) as caught:
        count_entries(tmp_path / FILE_NAME)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / FILE_NAME} has other classes or fields than SVHN's file. ")
    assert message.endswith(text) and "\n" not in message


@pytest.mark.parametrize(("name", "bbox", "text"), OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS)
@pytest.mark.usefixtures("both_ways")
def test_an_entry_of_other_classes_or_fields_among_good_ones_is_rejected(
    name: Callable[[Saver], Any], bbox: Callable[[Saver], Any], text: str, tmp_path: Path
) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish([name(to), to.name(codes("2.png"))], [bbox(to), to.bbox(FOUR)])
    bad, good = read_all(tmp_path / FILE_NAME)
    reason, detail = reason_and_detail(bad)
    assert reason == ("wrong_fields" if "the fields" in text else "wrong_class") and detail.endswith(text)
    assert good == Annotation("train", "2.png", 1, (2, 7, 4, 9), BOXES)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint16, np.int64, np.bool_])
@pytest.mark.usefixtures("both_ways")
def test_labels_of_every_numeric_class_are_read(dtype: Any, tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR | {"label": [np.array([1], dtype)] * 4})
    assert [annotation.digits for annotation in read_all(path)] == [(1, 1, 1, 1), (2, 7, 4, 9)]


def make_other_variables(file: h5py.File) -> None:
    file.create_group("#refs#")
    file.create_group("annotations").attrs["MATLAB_class"] = np.bytes_("struct")
    file["annotations/boxes"], file["annotations/file"] = np.zeros(3), np.zeros(3)
    file["x"] = np.zeros((3, 2))
    file["x"].attrs["MATLAB_class"] = np.bytes_("double")


def make_other_fields(file: h5py.File) -> None:
    file["digitStruct/filename"], file["digitStruct/boxes"] = np.zeros(3), np.zeros(3)


def make_empty_struct(file: h5py.File) -> None:
    Saver(file).empty(file, "digitStruct", "struct")


def make_cell(file: h5py.File) -> None:
    file.create_dataset("digitStruct", (2, 1), h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")


def make_table_of_numbers(file: h5py.File) -> None:
    file["digitStruct/name"], file["digitStruct/bbox"] = np.zeros((5, 1)), np.zeros((5, 4), "u1")


def make_uneven_columns(file: h5py.File) -> None:
    for length, field in enumerate(("name", "bbox"), 1):
        file.create_dataset(f"digitStruct/{field}", (length, 1), h5py.ref_dtype)


OTHER_FILES: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "other variables": (make_other_variables, "annotations (struct of boxes, file), x (double, 3x2)"),
    "no variable": (lambda file: None, "nothing"),
    "many variables": (
        lambda file: [file.create_group(f"v{n:02}") for n in range(11)],
        ", ".join(f"v{n:02} (group of nothing)" for n in range(10)) + ", ...",
    ),
    "a cell of structs": (make_cell, "digitStruct (cell, 2x1)"),
    "other fields": (make_other_fields, "digitStruct (group of boxes, filename)"),
    "a struct without entries": (make_empty_struct, "digitStruct (struct, empty)"),
    "columns of numbers": (make_table_of_numbers, "bbox (uint8, 5x4), name (float64, 5x1)"),
    "columns of unequal length": (make_uneven_columns, "bbox (references, 2x1), name (references, 1x1)"),
}


@pytest.mark.parametrize(("make", "received"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_of_other_variables_is_refused_with_their_names_and_classes(
    make: Callable[[h5py.File], object], received: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w") as file:
        make(file)
    with pytest.raises(UserError) as caught:
        count_entries(tmp_path / FILE_NAME)
    assert str(caught.value).startswith(f"{tmp_path / FILE_NAME} must hold digitStruct/name and digitStruct/bbox, ")
    assert str(caught.value).endswith(f"of one picture. Received: {received}")


# --- other files -------------------------------------------------------------------------------


def put_link(group: h5py.Group, field: str, folder: Path) -> None:
    del group[field]
    group[field] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def put_soft_link(group: h5py.Group, field: str, folder: Path) -> None:
    group["other"] = group[field]
    del group[field]
    group[field] = h5py.SoftLink("other")


def put_external_values(group: h5py.Group, field: str, folder: Path) -> None:
    (folder / "other.bin").write_bytes(np.full(4, 55.0).tobytes())
    del group[field]
    group.create_dataset(field, (4, 1), np.float64, external=[(str(folder / "other.bin"), 0, 32)])


def put_virtual_values(group: h5py.Group, field: str, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.full((4, 1), 55.0)
    layout = h5py.VirtualLayout((4, 1), np.float64)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4, 1))
    del group[field]
    group.create_virtual_dataset(field, layout)


ELSEWHERE = [put_link, put_soft_link, put_external_values, put_virtual_values]


@pytest.mark.parametrize("put", ELSEWHERE)
def test_values_in_another_file_are_not_read(put: Callable[[h5py.Group, str, Path], None], tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR, "contiguous")
    with h5py.File(path, "r+") as file:
        put(file[file["digitStruct/bbox"][0, 0]], "left", tmp_path)
    bad, good = read_all(path)
    reason, detail = reason_and_detail(bad)
    assert reason == "unreadable_entry" and detail.endswith(("not a link", "not in another file"))
    assert good.digits == (2, 7, 4, 9)


@pytest.mark.parametrize("put", [put_link, put_soft_link])
@pytest.mark.parametrize("place", ["digitStruct", "digitStruct/name", "digitStruct/bbox"])
def test_variables_that_are_links_are_refused_and_not_followed(
    put: Callable[[h5py.Group, str, Path], None], place: str, tmp_path: Path
) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR)
    with h5py.File(path, "r+") as file:
        put(file[place].parent, place.rpartition("/")[2], tmp_path)
    with pytest.raises(
        UserError, match=rf"must hold digitStruct/name .* Received: .*{place.rpartition('/')[2]} \(link\)"
    ):
        count_entries(path)


def test_columns_in_another_file_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w") as file:
        for field in ("name", "bbox"):
            file.create_dataset(f"digitStruct/{field}", (1, 1), np.uint8, external=[("/dev/zero", 0, 1)])
    with pytest.raises(UserError, match=r"cannot be read: it is damaged\. .* not in another file$"):
        count_entries(tmp_path / FILE_NAME)


@pytest.mark.usefixtures("both_ways")
def test_attributes_without_a_value_mark_nothing(tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR)
    with h5py.File(path, "r+") as file:
        for item in (file[file["digitStruct/name"][0, 0]], file[file["digitStruct/bbox"][0, 0]]["label"]):
            item.attrs["MATLAB_empty"], item.attrs["MATLAB_class"] = h5py.Empty("u1"), h5py.Empty("S4")
    assert [annotation.name for annotation in read_all(path) if not annotation.dead] == ["1.png", "2.png"]


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
