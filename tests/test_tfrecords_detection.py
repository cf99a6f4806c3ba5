"""Scenes for detectors: what COCO's and YOLO's files hold, and that other readers and our own get it back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tests.annotated import read
from tests.scene_records import draw_scene, draw_scenes, write_scenes
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.reader import Scenes
from tfrecords.detection import ALL, DIGITS, NUMBER, class_names, coco_json, describe, yolo_label, yolo_yaml
from tfrecords.record.scene import decode_scene, encode_scene, picture_file


def export(photos: Path, output: Path, *options: str) -> int:
    arguments = ["export", str(photos), "--output", str(output), "--jobs", "1", *options]
    return main("tfrecords", "", COMMANDS, arguments)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "photos")


def test_classes_are_numbers_characters_or_both() -> None:
    assert class_names(NUMBER, "0A") == ["number"]
    assert class_names(DIGITS, "0A") == ["0", "A"]
    assert class_names(ALL, "0A") == ["number", "0", "A"]


def test_objects_are_clipped_to_the_picture_and_those_outside_are_counted() -> None:
    boxes = np.array([[-2, 4, 24, 29], [66, 30, 90, 96.25]], np.float32)
    digits = np.array([[4, 6, 24, 17], [4, 18, 24, 29], [71, 36, 90, 47]], np.float32)
    picture = describe(replace(draw_scene("train/é b.png"), boxes=boxes, digit_boxes=digits), 7, ".jpg", ALL)
    assert picture.name == "000007-_b.jpg" and picture.key == "train/é b.png" and picture.dropped == 1
    # The picture fills 70 rows of the image.
    assert [each.box for each in picture.objects[:2]] == [(4, 0, 25, 24), (30, 66, 66, 4)]
    assert [(each.name, each.group) for each in picture.objects[2:]] == [("1", 1), ("9", 1)]


def test_a_row_of_yolo_is_a_class_and_the_centre_and_size_as_shares() -> None:
    picture = describe(draw_scene("train/a.png"), 0, ".jpg", ALL)
    rows = yolo_label(picture, class_names(ALL, "0123456789")).splitlines()
    # 96 pixels: left 6, top 4, width 23, height 20.
    assert rows[0] == f"0 {17.5 / 96:.6f} {14 / 96:.6f} {23 / 96:.6f} {20 / 96:.6f}"
    assert [row.split()[0] for row in rows] == ["0", "0", "2", "10", "8"]


def test_data_yaml_names_each_class_as_text() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    content = yaml.safe_load(yolo_yaml({"train": "images/train"}, ["number", "0", "A", '"']))
    names = {0: "number", 1: "0", 2: "A", 3: '"'}
    assert content == {"train": "images/train", "nc": 4, "names": names}


def test_coco_has_texts_of_numbers_and_groups_of_characters() -> None:
    pictures = [describe(scene, index, ".jpg", ALL) for index, scene in enumerate(draw_scenes()["train"][:2])]
    content = json.loads(coco_json(pictures, class_names(ALL, "0123456789")))
    assert [image["file_name"] for image in content["images"]] == ["000000-street_0.jpg", "000001-street_1.jpg"]
    assert {each["image_id"] for each in content["annotations"]} == {1}
    names = {each["id"]: each["name"] for each in content["categories"]}
    found = [(names[each["category_id"]], each["attributes"]) for each in content["annotations"]]
    numbers = [("number", {"text": "19"}), ("number", {"text": "7"})]
    assert found == [*numbers, ("1", {"group": 1}), ("9", {"group": 1}), ("7", {"group": 2})]
    assert [each["id"] for each in content["annotations"]] == [1, 2, 3, 4, 5]
    assert content["annotations"][0]["bbox"] == [6, 4, 23, 20] and content["annotations"][0]["area"] == 460


@pytest.mark.parametrize(("encoding", "suffix"), [("jpeg", ".jpg"), ("png", ".png"), ("raw", ".png")])
def test_a_picture_is_the_file_of_its_record(encoding: str, suffix: str, tmp_path: Path) -> None:
    record = encode_scene(draw_scene("train/a.png"), encoding)
    scene = decode_scene(record)
    data, found = picture_file(scene)
    assert found == suffix and (data in record) == (encoding != "raw")
    (tmp_path / "a").write_bytes(data)
    with Image.open(tmp_path / "a") as picture:
        np.testing.assert_array_equal(np.asarray(picture), scene.image)


def test_pycocotools_reads_the_exported_file(photos: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    assert export(photos, tmp_path / "out", "--to", "coco") == 0
    found = coco.COCO(str(tmp_path / "out" / "train" / "instances.json"))
    scenes = tfrecords.open(photos, "train")
    assert isinstance(scenes, Scenes)
    for image, scene in zip(found.loadImgs(found.getImgIds()), iter(scenes), strict=True):
        with Image.open(tmp_path / "out" / "train" / "images" / image["file_name"]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), scene.image)
            assert picture.size == (image["width"], image["height"]) and image["key"] == scene.key
        numbers = found.loadAnns(found.getAnnIds(image["id"], found.getCatIds(["number"])))
        assert tuple(each["attributes"]["text"] for each in numbers) == scene.texts
        boxes = [(top, left, top + height, left + width) for left, top, width, height in (n["bbox"] for n in numbers)]
        np.testing.assert_allclose(np.array(boxes).reshape(-1, 4), scene.boxes, atol=1e-3)


@pytest.mark.parametrize(
    ("source", "classes"),
    [("coco", "all"), ("coco", "number"), ("coco", "digits"), ("yolo", "digits"), ("yolo", "all")],
)
def test_our_sources_read_the_same_numbers_and_boxes(photos: Path, tmp_path: Path, source: str, classes: str) -> None:
    assert export(photos, tmp_path / "out", "--to", source, "--classes", classes) == 0
    found = read(source, tmp_path / "out")
    splits = {"val": "validation"}
    expected = 0
    for split in ("train", "validation", "test"):
        scenes = tfrecords.open(photos, split)
        assert isinstance(scenes, Scenes)
        for index, scene in enumerate(iter(scenes)):
            own = [
                each
                for each in found
                if splits.get(each.subset, each.subset) == split
                and f"/{index:06d}-" in f"/{each.name}"
                and not each.dead
            ]
            assert sorted(each.text for each in own) == sorted(scene.texts), scene.key
            expected += len(own)
            for annotation in own:
                number = scene.texts.index(annotation.text)
                if classes == "number":
                    assert annotation.box is not None
                    np.testing.assert_allclose(annotation.box, scene.boxes[number], atol=1e-3)
                    continue
                boxes = scene.digit_boxes[scene.digit_numbers == number]
                np.testing.assert_allclose(annotation.boxes, boxes, atol=1e-3)
    assert expected == sum(not each.dead for each in found) == 9
    # Nothing is rejected but pictures without a number, and the boxes around characters.
    reasons = {each.dead.reason for each in found if each.dead}
    assert reasons <= {"no_annotation", "other_class"}, reasons


def test_an_export_says_what_it_lacks_and_replaces_only_its_own(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(photos, out, "--to", "yolo", "--split", "test") == 0
    assert "note: data.yaml lacks train or val" in capsys.readouterr().err
    for kind in ("yolo", "coco", "parquet", "yolo"):
        assert export(photos, out, "--to", kind, "--overwrite") == 0
    printed = capsys.readouterr()
    assert "exported 5 examples of train, 1 examples of validation, 1 examples of test" in printed.out
    assert "7 pictures" in printed.out and "note:" not in printed.err
    (out / "labels" / "mine.txt").touch()
    assert export(photos, out, "--to", "yolo", "--overwrite") == 1
    assert "holds other files. Received: labels/mine.txt" in capsys.readouterr().err


def test_numbers_without_boxes_of_their_characters_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = draw_scene("train/a.png")
    own = scene.digit_numbers == 1
    part = {name: getattr(scene, name)[own] for name in ("digit_boxes", "digit_labels", "digit_numbers")}
    photos = write_scenes(tmp_path / "photos", {"train": [replace(scene, **part), draw_scene("train/b.png")]})
    line = "warning: 1 numbers have no boxes of characters, so these are not among the objects"
    for classes, is_said in (("digits", True), ("all", True), ("number", False)):
        assert export(photos, tmp_path / classes, "--to", "coco", "--classes", classes) == 0
        assert (line in capsys.readouterr().err) is is_said


def test_formats_of_the_other_task_are_refused(
    photos: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(records, tmp_path / "out", "--to", "coco") == 1
    assert "coco is for scenes, as `prepare --task find` writes them" in capsys.readouterr().err
    assert export(photos, tmp_path / "out", "--to", "parquet", "--classes", "digits") == 1
    assert "--classes is for coco and yolo. Received: --to parquet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
