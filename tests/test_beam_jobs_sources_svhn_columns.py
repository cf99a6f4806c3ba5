"""digitStruct.mat with one picture, with other variables, classes and fields, and with values in other files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.sources.svhn.digit_struct import FIELDS, FILE_NAME, count_entries, read_annotations
from tests.digit_structs import (
    BOXES,
    FOUR,
    ONE,
    Saver,
    both_ways,  # noqa: F401  # a fixture
    codes,
    read_all,
    reason_and_detail,
    save_two,
    saver,
    with_value,
)
from tfrecords.errors import UserError

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
    assert read_all(tmp_path / FILE_NAME) == [
        Annotation("train", "1.png", 0, "".join(map(str, digits)), BOXES[: len(digits)])
    ]
    assert list(read_annotations(tmp_path / FILE_NAME, "train", 1, 2)) == []


def test_a_struct_of_one_picture_with_its_name_in_a_cell_is_read(tmp_path: Path) -> None:
    with saver(tmp_path / FILE_NAME) as to:
        to.finish_one(np.array([to.name(codes("1.png"))], object), FOUR, h5py.ref_dtype)
    assert read_all(tmp_path / FILE_NAME) == [Annotation("train", "1.png", 0, "2749", BOXES)]


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
    assert good == Annotation("train", "2.png", 1, "2749", BOXES)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint16, np.int64, np.bool_])
@pytest.mark.usefixtures("both_ways")
def test_labels_of_every_numeric_class_are_read(dtype: Any, tmp_path: Path) -> None:
    path = save_two(tmp_path / FILE_NAME, FOUR | {"label": [np.array([1], dtype)] * 4})
    assert [annotation.text for annotation in read_all(path)] == ["1111", "2749"]


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
    assert good.text == "2749"


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
