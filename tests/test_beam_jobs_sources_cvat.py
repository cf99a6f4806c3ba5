"""CVAT for images 1.1 becomes annotations."""

from dataclasses import replace
from pathlib import Path

import pytest
from globox import AnnotationSet

from beam_jobs.sources import cvat, load_source, markup
from beam_jobs.sources.base import Input, SourceOptions
from tests.annotated import check_ranges, details, find, read, texts
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

WRITTEN = Path(__file__).parent / "written_by"


def box(label: str = "plate", text: str = "", at: int = 0, **values: str) -> str:
    """Returns a box, `at` pixels further to the right than the first."""
    edges = {"xtl": f"{at + 1}.00", "ytl": "2.00", "xbr": f"{at + 11}.50", "ybr": "22.25", **values}
    words = " ".join(f'{name}="{value}"' for name, value in edges.items())
    inside = f'<attribute name="text">{text}</attribute>' if text else ""
    return f'<box label="{label}" source="manual" occluded="0" {words} z_order="0">{inside}</box>'


def image(*shapes: str, name: str = "a.png", **values: str) -> str:
    """Returns an image."""
    words = " ".join(f'{key}="{value}"' for key, value in values.items())
    return f'<image id="0" name="{name}" {words} width="640" height="480">{"".join(shapes)}</image>'


def export(folder: Path, *images: str, name: str = "annotations.xml") -> Path:
    """Writes an export."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{"".join(images)}</annotations>', "utf-8")
    return path


def test_an_export_of_datumaro_reads_as_globox_reads_it() -> None:
    annotations = read("cvat", WRITTEN / "cvat")
    expected = []
    for name in ("test", "train"):
        for picture in AnnotationSet.from_cvat(WRITTEN / "cvat" / f"{name}.xml"):
            expected += [
                (f"{name}/{picture.image_id}", BoundingBox(b.ymin, b.xmin, b.ymax, b.xmax)) for b in picture.boxes
            ]
    assert [(each.picture, each.box) for each in annotations if not each.dead] == expected
    keys = {"test/a/1.png@1": "0042", "test/a/1.png@2": "7", "train/b 2.png": "12.5", "train/c.png": "(no_annotation)"}
    assert texts(annotations) == keys


def test_labels_that_are_characters_are_grouped_as_the_tool_has_them() -> None:
    annotations = read("cvat", WRITTEN / "cvat_labels")
    assert list(texts(annotations).values()) == ["0042", "7", "12.5", "(no_annotation)"]
    theirs = {
        BoundingBox(box.ymin, box.xmin, box.ymax, box.xmax)
        for name in ("test", "train")
        for picture in AnnotationSet.from_cvat(WRITTEN / "cvat_labels" / f"{name}.xml")
        for box in picture.boxes
    }
    assert {box for each in annotations for box in each.boxes} == theirs and len(theirs) == 9
    stored = read("cvat", WRITTEN / "cvat_labels", digit_order="stored")
    assert [each.text for each in stored] == ["2400", "7", "5.21", ""]


def test_boxes_without_a_group_are_grouped_by_geometry(tmp_path: Path) -> None:
    far = [box("8", at=400), box("seven", at=412)]
    (first, second) = read("cvat", export(tmp_path, image(*far, box("2", at=12), box("1"))))
    assert (first.text, second.text) == ("87", "12") and first.others and second.others
    grouped = [box("1", group_id="3"), box("2", at=12, group_id="4"), box("3", at=24, group_id="3")]
    (first, second) = read("cvat", export(tmp_path, image(*grouped)))
    assert (first.text, second.text) == ("13", "2")


def test_ranges_of_entries_are_all_entries() -> None:
    for subset in find("cvat", WRITTEN / "cvat"):
        cvat._parse.cache_clear()
        check_ranges("cvat", subset)


def test_an_attribute_is_chosen_by_name(tmp_path: Path) -> None:
    both = box(text="12").replace(
        "</box>", '<attribute name="number">34</attribute><attribute name="unit">l</attribute></box>'
    )
    path = export(tmp_path, image(both))
    assert [each.text for each in read("cvat", path, "number")] == ["34"]
    assert [each.text for each in read("cvat", path, "unit")] == ["l"]
    (detail,) = details(read("cvat", path))
    assert "--text-attribute chooses one of text, number. Received: 12, 34" in detail


def test_a_tag_is_the_number_of_a_picture_without_boxes(tmp_path: Path) -> None:
    tag = '<tag label="plate" source="manual"><attribute name="text">0012</attribute></tag>'
    digit = '<tag label="7" source="manual"></tag>'
    path = export(tmp_path, image(tag), image(digit, name="b.png"), image(digit, box(text="1"), name="c.png"))
    found = read("cvat", path)
    assert [(each.text, each.box is None) for each in found] == [("0012", True), ("7", True), ("1", False)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (image(box(text="1", rotation="359.30")), "rotated_box"),
        (image(box(text="1", rotation="much")), "bad_box"),
        (image(box(text="1", xtl="left")), "bad_box"),
        (image(box(text="1", xbr="nan")), "bad_box"),
        (image(box(text="1", ybr="1e300")), "bad_box"),
        (image(box(text="1", xbr="0.5")), "empty_box"),
        (image(box("1"), box("2", at=12, xbr="inf")), "bad_box"),
        (image(box()), "no_text"),
        (image(box(), box("1", at=40)), "unknown_class"),
        (image(box("1"), box("1")), "duplicate_box"),
        (image('<polygon label="plate" points="1,2;3,4;5,6"></polygon>'), "not_a_box"),
        (image('<points label="1" points="1,2"></points>'), "not_a_box"),
        (image(name=""), "bad_path"),
        (image(name="../a.png"), "bad_path"),
        (image(name="C:\\\\a.png"), "bad_path"),
        (image(box(text="5"), name="good.png"), "duplicate_picture"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter(tmp_path: Path, given: str, reason: str) -> None:
    first = reason == "duplicate_picture"
    good = image(box(text="5"), name="good.png")
    found = read("cvat", export(tmp_path, *([good, given] if first else [given, good])))
    assert f"({reason})" in [f"({each.dead.reason})" for each in found if each.dead]
    assert sum(each.text == "5" for each in found) == 1
    assert all("Received: " in detail for detail in details(found))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "The XML must be well formed. Received: no element found"),
        ("hello", "The XML must be well formed. Received: syntax error"),
        ("<annotations><image name='a.png'></annotations>", "The XML must be well formed. Received: mismatched tag"),
        ("<annotations><image name='a.png'>", "The XML must be well formed. Received: no element found"),
        ("<annotations></annotations>", "must be CVAT for images 1.1: <annotations> with <image> elements."),
        ("<annotations><track><box/></track></annotations>", "CVAT for video must be exported as CVAT for images 1.1."),
        ("<annotation><object/></annotation>", "--source voc reads Pascal VOC. Received: <annotation> with 0 images"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "XML must have no document type or entities."),
        ('<?xml version="1.0" encoding="utf-16"?><annotations/>', "The XML must be in UTF-8. Received: utf-16"),
        ("<annotations><image name='a.png' subset='my set'/></annotations>", "The name of a subset must be of letters"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: str, rule: str) -> None:
    (tmp_path / "annotations.xml").write_text(content)
    with pytest.raises(UserError) as error:
        read("cvat", tmp_path)
    assert rule in str(error.value) and "\n" not in str(error.value)


def test_a_document_type_is_found_across_the_pieces_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(tmp_path, image(box(text="1")))
    content = path.read_text()
    for size in (7, 50):
        monkeypatch.setattr(markup, "_CHUNK", size)
        cvat._parse.cache_clear()
        path.write_text(content)
        assert [each.text for each in read("cvat", path)] == ["1"]
        path.write_text(content.replace("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>'))
        with pytest.raises(UserError, match="no document type"):
            read("cvat", path)


def test_subsets_of_a_batch_are_read_apart_and_find_their_pictures(tmp_path: Path) -> None:
    one, two = image(box(text="1"), subset="Train"), image(box(text="2"), subset="Validation")
    export(tmp_path, one, two, image(box(text="3"), name="b.png"))
    for name in ("Train/a.png", "Validation/a.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    reader = load_source("cvat")
    found = {each.name: replace(each, name=f"2026-11@{each.name}") for each in find("cvat", tmp_path)}
    for name, expected in {"train": ["1", "3"], "validation": ["2"]}.items():
        annotations = list(reader.read_annotations(found[name], 0, 9, "left", SourceOptions()))
        assert [(each.picture, each.text) for each in annotations][:1] == [(f"2026-11@{name}/a.png", expected[0])]
        assert [each.text for each in annotations] == expected
        assert reader.read_picture(found[name], "a.png") == f"{name.title()}/a.png".encode()
    export(tmp_path, two)
    (only,) = (replace(each, name="2026-11") for each in find("cvat", tmp_path))
    assert reader.read_picture(only, "a.png") == b"Validation/a.png"


def test_subsets_are_those_of_images_files_or_folders(tmp_path: Path) -> None:
    one, two = image(box(text="1"), subset="Train"), image(box(text="2"), subset="Validation")
    path = export(tmp_path, one, two, image(box(text="3"), name="b.png"))
    expected = {"train/a.png": "1", "train/b.png": "3", "validation/a.png": "2"}
    assert texts(read("cvat", path)) == texts(read("cvat", tmp_path)) == expected
    assert texts(read("cvat", path, wanted=("Validation",))) == {"validation/a.png": "2"}
    folders = tmp_path / "folders"
    for name in ("Train", "Test"):
        (folders / name).mkdir(parents=True)
        export(folders / name, image(box(text="1")))
    assert texts(read("cvat", folders)) == {"train/a.png": "1", "test/a.png": "1"}
    found = find("cvat", folders, wanted=("test",))
    unread = load_source("cvat").unread(Input(Place(folders)), found, SourceOptions())
    assert unread == (str(folders / "Train" / "annotations.xml"),)
    renamed = read("cvat", folders / "Train", wanted=("night",))
    assert texts(renamed) == {"night/a.png": "1"}
    export(tmp_path, two, name="more.xml")
    with pytest.raises(UserError, match="The images of the subset validation must be in one file"):
        read("cvat", tmp_path)
    with pytest.raises(UserError, match=r"The input must be annotations\.xml"):
        read("cvat", WRITTEN)


def test_pictures_are_in_the_folder_of_images_or_where_the_user_says(tmp_path: Path) -> None:
    path = export(tmp_path, image(box(text="1"), name="c/a.png", subset="Train"))
    reader = load_source("cvat")
    (subset,) = find("cvat", path)
    with pytest.raises(FileNotFoundError):
        reader.read_picture(subset, "c/a.png")
    for place in ("c/a.png", "images/Train/c/a.png", "images/c/a.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(place)
        assert reader.read_picture(subset, "c/a.png") == place.encode()
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_text("media")
    (subset,) = find("cvat", path, media=tmp_path / "media")
    assert reader.read_picture(subset, "c/a.png") == b"media"
