"""YOLO folders: other packages' files and readings of them, wrong files, layouts and ranges."""

import io
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path

import globox
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.yolo.labels import read_size
from beam_jobs.sources.yolo.layout import label_of
from beam_jobs.sources.yolo.source import SOURCE
from tests.digit_rows import read_real_rows
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox
from tfrecords.images.decode import PictureError, decode_picture

WRITTEN = Path(__file__).parent / "written_by" / "yolo"
YAML = "path: .\ntrain: images/train\nval: images/val\nnames: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']\n"
TWELVE = "1 0.25 0.5 0.1 0.5\n2 0.375 0.5 0.1 0.5\n"
OPTIONS = SourceOptions()


def draw(path: Path, width: int = 100, height: int = 40, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), 200).save(path, **more)  # type: ignore[arg-type]


def write(folder: Path, files: Mapping[str, str | bytes], pictures: tuple[str, ...] = ()) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in pictures:
        draw(folder / name)
    return folder


def one(folder: Path, rows: str | bytes, yaml: str = YAML) -> Path:
    """Writes a data set with these rows as a.txt, and the number 12 in b.png."""
    files = {"data.yaml": yaml, "labels/train/a.txt": rows, "labels/train/b.txt": TWELVE}
    return write(folder, files, ("images/train/a.png", "images/train/b.png", "images/val/c.png"))


def subsets_of(folder: Path, *wanted: str) -> tuple[Subset, ...]:
    return SOURCE.find_subsets(Input(Place(folder), wanted), OPTIONS)


def read(folder: Path, *wanted: str, order: str = "left") -> dict[str, list[Annotation]]:
    found = {}
    for subset in subsets_of(folder, *wanted):
        entries = list(SOURCE.read_annotations(subset, 0, subset.entries, order, OPTIONS))
        assert [each.index for each in entries] == list(range(subset.entries))
        assert len({each.key for each in entries}) == subset.entries
        for each in entries:
            if each.dead:
                assert each.dead.stage == "annotation" and each.dead.detail.startswith(f"{each.picture}: ")
                assert "\n" not in each.dead.detail and (each.text, each.boxes) == ("", ())
        found[subset.name] = entries
    return found


def said(annotations: list[Annotation]) -> dict[str, str]:
    """Returns the number, or the reason of the dead letter, of each key."""
    return {each.key: each.dead.reason if each.dead else each.text for each in annotations}


@pytest.mark.parametrize(
    ("layout", "train", "val"),
    [("yolo_ultralytics", "images/train", "images/val"), ("yolo", "obj_train_data", "obj_val_data")],
)
def test_what_datumaro_has_written_is_read(layout: str, train: str, val: str) -> None:
    found = read(WRITTEN / layout)
    assert {name: said(each) for name, each in found.items()} == {
        "train": {f"train/{train}/empty.png": "no_annotation", f"train/{train}/one.png": "70"},
        "val": {f"val/{val}/other.png": "9"},
    }
    expected = ((10.5, 18, 30.5, 28), (10, 30.25, 30, 40.25))
    for box, edges in zip(found["train"][1].boxes, expected, strict=True):
        assert box == pytest.approx(edges, abs=1e-4)
    assert SOURCE.unread(Input(Place(WRITTEN / layout)), subsets_of(WRITTEN / layout), OPTIONS) == ()


def test_boxes_are_those_that_globox_reads(tmp_path: Path) -> None:
    """Genuine numbers of SVHN, written and read by globox."""
    rows = read_real_rows("test", 60)
    boxes: list[globox.Annotation] = []
    for name, characters in rows.items():
        size = (400 + len(boxes), 300 + 2 * len(boxes))
        draw(tmp_path / "images" / name, *size)
        made = [
            globox.BoundingBox.create(
                label=character, coords=(box.xmin, box.ymin, box.width, box.height), box_format=globox.BoxFormat.LTWH
            )
            for character, box in characters
            if box.xmin >= 0 and box.xmax <= size[0] and box.ymin >= 0 and box.ymax <= size[1]
        ]
        boxes.append(globox.Annotation(name, size, made))
    labels = {str(each): each for each in range(10)}
    globox.AnnotationSet(boxes).save_yolo_v5(tmp_path / "labels", label_to_id=labels)
    write(tmp_path, {"data.yaml": YAML.replace("images/train", "images").replace("val: images/val\n", "")})
    theirs = globox.AnnotationSet.from_yolo_v5(
        tmp_path / "labels", image_folder=tmp_path / "images", image_extension=".png"
    )
    ours: dict[str, list[tuple[str, BoundingBox]]] = {}
    for each in read(tmp_path)["train"]:
        assert each.dead is None or each.dead.reason == "no_annotation"
        ours.setdefault(each.name, []).extend(zip(each.text, each.boxes, strict=True))
    compared = 0
    for annotation in theirs:
        expected = sorted((str(box.label), *box.ltrb) for box in annotation.boxes)
        found = sorted(
            (text, box.xmin, box.ymin, box.xmax, box.ymax)
            for text, box in ours[f"images/{Path(annotation.image_id).stem}.png"]
        )
        for (text, *edges), (label, *others) in zip(found, expected, strict=True):
            assert text == label and edges == pytest.approx(others, abs=1e-6)
            compared += 1
    assert compared > 100


def test_rows_become_a_number_in_reading_order(tmp_path: Path) -> None:
    one(tmp_path, "\ufeff2 0.375 0.5 0.1 0.5\r\n\r\n1.0\t0.25 0.5 0.1 5e-1\r\n")
    a, b = read(tmp_path)["train"]
    assert (a.text, b.text) == ("12", "12") and a.boxes == b.boxes
    assert a.boxes[0] == pytest.approx((10, 20, 30, 30))
    assert [each.text for each in read(tmp_path, order="stored")["train"]] == ["21", "12"]


def test_rows_far_apart_are_several_numbers(tmp_path: Path) -> None:
    one(tmp_path, TWELVE + "7 0.9 0.5 0.1 0.5\n")
    first, second, other = read(tmp_path)["train"]
    assert [each.key for each in (first, second)] == ["train/images/train/a.png@1", "train/images/train/a.png@2"]
    assert (first.text, second.text, other.text) == ("12", "7", "12")
    assert first.others == second.boxes and len(second.others) == 1


BAD_ROWS: dict[str, tuple[str | bytes, str, str]] = {
    "word": ("one 0.25 0.5 0.1 x\n", "damaged", "five numbers. Received: line 1: one 0.25 0.5 0.1 x"),
    "four": ("1 0.25 0.5 0.1\n", "damaged", "five numbers"),
    "bytes": (b"\xff\xfe1 0.25", "damaged", "must be UTF-8"),
    "not a number": ("1 nan 0.5 0.1 0.5\n", "bad_box", "0 to 1"),
    "infinite": ("1 0.5 0.5 inf 0.5\n", "bad_box", "0 to 1"),
    "pixels": ("1 30 12 10 20\n", "bad_box", "0 to 1"),
    "negative": ("1 -0.2 0.5 0.1 0.5\n", "bad_box", "0 to 1"),
    "empty": ("1 0.5 0.5 0 0.5\n", "empty_box", "above 0"),
    "class": ("10 0.5 0.5 0.1 0.5\n", "unknown_class", "line 1: class 10"),
    "half a class": ("1.5 0.5 0.5 0.1 0.5\n", "unknown_class", "line 1: class 1.5"),
    "endless class": ("inf 0.5 0.5 0.1 0.5\n", "unknown_class", "line 1: class inf"),
    "rotated": ("1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n", "rotated_box", "Nine are a rotated box"),
    "outline": ("1 0.1 0.1 0.2 0.1 0.2 0.2\n", "polygon", "corners of an outline"),
    "confidence": ("1 0.1 0.1 0.2 0.1 0.9\n", "prediction", "confidence"),
    "nothing": ("", "no_annotation", "an empty label file"),
    "white": (" \n\n", "no_annotation", "an empty label file"),
    "one of two": (TWELVE + "1 0.5\n", "damaged", "line 3: 1 0.5"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_rejects_the_number(tmp_path: Path, name: str) -> None:
    rows, reason, message = BAD_ROWS[name]
    a, b = read(one(tmp_path, rows))["train"]
    assert a.dead and a.dead.reason == reason and message in a.dead.detail
    assert b.text == "12"


def test_repeated_rows_and_plates_are_rejected_alone(tmp_path: Path) -> None:
    yaml = YAML.replace("'9'", "'9', plate")
    found = read(one(tmp_path, "10 0.3 0.5 0.5 0.8\n" + TWELVE + "2 0.375 0.5 0.1 0.5\n", yaml))["train"]
    assert list(said(found).values()) == ["other_class", "12", "duplicate_annotation", "12"]
    assert found[0].dead and "class 10 (plate)" in found[0].dead.detail
    point = "10 0.31 0.7 0.01 0.04\n" + TWELVE
    assert list(said(read(one(tmp_path, point, yaml))["train"]).values()) == ["unknown_class", "12"]


def test_files_without_partners_and_files_there_twice(tmp_path: Path) -> None:
    one(tmp_path, TWELVE)
    files = {"labels/train/alone.txt": TWELVE, "labels/train/two.txt": TWELVE, "labels/train/damaged.txt": TWELVE}
    files |= {"images/train/damaged.png": "no picture", "labels/train/classes.txt": "0\n1"}
    write(tmp_path, files, ("images/train/two.png", "images/train/two.jpg", "images/train/none.png"))
    found = read(tmp_path)["train"]
    assert said(found) == {
        "train/images/train/a.png": "12",
        "train/images/train/b.png": "12",
        "train/images/train/damaged.png": "not_a_picture",
        "train/images/train/none.png": "no_annotation",
        "train/#5": "duplicate_picture",
        "train/#6": "duplicate_picture",
        "train/labels/train/alone.txt": "no_image",
    }
    assert found[4].dead and found[4].dead.detail.endswith("Received: images/train/two.jpg")


BOMB = "a0: &a0 [x]\n" + "".join(f"a{at + 1}: &a{at + 1} [{f'*a{at}, ' * 10}]\n" for at in range(20)) + "names: *a20\n"
"""Lists of lists whose text would fill any memory."""
WRONG_SETS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no yaml": ({}, "must hold a data.yaml with `names`, or a classes.txt"),
    "no names": ({"data.yaml": "train: images"}, "must have `names`"),
    "yaml": ({"data.yaml": "names: [0, 1\ntrain: x"}, "must be a YAML mapping .* Received: "),
    "list": ({"data.yaml": "- 1"}, "must be a YAML mapping .* Received: list"),
    "empty": ({"data.yaml": ""}, "must be a YAML mapping .* Received: "),
    "bytes": ({"data.yaml": b"\xff\xfe\xff"}, "must be a YAML mapping .* Received: "),
    "object": ({"data.yaml": "names: !!python/object/apply:os.system ['true']"}, "Received: true"),
    "names": ({"data.yaml": "names: 7"}, "`names` must be a list .* Received: '7'"),
    "numbers": ({"data.yaml": "names: {a: '1'}"}, "`names` must be a list .* Received: "),
    "nc": ({"data.yaml": "nc: 3\nnames: [1, 2]"}, "`nc` must be the number of names, 2. Received: 3"),
    "classes": ({"data.yaml": "names: [cat, dog]"}, "classes must be characters .* Received: cat, dog"),
    "folder": ({"data.yaml": "train: elsewhere\nnames: [1, 2]"}, "must be a folder in .* Received: elsewhere"),
    "mapping": ({"data.yaml": "train: {a: b}\nnames: [1, 2]"}, "must be a folder in .* Received: {'a': 'b'}"),
    "above": ({"data.yaml": "train: ../..\nnames: [1, 2]"}, "must be a folder in .* Received: "),
    "two yamls": ({"a.yaml": "", "b.yaml": ""}, "several YAML files: give one as --input. Received: a.yaml, b.yaml"),
    "bomb": ({"data.yaml": BOMB}, "`names` must be a list .* Received: "),
    "no pictures": ({"classes.txt": "1\n2", "labels/a.txt": TWELVE}, "must hold pictures"),
    "deep": ({"data.yaml": "[" * 1000}, "must be a YAML mapping"),
}


@pytest.mark.parametrize("name", WRONG_SETS)
def test_a_wrong_folder_is_one_line(tmp_path: Path, name: str) -> None:
    files, message = WRONG_SETS[name]
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path, files))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_data_set_of_another_task_is_refused(tmp_path: Path) -> None:
    rotated = "1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"
    one(tmp_path, rotated)
    write(tmp_path, {"labels/train/b.txt": rotated})
    with pytest.raises(UserError, match=r"Nine are a rotated box: export upright boxes. All rows of train are so"):
        read(tmp_path)
    with pytest.raises(UserError, match="must be a YOLO folder that exists"):
        read(tmp_path / "gone")


LAYOUTS: dict[str, tuple[dict[str, str], tuple[str, ...], list[str]]] = {
    "path of another machine": ({"data.yaml": YAML.replace("path: .", "path: /gone/set")}, (), ["train", "val"]),
    "a map of names": (
        {"data.yaml": "train: images/train\nnames:\n" + "".join(f"  {at}: {at}\n" for at in range(10))},
        (),
        ["train"],
    ),
    "a list of folders": (
        {"data.yaml": YAML.replace("images/train", "[images/train, images/val]")},
        (),
        ["train", "val"],
    ),
    "no yaml": ({"classes.txt": "\ufeff0\r\n1\r\n2\r\n"}, (), ["train", "val"]),
    "a list of pictures": (
        {
            "data.yaml": YAML.replace("images/train", "lists/t.txt"),
            "lists/t.txt": "../images/train/a.png\nimages/gone.png\nimages/train/a.png\n/else/b.png\n",
        },
        (),
        ["train", "val"],
    ),
    "nulls": ({"data.yaml": YAML + "test: \n"}, (), ["train", "val"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_one_folder(tmp_path: Path, name: str) -> None:
    files, pictures, subsets = LAYOUTS[name]
    one(tmp_path, TWELVE)
    (tmp_path / "data.yaml").unlink()
    found = read(write(tmp_path, files, pictures))
    assert list(found) == subsets
    assert said(found["train"])["train/images/train/a.png"] == "12"
    if name == "a list of pictures":
        assert said(found["train"])["train/images/gone.png"] == "missing_picture"
        left = ["#1", "#4", "images/gone.png", "images/train/a.png"]
        assert sorted(each.name for each in found["train"]) == left
        reasons = [each.dead.reason for each in found["train"] if each.dead]
        assert sorted(reasons) == ["bad_path", "duplicate_picture", "missing_picture"]
    if name == "a list of folders":
        assert said(found["train"])["train/images/val/c.png"] == "no_annotation"


def test_roboflows_layout_and_darknets(tmp_path: Path) -> None:
    yaml = "train: ../train/images\nval: ../valid/images\nnc: 3\nnames: ['0', '1', '2']\n"
    files = {"data.yaml": yaml, "train/labels/a b.txt": TWELVE, "valid/labels/c.txt": TWELVE}
    write(tmp_path / "roboflow", files, ("train/images/a b.png", "valid/images/c.png"))
    found = read(tmp_path / "roboflow" / "data.yaml")
    assert {name: said(each) for name, each in found.items()} == {
        "train": {"train/train/images/a b.png": "12"},
        "val": {"val/valid/images/c.png": "12"},
    }
    files = {"obj.names": "0\n1\n2\n", "obj_valid_data/c.txt": TWELVE, "obj_train_data/a.txt": TWELVE}
    write(tmp_path / "darknet", files, ("obj_valid_data/c.png", "obj_train_data/a.png"))
    assert [said(each) for each in read(tmp_path / "darknet").values()] == [
        {"train/obj_train_data/a.png": "12"},
        {"valid/obj_valid_data/c.png": "12"},
    ]


def test_subsets_are_chosen_by_name_and_others_are_named(tmp_path: Path) -> None:
    one(tmp_path, TWELVE)
    write(tmp_path, {"more/labels/x.txt": TWELVE}, ("more/images/x.png",))
    subsets = subsets_of(tmp_path, "VAL")
    assert [subset.name for subset in subsets] == ["val"]
    left = SOURCE.unread(Input(Place(tmp_path), ("val",)), subsets, OPTIONS)
    assert left == (str(tmp_path / "more" / "labels"), str(tmp_path / "train"))
    with pytest.raises(UserError, match=r"holds the subsets train, val. Received: extra"):
        read(tmp_path, "extra")
    alone = write(tmp_path / "alone", {"classes.txt": "0\n1\n2", "a.txt": TWELVE}, ("a.png",))
    assert [said(each) for each in read(alone, "mine").values()] == [{"mine/a.png": "12"}]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic", "jp2"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_is_that_of_the_decoded_picture(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.new("RGB", (30, 20))).save(path, exif=exif.tobytes())
    else:
        draw(path, 30, 20, exif=exif)
    for upright in (True, False):
        assert read_size(Place(path), upright) == decode_picture(path.read_bytes(), "a", upright).shape[:2]


def test_boxes_are_of_the_picture_as_it_is_stored_where_prepare_reads_it_so(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    one(tmp_path, "1 0.5 0.5 0.5 0.25\n")
    draw(tmp_path / "images" / "train" / "a.png", 40, 80, exif=exif)
    (subset, *_) = subsets_of(tmp_path)
    config = PrepareConfig(source="yolo", orientation="stored")
    (upright, *_) = SOURCE.read_annotations(subset, 0, 1, "left", PrepareConfig(source="yolo").reading)
    (stored, *_) = SOURCE.read_annotations(subset, 0, 1, "left", config.reading)
    assert (upright.boxes, stored.boxes) == ((BoundingBox(15, 20, 25, 60),), (BoundingBox(30, 10, 50, 30),))
    assert "options" not in config.to_dict()


def test_ranges_are_parts_of_the_whole_and_read_no_other_files(tmp_path: Path) -> None:
    one(tmp_path, TWELVE + "7 0.9 0.5 0.1 0.5\n")
    (subset, _) = subsets_of(tmp_path)
    again = pickle.loads(pickle.dumps(subset))
    assert np.frombuffer(zlib.decompress(again.counts), "<u4").tolist() == [2, 1]
    whole = list(SOURCE.read_annotations(subset, 0, 3, "left", OPTIONS))
    for cut in range(4):
        first = SOURCE.read_annotations(again, 0, cut, "left", OPTIONS)
        assert [*first, *SOURCE.read_annotations(again, cut, 3, "left", OPTIONS)] == whole
    (tmp_path / "labels" / "train" / "a.txt").unlink()
    assert list(SOURCE.read_annotations(again, 2, 3, "left", OPTIONS)) == whole[2:]
    write(tmp_path, {"labels/train/a.txt": TWELVE})
    with pytest.raises(UserError, match="Labels must not change while they are read"):
        list(SOURCE.read_annotations(again, 0, 3, "left", OPTIONS))
    assert subsets_of(tmp_path)[0].annotations_sha256 != subset.annotations_sha256
    assert SOURCE.read_picture(again, "images/train/a.png") == (tmp_path / "images/train/a.png").read_bytes()


def test_label_files_are_where_ultralytics_looks_for_them() -> None:
    assert label_of("images/train/a.b.jpg") == "labels/train/a.b.txt"
    assert label_of("images/x/images/a.jpg") == "images/x/labels/a.txt"
    assert label_of("pictures/images.jpg") == "pictures/images.txt"


def test_a_broken_header_is_no_traceback(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "TIFF")
    for size in range(0, len(stream.getvalue()), 7):
        (tmp_path / "a.tif").write_bytes(stream.getvalue()[:size])
        try:
            read_size(Place(tmp_path / "a.tif"))
        except PictureError:
            continue
