"""prepare --task find: what an annotation teaches, the scene of a picture, a shard of scenes, and complete runs."""

import io
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import LEAK, Annotation, DeadLetter
from beam_jobs.prepare import local
from beam_jobs.prepare.assign import order_of
from beam_jobs.prepare.check_box import check_box
from beam_jobs.prepare.config import PrepareConfig, config_from_flags
from beam_jobs.prepare.make_scenes import by_picture, make_scenes, scene_of
from tests.annotated import read
from tests.forked import Forked
from tests.pictures import saved
from tests.test_beam_jobs_prepare_command import digests
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.dataset.manifest import ANNOTATIONS
from tfrecords.errors import UserError
from tfrecords.files.framing import read_frames
from tfrecords.images.crop import BoundingBox
from tfrecords.record.scene import SceneExample, check_scene, decode_scene

CONFIG = PrepareConfig(task="find", canvas=64, encoding="raw", max_length=5)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 100, 3), np.uint8)
ONE, TWO = BoundingBox(10, 20, 30, 30), BoundingBox(12, 32, 31, 44)
NUMBER = Annotation("train", "a.png", 0, "12", (ONE, TWO))
FAULT = DeadLetter("annotation", "bad_box", "train/a.png: why")
NEGATIVE = DeadLetter("annotation", "no_annotation", "train/a.png: nothing", no_number=True)


def scene(*annotations: Annotation, config: PrepareConfig = CONFIG) -> SceneExample:
    example = scene_of("train/a.png", list(annotations), NOISE, config)
    check_scene(example)
    return example


@pytest.mark.parametrize(
    ("annotation", "split", "text", "reason"),
    [
        (NUMBER, "train", "12", None),
        (replace(NUMBER, boxes=(), box=ONE), "train", "12", None),
        (replace(NUMBER, boxes=()), "train", "12", "no_box"),
        (replace(NUMBER, boxes=(), dead=FAULT), "train", "12", "bad_box"),
        (replace(NUMBER, boxes=(), text="", dead=NEGATIVE), "train", "", None),
        (replace(NUMBER, boxes=(), text="", dead=replace(NEGATIVE, no_number=False)), "train", "", "no_annotation"),
        (replace(NUMBER, boxes=(), text=""), "predict", "", None),
    ],
)
def test_a_number_needs_a_box_and_no_number_is_something_to_learn(
    annotation: Annotation, split: str, text: str, reason: str | None
) -> None:
    checked = check_box(annotation, split)
    assert (checked.text, checked.dead and checked.dead.reason) == (text, reason)


def test_a_scene_has_the_boxes_of_its_numbers_and_of_their_characters_in_the_pixels_of_its_image() -> None:
    plain = Annotation("train", "a.png", 1, "7", box=BoundingBox(0, 60, 40, 100), part=2)
    example = scene(replace(NUMBER, part=1), plain)
    assert example.texts == ("12", "7") and example.key == "train/a.png"
    assert example.image.shape == (64, 64, 3)
    assert example.content_size.tolist() == [26, 64] and example.source_size.tolist() == [40, 100]
    scale = np.array([26 / 40, 0.64] * 2)
    np.testing.assert_allclose(example.boxes, np.array([[10, 20, 31, 44], [0, 60, 40, 100]]) * scale, rtol=1e-6)
    np.testing.assert_allclose(example.digit_boxes, np.array([ONE, TWO]) * scale, rtol=1e-6)
    assert example.digit_labels.tolist() == [1, 2] and example.digit_numbers.tolist() == [0, 0]


def test_a_picture_without_a_number_is_a_scene_of_none() -> None:
    example = scene(Annotation("train", "a.png", 0, ""))
    assert example.texts == () and example.boxes.shape == example.digit_boxes.shape == (0, 4)


def test_grey_pictures_and_grey_images_have_one_channel_where_it_is_asked_for() -> None:
    assert scene(NUMBER, config=replace(CONFIG, channels=1)).image.shape == (64, 64, 1)
    assert scene_of("k", [NUMBER], NOISE[..., :1], CONFIG).image.shape == (64, 64, 3)


def test_boxes_are_clipped_to_the_picture() -> None:
    example = scene(replace(NUMBER, text="1", boxes=(BoundingBox(-5, -1, 20, 10),)))
    np.testing.assert_allclose(example.boxes, [[0, 0, 13, 6.4]], rtol=1e-6)
    np.testing.assert_array_equal(example.boxes, example.digit_boxes)


Case = tuple[list[Annotation], int, dict[str, str | None]]
PART = replace(NUMBER, part=1)
OTHER = Annotation("train", "a.png", 1, "7", box=BoundingBox(0, 60, 40, 100), part=2)
NOTHING = Annotation("train", "a.png", 1, "", part=2)
CASES: dict[str, Case] = {
    "two numbers are one record": ([PART, OTHER], 2, {"@1": None, "@2": None}),
    "a number that nobody can read takes the picture with it": (
        [PART, replace(OTHER, text="", dead=FAULT)],
        -1,
        {"@1": "incomplete_picture", "@2": "bad_box"},
    ),
    "a box outside the picture does, too": (
        [PART, replace(OTHER, box=BoundingBox(0, 99.8, 9, 120))],
        -1,
        {"@1": "box_outside", "@2": "box_outside"},
    ),
    "so does a character's": (
        [replace(NUMBER, boxes=(ONE, BoundingBox(41, 0, 50, 9)))],
        -1,
        {"": "box_outside"},
    ),
    "a box that is there twice is no loss": (
        [PART, replace(OTHER, dead=replace(FAULT, reason="duplicate_box"))],
        1,
        {"@1": None, "@2": "duplicate_box"},
    ),
    "a box of another class is none either": ([PART, NOTHING], 1, {"@1": None, "@2": "other_class"}),
    "pictures of other classes are records without a number, once": (
        [replace(NOTHING, index=0, part=1), NOTHING],
        0,
        {"@1": None, "@2": "other_class"},
    ),
    "a picture that another split has is left out with all its numbers": (
        [replace(PART, dead=replace(FAULT, reason=LEAK)), replace(OTHER, dead=replace(FAULT, reason=LEAK))],
        -1,
        {"@1": LEAK, "@2": LEAK},
    ),
    "a picture that is named twice is not to be believed": (
        [NUMBER, replace(NUMBER, index=1)],
        -1,
        {"": "duplicate_name"},
    ),
}


@pytest.mark.parametrize(("annotations", "numbers", "reasons"), CASES.values(), ids=CASES)
def test_a_picture_becomes_one_record_with_all_its_numbers_or_none(
    annotations: list[Annotation], numbers: int, reasons: dict[str, str | None]
) -> None:
    records, rows = make_scenes(by_picture(reversed(annotations)), "train", 0, CONFIG, lambda _: NOISE)
    assert {row.annotation.key.removeprefix("train/a.png"): row.dead and row.dead.reason for row in rows} == reasons
    assert [row.annotation for row in rows] == annotations
    assert len(records) == (numbers >= 0)
    for frame in read_frames(io.BytesIO(b"".join(records)), "x"):
        assert len(decode_scene(frame.data).texts) == numbers
    accepted = [row for row in rows if not row.dead]
    assert len(accepted) == (max(1, numbers) if records else 0)


def test_a_picture_is_read_once_and_each_row_knows_its_file() -> None:
    asked: list[str] = []

    def read(picture: str) -> bytes:
        asked.append(picture)
        return saved(NOISE, "PNG")

    others = [Annotation("train", f"{name}.png", 9, "7", box=ONE) for name in "cb"]
    records, rows = make_scenes(by_picture([OTHER, *others, PART]), "train", 0, CONFIG, read)
    assert asked == ["train/a.png", "train/b.png", "train/c.png"]
    assert [row.file and (row.file.height, row.file.width) for row in rows] == [(40, 100)] * 4
    assert Counter(row.is_again for row in rows) == {False: 3, True: 1}
    keys = [decode_scene(frame.data).key for frame in read_frames(io.BytesIO(b"".join(records)), "x")]
    assert keys == sorted(keys, key=lambda key: order_of(key, CONFIG.seed)) and len(keys) == 3


def test_a_picture_that_cannot_be_read_rejects_all_its_numbers_for_that_reason() -> None:
    records, rows = make_scenes([PART, OTHER], "train", 0, CONFIG, lambda _: b"nothing")
    assert not records and {(row.dead.stage, row.dead.reason) for row in rows if row.dead} == {
        ("picture", "not_a_picture")
    }
    with pytest.raises(AssertionError, match="a box for each character of '12', or none"):
        scene(replace(NUMBER, boxes=(ONE,)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "find", "jitters": 0}, r"leave out the flags of crops\. Received: --jitters"),
        ({"task": "find", "crop_size": 64, "backgrounds": 0.0}, "Received: --crop-size, --backgrounds"),
        ({"task": "find", "canvas": 31}, r"canvas must be 32\.\.2048\. Received: 31"),
        ({"canvas": 640}, "canvas is for --task find"),
        ({"encoding": "jpeg"}, "except with --task find"),
        ({"task": "look"}, "task must be one of"),
    ],
)
def test_settings_of_the_other_task_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_from_flags(values)


def test_finding_has_defaults_of_its_own_and_reading_saves_nothing_of_them() -> None:
    found = config_from_flags({"task": "find"})
    assert (found.encoding, found.canvas, found.examples_per_shard, found.max_length) == ("jpeg", 320, 512, None)
    assert {"task": "find", "canvas": 320}.items() <= found.to_dict().items()
    assert not {"task", "canvas"} & config_from_flags({}).to_dict().keys()
    assert found.image_info(["train", "test"]).shape == (320, 320, 3)


def prepare(source: str, given: Path, output: Path, *options: str) -> int:
    arguments = ["--source", source, "--input", str(given), "--output", str(output), "--task", "find", *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def scenes(folder: Path) -> Iterator[SceneExample]:
    for path in sorted(folder.glob("*.tfrecord-*-of-?????")):
        with path.open("rb") as stream:
            for frame in read_frames(stream, path.name):
                yield decode_scene(frame.data, frame.location)


def by_name(folder: Path) -> dict[str, list[str]]:
    """Returns the sorted numbers of each picture of a dataset, after a check of its sums."""
    found = {example.key.removeprefix("train/"): sorted(example.texts) for example in scenes(folder)}
    manifest = Manifest.load(folder)
    assert manifest.task == "find"
    assert sum(split.examples for split in manifest.splits.values()) == len(found)
    expected = sum(max(1, len(texts)) for texts in found.values())
    assert sum(split.pictures for split in manifest.splits.values()) == expected
    assert sum(source.accepted for source in manifest.sources) == expected
    rows = pq.read_table(folder / ANNOTATIONS).to_pylist()
    pictures = (f"{row['subset']}/{row['name']}".removeprefix("train/") for row in rows if row["reason"] is None)
    accepted = Counter(pictures)
    assert accepted == {name: max(1, len(texts)) for name, texts in found.items()}
    return found


def draw(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (40, 100, 3), np.uint8)
        Image.fromarray(noise).save(path)


def coco(folder: Path) -> Path:
    """Writes pictures with one number, two, a person, nothing, a crowd, and a number that nobody can read."""
    classes = [*"0123456789", "person", "house number", "illegible"]
    boxes: list[tuple[int, str, list[float], int]] = [
        (1, "1", [5, 5, 10, 20], 0),
        (1, "2", [16, 5, 10, 20], 0),
        (2, "3", [5, 5, 10, 20], 0),
        (2, "4", [80, 5, 10, 20], 0),
        (2, "house number", [4, 4, 12, 22], 0),
        (3, "person", [5, 5, 10, 20], 0),
        (3, "person", [50, 5, 10, 20], 1),
        (5, "7", [5, 5, 60, 20], 1),
        (6, "8", [5, 5, 10, 20], 0),
        (6, "illegible", [80, 5, 10, 20], 0),
    ]
    names = ["one.png", "two.png", "person.png", "nothing.png", "crowd.png", "illegible.png"]
    draw(folder, *names)
    stored = {
        "images": [{"id": at, "file_name": name} for at, name in enumerate(names, 1)],
        "categories": [{"id": at, "name": name} for at, name in enumerate(classes)],
        "annotations": [
            {"id": at, "image_id": image, "category_id": classes.index(name), "bbox": box, "iscrowd": crowd}
            for at, (image, name, box, crowd) in enumerate(boxes)
        ],
    }
    (folder / "instances_train.json").write_text(json.dumps(stored))
    return folder


def yolo(folder: Path) -> Path:
    """Writes pictures with a number, an empty label file, none, and a car."""
    draw(folder, *(f"images/train/{name}.png" for name in ("twelve", "empty", "none", "car", "gap")))
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nnames: ['0', '1', '2', 'car']\n")
    labels = folder / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "twelve.txt").write_text("1 0.25 0.5 0.1 0.5\n2 0.375 0.5 0.1 0.5\n3 0.9 0.5 0.1 0.5\n")
    (labels / "empty.txt").write_text("")
    (labels / "car.txt").write_text("3 0.5 0.5 0.1 0.5\n")
    (labels / "gap.txt").write_text("1 0.25 0.5 0.1 0.5\n9 0.9 0.5 0.1 0.5\n")
    return folder


def voc(folder: Path) -> Path:
    """Writes pictures with a number, without an object, without an XML file, and with a person next to a number."""
    draw(folder, *(f"JPEGImages/{name}.png" for name in ("one", "nothing", "unlabelled", "person")))

    def item(name: str, left: int) -> str:
        edges = {"xmin": left, "ymin": 5, "xmax": left + 10, "ymax": 25}
        box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges.items())
        return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"

    (folder / "Annotations").mkdir()
    for name, items in {"one": [item("1", 5)], "nothing": [], "person": [item("2", 5), item("person", 80)]}.items():
        text = f"<annotation><filename>{name}.png</filename>{''.join(items)}</annotation>"
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    return folder


FOLDERS: dict[str, tuple[Callable[[Path], Path], dict[str, list[str]], dict[str, int]]] = {
    "coco": (
        coco,
        {"one.png": ["12"], "two.png": ["3", "4"], "person.png": [], "nothing.png": []},
        {"crowd": 1, "incomplete_picture": 1, "other_class": 2, "unknown_class": 1},
    ),
    "yolo": (
        yolo,
        {
            f"images/train/{name}.png": texts
            for name, texts in {"twelve": ["12"], "empty": [], "none": [], "car": []}.items()
        },
        {"incomplete_picture": 1, "other_class": 1, "unknown_class": 1},
    ),
    "voc": (
        voc,
        {"one.png": ["1"], "nothing.png": [], "person.png": ["2"]},
        {"no_annotation": 1, "other_class": 1},
    ),
}


@pytest.mark.parametrize(("write", "expected", "letters"), FOLDERS.values(), ids=FOLDERS)
def test_pictures_without_a_number_are_records_and_those_with_one_that_nobody_can_read_are_not(
    write: Callable[[Path], Path],
    expected: dict[str, list[str]],
    letters: dict[str, int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write.__name__
    options = ("--validation-fraction", "0", "--max-dead-fraction", "1", "--canvas", "64")
    assert prepare(source, write(tmp_path / "in"), tmp_path / "out", *options) == 0
    assert by_name(tmp_path / "out") == expected
    assert Manifest.load(tmp_path / "out").dead_letters == letters
    shown = capsys.readouterr().out
    numbers = sum(map(len, expected.values()))
    negatives = sum(not texts for texts in expected.values())
    assert f"{len(expected)} pictures with {numbers} numbers, {negatives} of them without one, in " in shown
    assert "no number" in shown and "boxes of another class: see" in shown


WAYS = {"in process": ("--workers", "1"), "processes": ("--workers", "2"), "on Beam": ("--direct_num_workers", "1")}


def _prepare_forked(source: str, given: Path, output: Path, *options: str) -> int:
    """Runs prepare in a process that has imported Beam and used none of it, so that it forks as any other."""
    sys.modules.pop("grpc", None)
    return prepare(source, given, output, *options)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["svhn", "coco", "yolo"])
def test_scenes_are_the_same_bytes_however_the_job_runs(source: str, drawn: Path, tmp_path: Path) -> None:
    given = drawn if source == "svhn" else FOLDERS[source][0](tmp_path / "in")
    options = ("--validation-fraction", "0.3", "--max-dead-fraction", "1", "--canvas", "96", "--seed", "3")
    per_shard = "12" if source == "svhn" else "2"
    found = {}
    for way, workers in WAYS.items():
        output = tmp_path / way
        code, shown, errors = Forked(
            _prepare_forked, source, given, output, *options, *workers, "--examples-per-shard", per_shard
        ).wait()
        assert code == 0, errors
        lines = [re.sub(r"in \d.*|, decoded in .*", "", line) for line in shown.splitlines()[:-1]]
        found[way] = digests(output), [line.replace(str(output), "OUT") for line in lines]
    assert found["in process"] == found["processes"] == found["on Beam"]
    numbers = by_name(tmp_path / "processes")
    if source == "svhn":
        assert len(numbers) == 80 and all(map(len, numbers.values()))
        assert len(list((tmp_path / "processes").glob("*-train.tfrecord-*-of-?????"))) > 2


def test_the_boxes_of_a_drawn_number_are_where_its_digits_are(drawn: Path, tmp_path: Path) -> None:
    assert prepare("svhn", drawn, tmp_path, "--canvas", "128", "--encoding", "png", "--limit", "20") == 0
    found = list(scenes(tmp_path))
    assert len(found) == 20
    rows = {row["key"]: row for row in pq.read_table(tmp_path / ANNOTATIONS).to_pylist()}
    for example in found:
        row = rows[example.key]
        scale = example.content_size / example.source_size
        assert example.texts == (row["text"],) and example.source_size.tolist() == [
            row["source_height"],
            row["source_width"],
        ]
        edges = np.array([[box[edge] for edge in ("ymin", "xmin", "ymax", "xmax")] for box in row["boxes"]])
        clipped = np.clip(edges, 0, np.tile(example.source_size, 2))
        np.testing.assert_allclose(example.digit_boxes, clipped * np.tile(scale, 2), atol=1e-4)
        assert [str(label) for label in example.digit_labels] == list(row["text"])
        assert 128 in example.content_size and (example.boxes[:, 2:] <= example.content_size).all()


def test_few_pictures_for_validation_are_counted_as_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((coco(tmp_path) / "instances_train.json").read_text())
    for at, subset in ((1, "train"), (2, "val")):
        images = [each for each in stored["images"] if each["id"] == at]
        boxes = [each for each in stored["annotations"] if each["image_id"] == at]
        content = {**stored, "images": images, "annotations": boxes}
        (tmp_path / f"instances_{subset}.json").write_text(json.dumps(content))
    assert prepare("coco", tmp_path, tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert "2 pictures with 3 numbers, 0 of them without one" in shown.out
    assert "the split validation has only 1 picture, too few" in shown.err
    assert Manifest.load(tmp_path / "out").splits["validation"].pictures == 2


def test_a_rerun_keeps_complete_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, options = coco(tmp_path / "in"), ("--max-dead-fraction", "1", "--examples-per-shard", "2")
    assert prepare("coco", given, tmp_path / "undisturbed", *options) == 0

    def fail(*_: object) -> None:
        raise UserError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(local, "publish_dataset", fail)
        assert prepare("coco", given, tmp_path / "out", *options) == 1
    capsys.readouterr()
    assert prepare("coco", given, tmp_path / "out", *options) == 0
    shown = capsys.readouterr().out
    assert "shards were already complete, 0 were written" in shown
    assert "4 pictures with 3 numbers, 2 of them without one, in " in shown
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_a_picture_without_a_number_that_is_in_test_too_is_left_out_of_train(tmp_path: Path) -> None:
    given = yolo(tmp_path / "in")
    for name in ("none", "car"):
        (given / "images" / "test").mkdir(exist_ok=True)
        shutil.copy(given / f"images/train/{name}.png", given / f"images/test/{name}.png")
    with (given / "data.yaml").open("a") as file:
        file.write("test: images/test\n")
    options = ("--on-leak", "drop", "--validation-fraction", "0", "--max-dead-fraction", "1")
    assert prepare("yolo", given, tmp_path / "out", *options) == 0
    manifest = Manifest.load(tmp_path / "out")
    assert manifest.dead_letters["leak"] == 2
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 2, "test": 2}


@pytest.mark.parametrize("has_box", [True, False])
def test_an_input_without_boxes_is_refused_at_the_start(
    has_box: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, "a.png", "b.png")
    boxes = "10,5,20,30" if has_box else ",,,"
    rows = [
        "image,text,left,top,width,height",
        "a.png,12,10,5,20,30" if has_box else "a.png,12,,,,",
        f"b.png,7,{boxes}",
    ]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    code = prepare("table", tmp_path / "train.csv", tmp_path / "out", "--test-fraction", "0.5")
    shown = capsys.readouterr()
    if has_box:
        assert code == 0 and by_name(tmp_path / "out") == {"a.png": ["12"], "b.png": ["7"]}
    else:
        assert code == 1 and "no number of the input has one. Received: --source table" in shown.err
        assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_be_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare("coco", coco(tmp_path / "in"), tmp_path / "out", "--dry-run", "--channels", "1") == 0
    shown = capsys.readouterr().out
    assert "task       find: complete pictures in jpeg images of 320 x 320 pixels" in shown
    assert "train: 1 shard, 1 example of each picture" in shown and not (tmp_path / "out").exists()


def no_numbers(source: str, path: Path) -> dict[str, bool]:
    """Returns for each rejected annotation of an input whether it says that there is no number."""
    return {each.key.removeprefix("train/"): each.dead.no_number for each in read(source, path) if each.dead}


def test_a_task_of_label_studio_is_empty_only_if_somebody_has_said_so(tmp_path: Path) -> None:
    results: dict[str, list[dict[str, Any]]] = {
        "empty.png": [{"result": []}],
        "skipped.png": [{"result": [], "was_cancelled": True}],
        "new.png": [],
    }
    tasks = [{"id": at, "data": {"image": name}, "annotations": results[name]} for at, name in enumerate(results)]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    expected = {"empty.png": True, "skipped.png": False, "new.png": False}
    assert no_numbers("label-studio", tmp_path / "export.json") == expected


def test_an_image_of_cvat_without_a_shape_has_no_number(tmp_path: Path) -> None:
    box = '<box label="{}" xtl="{}" ytl="5" xbr="{}" ybr="25"/>'
    images = {
        "empty.png": "",
        "person.png": box.format("7", 5, 15) + box.format("person", 80, 90),
        "plate.png": box.format("7", 5, 15) + box.format("plate", 80, 90),
        "alone.png": box.format("person", 80, 90),
    }
    content = "".join(f'<image id="0" name="{name}">{inside}</image>' for name, inside in images.items())
    (tmp_path / "annotations.xml").write_text(f"<annotations>{content}</annotations>")
    expected = {"empty.png": True, "person.png@2": True, "plate.png@2": False, "alone.png": False}
    assert no_numbers("cvat", tmp_path / "annotations.xml") == expected


def test_a_category_of_coco_without_any_text_is_another_class_unless_its_name_is_of_numbers(tmp_path: Path) -> None:
    classes = {1: "meter", 2: "person", 3: "illegible"}
    rows: list[dict[str, Any]] = [
        {"category_id": 1, "attributes": {"text": "12"}},
        {"category_id": 1},
        {"category_id": 2},
        {"category_id": 3},
        {"category_id": 9},
        {},
    ]
    stored = {
        "images": [{"id": at, "file_name": f"{at}.png"} for at in range(len(rows))],
        "categories": [{"id": key, "name": name} for key, name in classes.items()],
        "annotations": [{"id": at, "image_id": at, "bbox": [5, 5, 9, 9], **row} for at, row in enumerate(rows)],
    }
    draw(tmp_path, "0.png")
    (tmp_path / "train.json").write_text(json.dumps(stored))
    expected = {"1.png": False, "2.png": True, "3.png": False, "4.png": False, "5.png": False}
    assert no_numbers("coco", tmp_path / "train.json") == expected


@pytest.mark.parametrize("source", ["mnist", "optdigits"])
def test_sources_of_digits_alone_have_nothing_to_find(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if source == "optdigits":
        (tmp_path / "optdigits.tra").write_text(",".join(["0"] * 64 + ["7"]) + "\n")
    else:
        (tmp_path / "train.csv").write_text("label," + ",".join(f"pixel{at}" for at in range(784)) + "\n")
        with (tmp_path / "train.csv").open("a") as file:
            file.write("7," + ",".join(["0"] * 784) + "\n")
    assert prepare(source, tmp_path, tmp_path / "out") == 1
    assert f"no number of the input has one. Received: --source {source}" in capsys.readouterr().err
