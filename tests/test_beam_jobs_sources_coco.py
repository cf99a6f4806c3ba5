"""COCO detection JSON: other packages' files and readings of them, wrong files, and ranges."""

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import globox
import pytest
from PIL import Image
from pycocotools.coco import COCO

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.coco.source import SOURCE
from tests.digit_rows import read_real_rows
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

WRITTEN = Path(__file__).parent / "written_by" / "coco"
DIGITS = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
Json = dict[str, Any]


def digit(key: int, image: object, character: int, left: float, top: float = 5, **more: object) -> Json:
    return {
        "id": key,
        "image_id": image,
        "category_id": character + 1,
        "bbox": [left, top, 10, 20],
        "area": 200,
        "iscrowd": 0,
        **more,
    }


def two() -> Json:
    """Returns a file with the number 12 in a.png and 3 in b.png."""
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    return {
        "images": images,
        "annotations": [digit(1, 1, 1, 5), digit(2, 1, 2, 16), digit(3, 2, 3, 5)],
        "categories": DIGITS,
    }


def texts(*annotations: Json) -> Json:
    """Returns a file of one class, with annotations of a.png, each a number."""
    rows = [{"id": key, "image_id": 1, "category_id": 1, "bbox": [5, 5 + 30 * key, 30, 20]} for key in range(9)]
    stored = [{**row, **annotation} for row, annotation in zip(rows, annotations, strict=False)]
    return {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": stored,
        "categories": [{"id": 1, "name": "plate"}],
    }


def write(folder: Path, content: object, name: str = "digits.json", pictures: tuple[str, ...] = ("a.png",)) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    for picture in pictures:
        (path.parent / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (96, 48)).save(path.parent / picture)
    return path


def read(
    place: Path, *wanted: str, order: str = "left", text: str | None = None, media: Path | None = None
) -> dict[str, list[Annotation]]:
    options = SourceOptions(text_attribute=text)
    given = Input(Place(place), wanted, Place(media) if media else None)
    found = {}
    for subset in SOURCE.find_subsets(given, options):
        found[subset.name] = list(SOURCE.read_annotations(subset, 0, subset.entries, order, options))
        assert len(found[subset.name]) == subset.entries
        assert [each.index for each in found[subset.name]] == list(range(subset.entries))
        assert len({each.key for each in found[subset.name]}) == subset.entries
    return found


def said(annotations: list[Annotation]) -> dict[str, str]:
    """Returns the number, or the reason of the dead letter, of each key."""
    for each in annotations:
        if each.dead:
            assert each.dead.stage == "annotation" and each.dead.detail.startswith(f"{each.picture}: ")
            assert "\n" not in each.dead.detail and (each.text, each.boxes, each.box) == ("", (), None)
    return {each.key: each.dead.reason if each.dead else each.text for each in annotations}


def said_of(tmp_path: Path, content: object, **more: Any) -> dict[str, str]:
    return said(read(write(tmp_path, content), **more)["train"])


def test_what_datumaro_has_written_is_read(tmp_path: Path) -> None:
    found = read(WRITTEN)
    assert {name: said(each) for name, each in found.items()} == {
        "train": {
            "train/one.png": "70",
            "train/two numbers.png@1": "12",
            "train/two numbers.png@2": "34",
            "train/empty.png": "no_annotation",
        },
        "val": {"val/other.png": "9"},
    }
    one, first, second, _ = found["train"]
    assert one.boxes == (BoundingBox(10.5, 18, 30.5, 28), BoundingBox(10, 30.25, 30, 40.25))
    assert first.others == (BoundingBox(10, 29, 30, 51),) and second.others == (BoundingBox(10, 5, 30, 27),)
    subset, _ = SOURCE.find_subsets(Input(Place(WRITTEN)), SourceOptions())
    assert SOURCE.read_picture(subset, "one.png") == (WRITTEN / "images" / "train" / "one.png").read_bytes()


def test_boxes_are_those_that_pycocotools_and_globox_read(tmp_path: Path) -> None:
    """Genuine numbers of SVHN, written by globox."""
    rows = read_real_rows("test", 300)
    boxes = [
        globox.Annotation(
            name,
            (1000, 1000),
            [
                globox.BoundingBox.create(
                    label=character,
                    coords=(box.xmin, box.ymin, box.width, box.height),
                    box_format=globox.BoxFormat.LTWH,
                )
                for character, box in characters
            ],
        )
        for name, characters in rows.items()
    ]
    path = tmp_path / "instances_test.json"
    labels = {str(each): each + 1 for each in range(10)}
    ids = {name: at for at, name in enumerate(rows)}
    globox.AnnotationSet(boxes).save_coco(path, label_to_id=labels, imageid_to_id=ids)
    (tmp_path / next(iter(rows))).touch()
    ours: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for each in read(path)["test"]:
        assert each.dead is None
        characters = [
            (character, (box.xmin, box.ymin, box.width, box.height))
            for character, box in zip(each.text, each.boxes, strict=True)
        ]
        ours.setdefault(each.name, []).extend(characters)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    names = {key: category["name"] for key, category in coco.cats.items()}
    for image in coco.imgs.values():
        theirs = [(names[each["category_id"]], tuple(each["bbox"])) for each in coco.imgToAnns[image["id"]]]
        found = ours[image["file_name"]]
        assert sorted(name for name, _ in found) == sorted(name for name, _ in theirs)
        for (name, box), (other, expected) in zip(sorted(found, key=str), sorted(theirs, key=str), strict=True):
            assert name == other and box == pytest.approx(expected, abs=1e-9)
    again = globox.AnnotationSet.from_coco(path)
    assert {each.image_id: len(each.boxes) for each in again} == {name: len(each) for name, each in ours.items()}
    # Numbers in reading order, as the source of these boxes has them; see group_numbers for the share of one number.
    wholes = {each.name: each.text for each in read(path)["test"] if not each.part}
    assert len(wholes) > 290
    assert all(text == "".join(character for character, _ in rows[name]) for name, text in wholes.items())


def test_a_file_becomes_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, two())
    twelve, three = read(path)["train"]
    assert twelve == Annotation("train", "a.png", 0, "12", (BoundingBox(5, 5, 25, 15), BoundingBox(5, 16, 25, 26)))
    assert three.text == "3"
    turned = {**two(), "annotations": two()["annotations"][::-1]}
    write(tmp_path, turned)
    assert [each.text for each in read(path)["train"]] == ["12", "3"]
    assert [each.text for each in read(path, order="stored")["train"]] == ["21", "3"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_names_and_classes_in_any_letters(tmp_path: Path, bom: bytes) -> None:
    content = two()
    content["images"][0]["file_name"] = "sub dir\\\u00e9 100%20.png"
    content["categories"] = [{"id": 2, "name": "One"}, {"id": 3, "name": " \u0663 "}, {"id": 4, "name": "."}]
    data = bom + json.dumps(content, ensure_ascii=False, indent=1).replace("\n", "\r\n").encode()
    path = write(tmp_path, data, pictures=("sub dir/\u00e9 100%20.png",))
    assert said(read(path)["train"]) == {"train/sub dir/\u00e9 100%20.png": "1\u0663", "train/b.png": "."}
    (subset,) = SOURCE.find_subsets(Input(Place(path)), SourceOptions())
    assert bytes(SOURCE.read_picture(subset, "sub dir/\u00e9 100%20.png")).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "where", [{"attributes": {"text": " 0012.50 "}}, {"transcription": "0012.50"}, {"ocr": "0012.50"}]
)
def test_a_box_may_have_its_number_as_an_attribute(tmp_path: Path, where: Json) -> None:
    (entry,) = read(write(tmp_path, texts(where)))["train"]
    assert (entry.text, entry.box, entry.boxes, entry.part) == ("0012.50", BoundingBox(5, 5, 25, 35), (), 0)


def test_texts_of_one_picture_are_numbers_of_their_own(tmp_path: Path) -> None:
    rows = (
        {"text": "7"},
        {"text": ""},
        {"text": 12},
        {"text": 1.5},
        {"text": None},
        {"text": "7", "bbox": [5, 5, 30, 20]},
    )
    found = read(write(tmp_path, texts(*rows)))["train"]
    assert list(said(found).values()) == ["7", "no_text", "12", "not_text", "no_text", "duplicate_annotation"]
    assert found[0].others == (BoundingBox(65, 5, 85, 35),) and found[2].part == 3
    named = texts({"attributes": {"serial": "A1", "text": "7"}})
    assert said_of(tmp_path, named, text="serial") == {"train/a.png": "A1"}
    with pytest.raises(UserError, match=r"--text-attribute gives. Attributes there are: serial, text. Received: plate"):
        said_of(tmp_path, named, text="plate")
    whole = texts({"caption": "42"})
    del whole["annotations"][0]["bbox"]
    (entry,) = read(write(tmp_path, whole))["train"]
    assert (entry.text, entry.placed) == ("42", ())
    whole["annotations"].append({**whole["annotations"][0], "id": 9, "caption": "43"})
    assert set(said_of(tmp_path, whole).values()) == {"no_box"}


def test_groups_and_gaps_make_numbers(tmp_path: Path) -> None:
    far = {
        **two(),
        "annotations": [digit(1, 1, 1, 5), digit(2, 1, 2, 60), digit(3, 1, 3, 16), digit(4, 1, 4, 5, top=26)],
    }
    first, second, third, none = read(write(tmp_path, far))["train"]
    assert [each.key for each in (first, second, third)] == ["train/a.png@1", "train/a.png@2", "train/a.png@3"]
    assert [each.text for each in (first, second, third)] == ["13", "2", "4"]
    assert first.others == (*second.boxes, *third.boxes) and none.dead
    for place in ("group_id", "group"):
        for value in (7, "x"):
            grouped = json.loads(json.dumps(far))
            grouped["annotations"][0][place] = value
            grouped["annotations"][1]["attributes"] = {place: value}
            found = said_of(tmp_path, grouped)
            assert list(found.values()) == ["12", "3", "4", "no_annotation"]


def _damage(change: Callable[[Json], object]) -> Json:
    content = two()
    change(content)
    return content


WRONG_FILES = {
    "empty": (b"", "must be one JSON object .* Received: an empty file"),
    "cut": (json.dumps(two()).encode()[:-40], "must be one JSON object .* Received: "),
    "bytes": (b"\xff\xfe\xfa" * 9, "must be one JSON object .* Received: "),
    "deep": (b"[" * 100_000, "must be one JSON object .* Received: "),
    "results": ([{"image_id": 1, "score": 0.9}], "a model's results.* Received: a list of 1"),
    "list": ([1, 2], "must be one JSON object .* Received: a list of 2"),
    "number": (b"7", "Received: 7"),
    "images": ({"annotations": []}, "must have a list `images`. Received: the keys annotations"),
    "annotations": ({**two(), "annotations": {}}, "a list `annotations`. Received: dict"),
    "categories": ({**two(), "categories": [{"name": "1"}]}, "`categories` must be .* Received: {'name': '1'}"),
    "category twice": ({**two(), "categories": [*DIGITS, {"id": 1, "name": "x"}]}, "Received: {'id': 1, 'name': 'x'}"),
    "panoptic": ({**two(), "annotations": [{"image_id": 1, "segments_info": []}]}, "this is a panoptic file"),
    "key points": ({**two(), "annotations": [{"image_id": 1, "keypoints": [1, 2, 2]}]}, "has key points only"),
    "classes": (
        {**two(), "categories": [{"id": at, "name": name} for at, name in ((2, "cat"), (3, "dog"))]},
        "Categories must be characters .* Received: the categories cat, dog",
    ),
    "COCO-Text": ({"imgs": {}, "anns": {}}, "COCO-Text's own layout"),
    "pictures": (
        _damage(lambda stored: stored["images"].pop(0)),
        "--media-root must name their folder.* Received: b.png",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_one_line(tmp_path: Path, name: str) -> None:
    content, message = WRONG_FILES[name]
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path, content))
    assert "\n" not in str(caught.value) and "digits.json" in str(caught.value)


def _set(row: int, **values: object) -> Callable[[Json], object]:
    return lambda stored: stored["annotations"][row].update(values)


def _add(*rows: object) -> Callable[[Json], object]:
    return lambda stored: stored["annotations"].extend(rows)


TWELVE, THREE = {"train/a.png": "12"}, {"train/b.png": "3"}
DAMAGED = {
    "bbox of three": (_set(0, bbox=[1, 2, 3]), {"train/a.png": "bad_box", **THREE}),
    "bbox of text": (_set(0, bbox=["1", "2", "3", "4"]), {"train/a.png": "bad_box", **THREE}),
    "bbox not finite": (_set(0, bbox=[1, 2, float("nan"), 4]), {"train/a.png": "bad_box", **THREE}),
    "bbox too large": (_set(0, bbox=[1, 2, 10**400, 4]), {"train/a.png": "bad_box", **THREE}),
    "bbox of true": (_set(0, bbox=[True, 2, 3, 4]), {"train/a.png": "bad_box", **THREE}),
    "bbox empty": (_set(0, bbox=[1, 2, 0, 4]), {"train/a.png": "empty_box", **THREE}),
    "bbox negative": (_set(0, bbox=[1, 2, 3, -4]), {"train/a.png": "empty_box", **THREE}),
    "outside": (_set(0, bbox=[-5, -2, 15, 20]), {**TWELVE, **THREE}),
    "polygon": (_set(0, bbox=None, segmentation=[[5, 5, 15, 5, 15, 25]]), {**TWELVE, **THREE}),
    "no box": (_set(0, bbox=[]), {"train/a.png": "no_box", **THREE}),
    "mask": (_set(0, bbox=[], segmentation={"counts": [1], "size": [1, 1]}), {"train/a.png": "no_box", **THREE}),
    "crowd": (_set(0, iscrowd=1), {"train/a.png": "crowd", **THREE}),
    "rotated": (_set(0, attributes={"rotation": 30.0}), {"train/a.png": "rotated_box", **THREE}),
    "CVAT's attributes": (_set(0, attributes={"rotation": 0.0, "occluded": False}), {**TWELVE, **THREE}),
    "unknown class": (_set(0, category_id=99), {"train/a.png": "unknown_class", **THREE}),
    "class is a list": (_set(0, category_id=[1]), {"train/a.png": "unknown_class", **THREE}),
    "no class": (_set(0, category_id=None), {"train/a.png": "unknown_class", **THREE}),
    "same id": (_set(1, id=1), {"train/a.png": "duplicate_id", **THREE}),
    "same id elsewhere": (_set(2, id=1), {**TWELVE, **THREE}),
    "twice": (_add(digit(9, 1, 2, 16)), {"train/a.png@1": "12", "train/a.png@2": "duplicate_annotation", **THREE}),
    "no object": (_add(7), {**TWELVE, **THREE, "train/#3": "no_image"}),
    "unknown image": (_add(digit(9, 77, 2, 16)), {**TWELVE, **THREE, "train/#3": "no_image"}),
    "image is a list": (_add(digit(9, [1], 2, 16)), {**TWELVE, **THREE, "train/#3": "no_image"}),
    "plate around": (
        _add({**digit(9, 1, 98, 0), "bbox": [0, 0, 60, 40]}),
        {"train/a.png@1": "12", "train/a.png@2": "other_class", **THREE},
    ),
    "point between": (_add({**digit(9, 1, 98, 0), "bbox": [14, 22, 3, 3]}), {"train/a.png": "unknown_class", **THREE}),
    "far": (_add({**digit(9, 1, 98, 80)}), {"train/a.png@1": "12", "train/a.png@2": "unknown_class", **THREE}),
    "no annotation": (lambda stored: stored["annotations"].pop(), {**TWELVE, "train/b.png": "no_annotation"}),
    "image twice": (
        lambda stored: stored["images"].append({"id": 3, "file_name": "a.png"}),
        {**TWELVE, **THREE, "train/#3": "duplicate_picture"},
    ),
    "image id twice": (
        lambda stored: stored["images"].append({"id": 2, "file_name": "c.png"}),
        {**TWELVE, "train/b.png": "duplicate_image", "train/c.png": "duplicate_image"},
    ),
    "image without name": (
        lambda stored: stored["images"][1].pop("file_name"),
        {**TWELVE, "train/#2": "bad_image"},
    ),
    "image is text": (
        lambda stored: stored["images"].append("c.png"),
        {**TWELVE, **THREE, "train/#3": "bad_image"},
    ),
    "absolute": (lambda stored: stored["images"][1].update(file_name="/etc/b.png"), {**TWELVE, "train/#2": "bad_path"}),
    "drive": (lambda stored: stored["images"][1].update(file_name="C:\\b.png"), {**TWELVE, "train/#2": "bad_path"}),
    "above": (lambda stored: stored["images"][1].update(file_name="x/../../b.png"), {**TWELVE, "train/#2": "bad_path"}),
    "surrogate": (
        lambda stored: stored["images"][1].update(file_name="\ud800.png"),
        {**TWELVE, "train/#2": "bad_path"},
    ),
    "line break": (lambda stored: stored["images"][1].update(file_name="b\n.png"), {**TWELVE, "train/#2": "bad_path"}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_fault_rejects_one_number_and_names_the_reason(tmp_path: Path, name: str) -> None:
    change, expected = DAMAGED[name]
    assert said_of(tmp_path, _damage(change)) == expected


def test_a_fault_in_a_group_leaves_the_other_numbers(tmp_path: Path) -> None:
    rows = [digit(1, 1, 1, 5, group_id=1), digit(2, 1, 2, 16, group_id=1), digit(3, 1, 3, 27, group_id=2)]
    rows[0]["bbox"] = [0]
    expected = {"train/a.png@1": "bad_box", "train/a.png@2": "3", "train/b.png": "no_annotation"}
    assert said_of(tmp_path, {**two(), "annotations": rows}) == expected


def test_layouts_of_folders(tmp_path: Path) -> None:
    layouts = {
        "coco": (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), "../{}2017/a.png"),
        "cvat": (("annotations/instances_default.json",), "../images/default/a.png"),
        "cvat-1": (("annotations/instances_default.json",), "../images/a.png"),
        "roboflow": (("train/_annotations.coco.json", "valid/_annotations.coco.json"), "a.png"),
        "flat": (("labels.json",), "images/a.png"),
    }
    for name, (files, picture) in layouts.items():
        for file in files:
            write(tmp_path / name, two(), file, (picture.format("val" if "val" in file else "train"),))
        subsets = SOURCE.find_subsets(Input(Place(tmp_path / name)), SourceOptions())
        expected = ["train", "valid" if name == "roboflow" else "val"][: len(files)]
        assert [subset.name for subset in subsets] == expected, name
        for subset in subsets:
            assert bytes(SOURCE.read_picture(subset, "a.png")).startswith(b"\x89PNG"), name
    valid = tmp_path / "roboflow" / "valid" / "_annotations.coco.json"
    assert list(read(valid)) == ["valid"] and list(read(valid, "mine")) == ["mine"]


def test_subsets_are_chosen_by_name_and_others_are_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path, two(), f"annotations/instances_{split}2017.json", (f"../{split}2017/a.png",))
        write(tmp_path, two(), f"annotations/captions_{split}2017.json", ())
    given = Input(Place(tmp_path), ("VAL",))
    subsets = SOURCE.find_subsets(given, SourceOptions())
    assert [subset.name for subset in subsets] == ["val"]
    left = SOURCE.unread(given, subsets, SourceOptions())
    names = ["captions_train2017.json", "captions_val2017.json", "instances_train2017.json"]
    assert [Path(path).name for path in left] == names
    with pytest.raises(UserError, match=r"holds the subsets train, val. Received: extra"):
        read(tmp_path, "extra")
    write(tmp_path, two(), "val/_annotations.coco.json")
    with pytest.raises(UserError, match=r"two would be val"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"one subset: give it one name"):
        read(tmp_path / "annotations" / "instances_val2017.json", "a", "b")
    (tmp_path / "nothing").mkdir()
    for path, message in (("nothing", "must hold a COCO detection file"), ("gone", "must be a COCO detection file")):
        with pytest.raises(UserError, match=message):
            read(tmp_path / path)


def test_media_root_is_where_pictures_are(tmp_path: Path) -> None:
    path = write(tmp_path / "labels", two(), pictures=())
    write(tmp_path / "far", {}, pictures=("a.png",))
    with pytest.raises(UserError, match="--media-root"):
        read(path)
    (subset,) = SOURCE.find_subsets(Input(Place(path), (), Place(tmp_path / "far")), SourceOptions())
    assert bytes(SOURCE.read_picture(subset, "a.png")).startswith(b"\x89PNG")
    with pytest.raises(FileNotFoundError):
        SOURCE.read_picture(subset, "b.png")


def test_ranges_are_parts_of_the_whole_and_the_digest_is_of_the_content(tmp_path: Path) -> None:
    content = _damage(_add(digit(9, 77, 2, 16), digit(10, 1, 5, 80)))
    path = write(tmp_path, content)
    options = SourceOptions()
    (subset,) = SOURCE.find_subsets(Input(Place(path)), options)
    again = pickle.loads(pickle.dumps(subset))
    whole = list(SOURCE.read_annotations(subset, 0, subset.entries, "left", options))
    parts = [list(SOURCE.read_annotations(again, at, at + 1, "left", options)) for at in range(subset.entries)]
    assert [each for part in parts for each in part] == whole and len(whole) == 4
    write(tmp_path, {**content, "annotations": content["annotations"][1:]})
    assert SOURCE.find_subsets(Input(Place(path)), options)[0].annotations_sha256 != subset.annotations_sha256
