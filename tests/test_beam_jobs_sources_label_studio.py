"""Label Studio's exports become annotations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.label_studio import source as module
from beam_jobs.sources.label_studio.tasks import name_of
from tests.annotated import check_ranges, details, find, read, texts
from tfrecords.errors import UserError
from tfrecords.files.place import Place

WRITTEN = Path(__file__).parent / "written_by" / "label_studio"


def item(
    region: str, kind: str, words: list[str], name: str = "", size: tuple[int, int] = (200, 100), **value: Any
) -> Any:
    """Returns an item of a result, whose box is 10, 20, 5, 30 percent unless told otherwise."""
    box = {"x": 10, "y": 20, "width": 5, "height": 30, "rotation": 0, **value}
    key = "text" if kind == "textarea" else kind
    sizes = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return {
        **sizes,
        "id": region,
        "type": kind,
        "from_name": name or kind,
        "to_name": "image",
        "value": {**box, key: words},
    }


def whole(kind: str, words: list[str], name: str) -> Any:
    """Returns an item of a result for the complete picture."""
    key = "text" if kind == "textarea" else kind
    return {"id": name, "type": kind, "from_name": name, "to_name": "image", "value": {key: words}}


def task(*results: Any, picture: str = "/data/upload/1/ab12cd34-7.png", **settings: Any) -> Any:
    """Returns a task with an annotation for each result."""
    return {"id": 1, "data": {"image": picture}, "annotations": [{"result": each} for each in results], **settings}


def export(folder: Path, *tasks: Any, name: str = "export.json") -> Path:
    """Writes an export."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(tasks, ensure_ascii=False), "utf-8-sig")
    return path


def test_subsets_of_a_batch_are_read_apart(tmp_path: Path) -> None:
    export(tmp_path, task([item("a", "textarea", ["12"])]), name="train.json")
    export(tmp_path, task([item("a", "textarea", ["7"])]), name="val.json")
    (tmp_path / "croissant.json").write_text("{}")  # describes a dataset
    reader = load_source("label-studio")
    for each in find("label-studio", tmp_path):
        renamed = replace(each, name=f"2026-11@{each.name}")
        (annotation,) = reader.read_annotations(renamed, 0, 1, "left", SourceOptions())
        assert (annotation.subset, annotation.text) == (renamed.name, {"train": "12", "val": "7"}[each.name])
    with pytest.raises(UserError, match="The subset must be one of train, val"):
        next(reader.read_annotations(replace(each, name="night"), 0, 1, "left", SourceOptions()))


@pytest.mark.parametrize("name", ["export.json", "min.json"])
def test_an_export_reads_as_label_studios_own_converter_reads_it(name: str) -> None:
    theirs = json.loads((WRITTEN / "coco.json").read_text())
    pictures = {each["id"]: each["file_name"].removeprefix("/data/upload/") for each in theirs["images"]}
    expected = [(pictures[each["image_id"]], each["bbox"]) for each in theirs["annotations"]]
    annotations = read("label-studio", WRITTEN / name)
    ours = [(each.name, each.box) for each in annotations if each.box]
    assert [picture for picture, _ in ours] == [picture for picture, _ in expected]
    for (_, box), (_, (x, y, width, height)) in zip(ours, expected, strict=True):
        assert (box.xmin, box.ymin, box.width, box.height) == pytest.approx((x, y, width, height))
    assert list(texts(annotations).values()) == ["0042", "12.5", "7", "(no_annotation)"]
    assert annotations[1].others == (annotations[2].box,)


def test_ranges_of_entries_are_all_entries() -> None:
    (subset,) = find("label-studio", WRITTEN / "export.json")
    module._parse.cache_clear()
    check_ranges("label-studio", subset)


def test_labels_of_one_character_are_grouped_and_put_in_order(tmp_path: Path) -> None:
    row = [item(f"r{at}", "rectanglelabels", [label], x=60 - 6 * at) for at, label in enumerate("210")]
    below = [item("b", "rectanglelabels", ["nine"], x=48, y=60)]
    (first, second) = read("label-studio", export(tmp_path, task(row + below)))
    assert (first.text, second.text) == ("012", "9")
    assert [box.xmin for box in first.boxes] == [96, 108, 120]
    assert (first.part, second.part) == (1, 2) and second.others
    (stored, _) = read("label-studio", export(tmp_path, task(row + below)), digit_order="stored")
    assert stored.text == "210"


def test_a_text_belongs_to_the_region_of_its_id(tmp_path: Path) -> None:
    items = [
        item("b", "rectangle", []),
        item("a", "rectangle", [], x=50),
        item("a", "textarea", [" 0042 "], "reading", x=50),
        item("b", "labels", ["Plate"]),
        item("b", "textarea", ["7"], "reading"),
        item("b", "textarea", ["kWh"], "unit"),
    ]
    path = export(tmp_path, task(items))
    assert [each.text for each in read("label-studio", path, "reading")] == ["7", "0042"]
    (problem, _) = read("label-studio", path)
    assert problem.dead and problem.dead.reason == "several_texts"
    assert "--text-attribute chooses one of reading, unit." in problem.dead.detail


def test_a_text_or_choice_of_the_complete_picture_is_a_number_without_box(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        task([whole("choices", ["good"], "quality"), whole("textarea", ["0012"], "reading")], picture="a.png"),
        task([whole("choices", ["3"], "digit")], picture="b.png"),
    )
    found = read("label-studio", path)
    assert texts(found) == {"train/a.png": "0012", "train/b.png": "3"}
    assert all(each.box is None and not each.boxes for each in found)
    assert texts(read("label-studio", path, "quality")) == {"train/a.png": "good", "train/b.png": "(no_annotation)"}


def test_annotators_must_agree_unless_one_is_the_ground_truth(tmp_path: Path) -> None:
    one, same, other = ([item("r", "textarea", [text], x=x)] for text, x in (("1", 10), ("1", 11), ("2", 10)))
    conflict, settled, skipped = (task(one, other, picture=f"{name}.png") for name in "abc")
    settled["annotations"][1]["ground_truth"] = True
    skipped["annotations"][0]["was_cancelled"] = skipped["annotations"][1]["was_cancelled"] = True
    tasks = [conflict, settled, skipped, task(one, same, picture="d.png"), task(one, [], picture="e.png")]
    found = read("label-studio", export(tmp_path, *tasks, task(picture="f.png", predictions=[{"result": one}])))
    reasons = ["(conflicting)", "2", "(no_annotation)", "1", "(conflicting)", "(no_annotation)"]
    assert list(texts(found).values()) == reasons
    letters = details(found)
    assert letters[0].endswith("Received: 1 / 2") and letters[2].endswith("Received: 1 / nothing")
    assert "its predictions are not read" in letters[3]


BOX = {"original_width": 200, "original_height": 100}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (task([item("r", "textarea", ["1"], rotation=12.5)]), "rotated_box"),
        (task([{**item("r", "textarea", ["1"]), "image_rotation": 90}]), "rotated_picture"),
        (task([{**item("r", "textarea", ["1"]), "original_width": None}]), "no_size"),
        (task([item("r", "textarea", ["1"], width=0)]), "empty_box"),
        (task([item("r", "textarea", ["1"], x=float("nan"))]), "bad_box"),
        (task([item("r", "textarea", ["1"], x="left")]), "bad_box"),
        (task([item("r", "textarea", ["1"], x=10**400)]), "bad_box"),
        (task([item("r", "textarea", ["1"], size=(10**400, 5))]), "no_size"),
        (task([item("r", "rectanglelabels", ["Plate"])]), "no_text"),
        (task([item("r", "rectanglelabels", ["1"]), item("q", "rectanglelabels", ["Plate"], x=40)]), "unknown_class"),
        (task([item("r", "rectanglelabels", ["1", "2"])]), "several_labels"),
        (
            task([{"id": "r", "type": "polygonlabels", "value": {"points": [[1, 2]], "polygonlabels": ["1"]}}]),
            "not_a_box",
        ),
        (task([{"id": "r", "type": "brushlabels", "value": {"rle": [1], "brushlabels": ["1"]}}]), "not_a_box"),
        (task([item("r", "textarea", ["1"]), item("q", "textarea", ["1"])]), "duplicate_box"),
        (task([whole("textarea", ["1", "2"], "text")]), "several_texts"),
        (task("nothing"), "damaged"),
        (task(["nothing"]), "damaged"),
        (task(annotations=[7]), "damaged"),
        (7, "damaged"),
        (task([], picture="../7.png"), "bad_path"),
        (task([], picture="/etc/7.png"), "bad_path"),
        (task([], picture="file:///etc/7.png"), "bad_path"),
        (task([], picture="data:image/png;base64,AAAA"), "bad_path"),
        ({"id": 1, "data": {"a": "1.png", "b": "2.png"}, "annotations": []}, "several_pictures"),
        ({"id": 1, "data": {"text": "hello"}, "annotations": []}, "no_picture"),
        ({"image": "a.png", "box": [{"x": 1, "y": 1, "width": 2, "height": 2, **BOX}], "text": ["1", "2"]}, "unpaired"),
        ({"image": "a.png", "one": "1", "two": "2"}, "several_texts"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter(tmp_path: Path, given: Any, reason: str) -> None:
    good = task([item("r", "textarea", ["5"])], picture="good.png")
    found = read("label-studio", export(tmp_path, given, good))
    assert f"({reason})" in texts(found).values() and found[-1].text == "5"
    assert all("Received: " in detail for detail in details(found))


def test_a_picture_of_two_tasks_is_a_duplicate(tmp_path: Path) -> None:
    one = task([item("r", "textarea", ["5"])])
    first, second = read("label-studio", export(tmp_path, one, {**one, "id": 2}))
    assert first.text == "5" and second.dead and second.dead.reason == "duplicate_picture"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "must be a JSON list of tasks. Received: nothing"),
        (b"[", "must be a JSON list of tasks in UTF-8, and complete."),
        (b'[{"id": 1, "data": {}', "must be a JSON list of tasks in UTF-8, and complete."),
        (b"[]", "must hold a task."),
        (b"7", "must be a JSON list of tasks. Received: 7"),
        (b"\xff\xfe[]", "must be a JSON list of tasks in UTF-8, and complete."),
        (b"[" * 100_000, "must be a JSON list of tasks in UTF-8, and complete."),
        (b'{"images": [], "annotations": []}', "is a COCO file: --source coco reads it."),
        (b'{"a": 1}', "must be a JSON list of tasks, or one task with `data`. Received: a"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: bytes, rule: str) -> None:
    (tmp_path / "export.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        read("label-studio", tmp_path / "export.json")
    assert rule in str(error.value) and "\n" not in str(error.value)


def test_a_file_is_the_same_whatever_pieces_it_is_read_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read("label-studio", WRITTEN / "export.json")
    for size in (1, 7, 256, 3000):
        module._parse.cache_clear()
        monkeypatch.setattr(module, "_CHUNK", size)
        assert read("label-studio", WRITTEN / "export.json") == expected


def test_subsets_are_files_and_folders_by_name(tmp_path: Path) -> None:
    one = task([item("r", "textarea", ["5"])])
    export(tmp_path, one, name="project-1.json")
    export(tmp_path, one, name="project-1-val.json")
    export(tmp_path, one, name="Test/a.json")
    found = find("label-studio", tmp_path)
    assert [(each.name, each.entries) for each in found] == [("test", 1), ("train", 1), ("val", 1)]
    assert [each.name for each in find("label-studio", tmp_path, wanted=("VAL",))] == ["val"]
    given = Input(Place(tmp_path))
    unread = load_source("label-studio").unread(given, found[:2], SourceOptions())
    assert unread == (str(tmp_path / "project-1-val.json"),)
    with pytest.raises(UserError, match=r"holds the subsets test, train, val\. Received: extra"):
        find("label-studio", tmp_path, wanted=("extra",))
    (renamed,) = find("label-studio", tmp_path / "project-1.json", wanted=("night",))
    assert renamed.name == "night"
    assert texts(read("label-studio", tmp_path / "project-1.json", wanted=("night",))) == {
        "night/1/ab12cd34-7.png": "5"
    }
    with pytest.raises(UserError, match="must be a Label Studio export"):
        find("label-studio", WRITTEN.parent / "voc")
    with pytest.raises(UserError, match="folder that exists"):
        find("label-studio", tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/ab12cd34-7.png", "1/ab12cd34-7.png"),
        ("https://studio.example/data/upload/1/ab12cd34-7.png?x=1", "1/ab12cd34-7.png"),
        ("/data/local-files/?d=meters%2Fa%20b.png", "meters/a b.png"),
        ("s3://bucket/a.png", "s3://bucket/a.png"),
        ("https://host/a.png?token=1", "https://host/a.png?token=1"),
        ("meters\\7.png", "meters/7.png"),
        ("/data/local-files/?d=../7.png", None),
        ("ftp://host/a.png", None),
        ("https://host/../a.png", None),
        ("http://[host/a.png", None),
    ],
)
def test_addresses_become_names(address: str, name: str | None) -> None:
    assert name_of(address) == name


def test_pictures_are_found_under_the_names_that_people_keep_them_by(tmp_path: Path) -> None:
    path = export(tmp_path, task([], picture="/data/upload/1/ab12cd34-a%20b.png"))
    reader = load_source("label-studio")
    (subset,) = find("label-studio", path)
    with pytest.raises(FileNotFoundError):
        reader.read_picture(subset, "1/ab12cd34-a%20b.png")
    media = tmp_path / "media"
    (media / "1").mkdir(parents=True)
    for place in ("a b.png", "a%20b.png", "ab12cd34-a%20b.png", "1/ab12cd34-a b.png", "1/ab12cd34-a%20b.png"):
        (media / place).write_text(place)
        (subset,) = find("label-studio", path, media=media)
        assert reader.read_picture(subset, "1/ab12cd34-a%20b.png") == place.encode()
    (tmp_path / "ab12cd34-a%20b.png").write_text("next to the export")
    (subset,) = find("label-studio", path)
    assert reader.read_picture(subset, "1/ab12cd34-a%20b.png") == b"next to the export"
    assert reader.read_picture(find("label-studio", path, media=media)[0], "s3://b/x/a%20b.png") == b"a%20b.png"
