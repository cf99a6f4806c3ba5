"""Pascal VOC becomes annotations."""

import shutil
from pathlib import Path

import pytest
from globox import AnnotationSet

from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.voc import source as module
from tests.annotated import check_ranges, details, find, read, texts
from tfrecords.errors import UserError
from tfrecords.files.place import Place

WRITTEN = Path(__file__).parent / "written_by"


def item(name: str, at: float = 0, inside: str = "", **edges: str) -> str:
    """Returns an object, `at` pixels further to the right than the first."""
    values = {"xmin": f"{at + 1}", "ymin": "2", "xmax": f"{at + 11.5}", "ymax": "22", **edges}
    box = "".join(f"<{key}>{value}</{key}>" for key, value in values.items())
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox>{inside}</object>"


def texted(text: str, name: str = "text") -> str:
    """Returns CVAT's way to write an attribute."""
    return f"<attributes><attribute><name>{name}</name><value>{text}</value></attribute></attributes>"


def save(path: Path, *items: str, filename: str | None = None, head: str = "", encoding: str = "utf-8") -> Path:
    """Writes an XML file of the objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = path.with_suffix(".jpg").name if filename is None else filename
    content = f"{head}<annotation><folder>x</folder><filename>{named}</filename>{''.join(items)}</annotation>"
    path.write_text(content, encoding)
    return path


def draw(folder: Path, *names: str) -> None:
    """Makes files with the names of pictures."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Returns a development kit as CVAT exports it, written by datumaro, with pictures."""
    for name in ("voc", "voc_text"):
        shutil.copytree(WRITTEN / name, tmp_path / name)
        draw(tmp_path / name / "JPEGImages", "a/1.png", "b 2.png", "c.png")
    return tmp_path


@pytest.mark.parametrize("name", ["voc", "voc_text"])
def test_an_export_of_datumaro_reads_as_globox_reads_it(kit: Path, name: str) -> None:
    annotations = read("voc", kit / name)
    keys = {"test/a/1.png@1": "0042", "test/a/1.png@2": "7", "train/b 2.png": "12.5", "train/c.png": "(no_annotation)"}
    assert texts(annotations) == keys
    theirs = {
        (box.ymin, box.xmin, box.ymax, box.xmax)
        for path in (kit / name / "Annotations").rglob("*.xml")
        for each in [AnnotationSet.from_pascal_voc(path.parent)]
        for picture in each
        for box in picture.boxes
    }
    ours = {tuple(box) for each in annotations for box in (each.boxes or ([each.box] if each.box else []))}
    assert ours == theirs and len(ours) == (9 if name == "voc" else 3)
    stored = read("voc", kit / name, digit_order="stored")
    assert stored[0].text == ("2400" if name == "voc" else "0042")


def test_ranges_are_all_entries_whether_the_process_has_read_them_or_not(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    save(tmp_path / "a.xml", item("1"), item("2", at=200))
    save(tmp_path / "b.xml", item("3"))
    save(tmp_path / "c.xml", item("4"), item("5", at=200), item("6", at=400))
    (subset,) = find("voc", tmp_path)
    expected = list(load_source("voc").read_annotations(subset, 0, subset.entries, "left", SourceOptions()))
    keys = ["a.jpg@1", "b.jpg", "c.jpg@1", "d.jpg", "a.jpg@2", "c.jpg@2", "c.jpg@3"]
    assert [each.key.removeprefix("train/") for each in expected] == keys
    assert [each.text for each in expected] == ["1", "3", "4", "", "2", "5", "6"]
    module._PARSED.clear()
    check_ranges("voc", subset)
    module._PARSED.clear()
    reader = load_source("voc")
    found = [next(iter(reader.read_annotations(subset, at, at + 1, "left", SourceOptions()))) for at in range(3)]
    assert found == expected[:3] and not module._PARSED, "the other files are not read"
    save(tmp_path / "b.xml", item("4"))
    with pytest.raises(UserError, match="must not change while they are read"):
        list(load_source("voc").read_annotations(subset, 3, 7, "left", SourceOptions()))


@pytest.mark.parametrize(
    ("pictures", "file", "filename", "expected"),
    [
        ("a.png", "a.xml", "C:\\Users\\me\\photos\\a.jpg", "a.png"),
        ("a.jpg b.jpg", "a.xml", "b.jpg", "a.jpg"),
        ("b.jpg", "a.xml", "/home/me/b.jpg", "b.jpg"),
        ("b.jpg", "a.xml", "b", "b.jpg"),
        ("a.jpg a.png", "a.xml", "a.png", "a.png"),
        ("a.JPG", "a.xml", "photos", "a.JPG"),
        ("a.jpg", "a.jpg.xml", "", "a.jpg"),
        ("images/x/a.jpg images/y/a.jpg", "annotations/y/a.xml", "a.jpg", "images/y/a.jpg"),
        ("images/a.jpg", "xmls/a.xml", "", "images/a.jpg"),
        ("b.jpg", "x/a.xml", "a.jpg", "x/a.jpg"),
        ("b.jpg", "labels/x/a.xml", "photos", "x/a"),
        ("b.jpg", "a.xml", "../../a.jpg", "a.jpg"),
    ],
)
def test_the_picture_of_a_file_is_found(tmp_path: Path, pictures: str, file: str, filename: str, expected: str) -> None:
    draw(tmp_path, *pictures.split())
    save(tmp_path / file, item("1"), filename=filename)
    (subset,) = find("voc", tmp_path)
    first, *others = read("voc", tmp_path)
    assert first.name == expected and {each.dead.reason for each in others if each.dead} <= {"no_annotation"}
    if expected in pictures.split():
        assert load_source("voc").read_picture(subset, first.name) == expected.encode()
        assert len(others) == len(pictures.split()) - 1
    else:
        with pytest.raises(FileNotFoundError):
            load_source("voc").read_picture(subset, first.name)


def test_a_number_may_be_the_name_or_a_field_of_an_object(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg")
    save(tmp_path / "a.xml", item("0042", inside="<number>17</number>"))
    (detail,) = details(read("voc", tmp_path))
    assert detail == "train/a.jpg: A box must have a text, or a class of one character. Received: class 0042"
    assert [each.text for each in read("voc", tmp_path, "name")] == ["0042"]
    assert [each.text for each in read("voc", tmp_path, "number")] == ["17"]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ((item("1", inside=texted("15.5", "rotation")),), "rotated_box"),
        (("<object><name>1</name><robndbox><cx>1</cx></robndbox></object>",), "rotated_box"),
        (("<object><name>1</name><polygon><x1>1</x1></polygon></object>",), "not_a_box"),
        (("<object><name>1</name></object>",), "bad_box"),
        (("<object><name>plate</name></object>",), "bad_box"),
        ((item("1", xmin="left"),), "bad_box"),
        ((item("1", ymax="nan"),), "bad_box"),
        ((item("1", xmax="-1e300"),), "empty_box"),
        ((item("1"), item("2", at=12, xmax="")), "bad_box"),
        ((item("plate"),), "no_text"),
        ((item("plate"), item("1", at=100)), "unknown_class"),
        ((item("1"), item("1")), "duplicate_box"),
        ((item("", inside="<attributes/>"),), "no_text"),
        (
            (item("x", inside=(texted("1") + texted("2", "number")).replace("</attributes><attributes>", "")),),
            "several_texts",
        ),
        (("</annotation><annotation>",), "damaged"),
        (("&nbsp;",), "damaged"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter(tmp_path: Path, objects: tuple[str, ...], reason: str) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    save(tmp_path / "a.xml", *objects)
    save(tmp_path / "b.xml", item("5"))
    found = read("voc", tmp_path)
    assert reason in [each.dead.reason for each in found if each.dead] and found[1].text == "5"
    assert all("Received: " in detail for detail in details(found))


def test_an_entity_is_refused_before_it_expands(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    lines = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10}">' for at in range(1, 12))
    for encoding in ("utf-8", "utf-16"):
        head = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY e0 "x">{lines}]>'
        save(tmp_path / "a.xml", item("&e11;"), head=head, encoding=encoding)
        save(tmp_path / "b.xml", item("5"))
        (detail,) = details(read("voc", tmp_path))
        assert detail == "train/a.jpg: a.xml: XML must have no document type or entities. Received: <!DOCTYPE"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gbk", "iso-8859-15"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    head = "" if encoding == "utf-8-sig" else f'<?xml version="1.0" encoding="{encoding}"?>'
    name = "€.jpg" if encoding == "iso-8859-15" else "数.jpg"
    draw(tmp_path, name)
    save(tmp_path / "a.xml", item("7"), filename=name, head=head, encoding=encoding)
    assert texts(read("voc", tmp_path)) == {f"train/{name}": "7"}


def test_two_files_of_one_picture_are_named(tmp_path: Path) -> None:
    draw(tmp_path, "images/a.jpg")
    save(tmp_path / "xml" / "a.xml", item("1"))
    save(tmp_path / "xml" / "b.xml", item("2"), item("3", at=200), filename="a.jpg")
    found = read("voc", tmp_path)
    assert texts(found[:1]) == {"train/images/a.jpg": "1"}
    (detail,) = details(found)
    assert detail == "train/images/a.jpg: A picture must have one XML file. Received: xml/b.xml"


def test_subsets_are_folders_or_lists(kit: Path, tmp_path: Path) -> None:
    roboflow = tmp_path / "roboflow"
    for name in ("train", "valid", "Test"):
        draw(roboflow / name, "a.jpg")
        save(roboflow / name / "a.xml", item("1"))
    save(roboflow / "spare" / "a.xml", item("1"))
    assert texts(read("voc", roboflow)) == {"test/a.jpg": "1", "train/a.jpg": "1", "valid/a.jpg": "1"}
    assert [each.name for each in find("voc", roboflow / "valid")] == ["valid"]
    assert [each.name for each in find("voc", roboflow / "spare", wanted=("night",))] == ["night"]
    reader, given = load_source("voc"), Input(Place(roboflow))
    unread = reader.unread(given, find("voc", roboflow, wanted=("train", "test")), SourceOptions())
    assert unread == (str(roboflow / "valid"),)
    save(kit / "voc" / "Annotations" / "spare.xml", item("1"))
    sets = kit / "voc" / "ImageSets" / "Main"
    for name in ("val", "trainval", "plate_train"):
        (sets / f"{name}.txt").write_text("a/1\nno such\n")
    found = find("voc", kit / "voc")
    assert [each.name for each in found] == ["test", "train", "val"]
    assert texts(read("voc", kit / "voc", wanted=("val",)))["val/Annotations/no such.xml"] == "(missing_annotation)"
    (line,) = reader.unread(Input(Place(kit / "voc")), found, SourceOptions())
    assert line.endswith("Annotations (1 files that no list in ImageSets/Main names)")


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({}, "The input must hold Pascal VOC XML files, or folders (train, valid, test) that do."),
        ({"annotations.xml": "<annotations/>"}, "Pascal VOC begins with <annotation>. Received: <annotations>"),
        ({"a.xml": ""}, "must hold a Pascal VOC file."),
        ({"a.xml": '<?xml version="1.0" encoding="no-such"?><annotation/>'}, "unknown encoding: no-such"),
        ({"a.xml": "\0\0"}, "must hold a Pascal VOC file."),
        ({"VOC2007/ImageSets/Main/a.txt": "", "VOC2012/ImageSets/Main/a.txt": ""}, "must be one of the folders"),
        ({"ImageSets/Main/train.txt": ""}, "must hold a Pascal VOC file."),
    ],
)
def test_a_wrong_input_is_one_line(tmp_path: Path, files: dict[str, str], rule: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        read("voc", tmp_path)
    assert rule in str(error.value) and "\n" not in str(error.value)


def test_the_input_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The input must be a folder of Pascal VOC XML files"):
        read("voc", save(tmp_path / "a.xml", item("1")))
