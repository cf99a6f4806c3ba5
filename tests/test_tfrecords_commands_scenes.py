"""The commands on a dataset of scenes, and on copies of it with one thing changed."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.scene_records import draw_scene, draw_scenes, write_scenes
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_errors
from tfrecords.commands.show import draw_sheet
from tfrecords.dataset.compare import CHANGES, State, compare
from tfrecords.dataset.manifest import ANNOTATIONS, Manifest
from tfrecords.errors import UserError
from tfrecords.record.scene import SCENE_FEATURES, SceneExample

Change = Callable[[list[SceneExample]], None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "photos")


def run(*arguments: object) -> int:
    return main("tfrecords", "", COMMANDS, [str(each) for each in arguments])


def changed(folder: Path, change: Change, encoding: str = "jpeg") -> Path:
    """Writes the dataset with a change of its training scenes."""
    scenes = draw_scenes()
    change(scenes["train"])
    return write_scenes(folder / "changed", scenes, encoding)


def test_inspect_lists_the_features_of_scenes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", photos) == 0
    printed = capsys.readouterr().out
    assert "task find: complete pictures with the boxes of their numbers" in printed
    assert "split          entries     scenes" in printed and "train                7          5" in printed
    for name in SCENE_FEATURES:
        assert f"\n{name} " in printed, name
    assert "N x 4" in printed and "images of 96 x 96 x 3 (height x width x channels), jpeg" in printed


def test_index_is_correct(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("index", photos) == 0
    assert "6 existing indexes are correct" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_a_correct_dataset_is_valid(tmp_path: Path, encoding: str) -> None:
    assert run("validate", write_scenes(tmp_path / "photos", encoding=encoding)) == 0


def _grey_padding(scenes: list[SceneExample]) -> None:
    image = scenes[0].image.copy()
    image[-8:] = 40
    scenes[0] = replace(scenes[0], image=image)


def _same_key(scenes: list[SceneExample]) -> None:
    scenes[1] = replace(scenes[1], key=scenes[0].key)


def _wrong_owner(scenes: list[SceneExample]) -> None:
    scenes[0] = replace(scenes[0], digit_numbers=np.array([0, 0, 5]))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_grey_padding, "(train/street 0.png): image must be 0 outside its content_size"),
        (_same_key, "train/street 0.png: 2 records have this key"),
        (_wrong_owner, "(train/street 0.png): digit_numbers must be 3 indices of numbers, 0 to below 2"),
    ],
)
def test_validate_names_a_wrong_record(tmp_path: Path, change: Change, error: str) -> None:
    directory = changed(tmp_path, change)
    errors = list(find_errors(directory, Manifest.load(directory)))
    assert any(error in each for each in errors), errors


def test_validate_counts_a_scene_once_for_each_of_its_numbers(photos: Path) -> None:
    manifest = Manifest.load(photos)
    assert manifest.split("train").pictures == 7 and manifest.split("train").examples == 5
    manifest.splits["train"] = replace(manifest.splits["train"], pictures=5)
    errors = list(find_errors(photos, manifest))
    assert "train: the manifest states 5 pictures, the records have 7" in errors


def test_validate_compares_the_table_of_annotations(photos: Path) -> None:
    names = [f"train/street {index}.png" for index in range(5)]
    keys = [f"{names[0]}@1", f"{names[0]}@2", *names[1:3], f"{names[3]}@1", f"{names[3]}@2", "train/a.png"]
    keys += ["test/a.png@1", "test/a.png@2", "train/lost.png"]
    pq.write_table(pa.table({"key": keys, "reason": pa.array([None] * len(keys), pa.string())}), photos / ANNOTATIONS)
    errors = list(find_errors(photos, Manifest.load(photos)))
    path = photos / ANNOTATIONS
    assert errors == [f"{path}: {names[4]} has no row", f"{path}: train/lost.png has no record and no reason"]


def test_show_draws_each_number_and_its_box() -> None:
    scene = draw_scene("train/a.png")
    sheet = np.asarray(draw_sheet([scene], 1, False))[8:104, 8:104].astype(int)
    assert (sheet[4, 29] == (230, 60, 60)).all() and (sheet[30, 47] == (240, 160, 30)).all()
    # The first number is written below its box, since there is no room above; the second above.
    assert (sheet[26:38, 7] == (230, 60, 60)).all() and (sheet[17:28, 36] == (240, 160, 30)).all()
    assert (np.asarray(draw_sheet([scene], 1, True))[8:104, 8:104][14, 17] == 255).all()


def test_show_writes_a_sheet_in_the_size_of_the_images(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("show", photos, "--count", "1", "--output", tmp_path / "sheet.png") == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (96 + 16, 96 + 48)
    assert run("show", photos, "--scale", "0", "--output", tmp_path / "sheet.png") == 1
    assert "--scale must be at least 1. Received: 0" in capsys.readouterr().err


def _relabelled(scenes: list[SceneExample]) -> None:
    scenes[0] = replace(scenes[0], texts=("18", "7"))


def _reboxed(scenes: list[SceneExample]) -> None:
    scenes[0] = replace(scenes[0], boxes=scenes[0].boxes + 1)


def _redrawn(scenes: list[SceneExample]) -> None:
    image = scenes[0].image.copy()
    image[:70] //= 2
    scenes[0] = replace(scenes[0], image=image)


def _replaced(scenes: list[SceneExample]) -> None:
    scenes[0] = replace(scenes[0], key="train/new.png")


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (_relabelled, {"relabelled": "street 0"}),
        (_reboxed, {"recut": "street 0"}),
        (_redrawn, {"redrawn": "street 0"}),
        (_replaced, {"added": "new", "removed": "street 0"}),
        (lambda scenes: scenes.reverse(), {}),
    ],
)
def test_diff_compares_pictures(photos: Path, tmp_path: Path, change: Change, kinds: dict[str, str]) -> None:
    found = compare(State.open(photos), State.open(changed(tmp_path, change)))
    keys = {kind: found.changes[kind].keys for kind in CHANGES if found.changes[kind].count}
    assert keys == {kind: [f"train/{name}.png"] for kind, name in kinds.items()}


def test_diff_finds_a_picture_in_another_split_and_other_bytes(photos: Path, tmp_path: Path) -> None:
    scenes = draw_scenes()
    scenes["validation"].append(scenes["train"].pop())
    found = compare(State.open(photos), State.open(write_scenes(tmp_path / "moved", scenes)))
    assert found.changes["moved"].keys == ["train/street 4.png"]
    first, second = (State.open(write_scenes(tmp_path / name, encoding=name)) for name in ("png", "raw"))
    found = compare(first, second)
    assert found.changes["reencoded"].count == 7 and not found.changes["redrawn"].count


def test_diff_prints_pictures_with_other_boxes_and_refuses_another_task(
    photos: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff", photos, changed(tmp_path, _reboxed)) == 1
    assert "1 picture with other boxes\n  train/street 0.png" in capsys.readouterr().out
    assert run("diff", photos, records) == 2
    assert "Both datasets must be of one task, read or find. Received: find and read" in capsys.readouterr().err
    with pytest.raises(UserError, match="of one task"):
        compare(State.open(records), State.open(photos))


def test_tables_have_the_lists_and_the_stored_picture(photos: Path, tmp_path: Path) -> None:
    for kind in ("parquet", "arrow"):
        assert run("export", photos, "--to", kind, "--output", tmp_path / kind, "--jobs", 1) == 0
    table = pq.read_table(tmp_path / "parquet" / "data" / "train-00000-of-00002.parquet")
    with pa.memory_map(str(tmp_path / "arrow" / "data" / "train-00000-of-00002.arrow")) as source:
        assert pa.ipc.open_file(source).read_all().to_pylist() == table.to_pylist()
    row = table.to_pylist()[0]
    assert row["texts"] == ["19", "7"] and row["boxes"] == [[4, 6, 24, 29], [30, 36, 50, 47]]
    assert row["digit_labels"] == [1, 9, 7] and row["content_size"] == [70, 96]
    assert row["image"]["bytes"].startswith(b"\xff\xd8")


def test_a_tar_has_the_stored_picture_and_its_labels(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", photos, "--to", "webdataset", "--output", tmp_path / "tars", "--jobs", 1) == 0
    assert ".to_tuple('jpg;png', 'json')" in capsys.readouterr().out
    with tarfile.open(tmp_path / "tars" / "train-000000.tar") as archive:
        names = archive.getnames()
        assert names[:2] == ["train%2Fstreet%200%2Epng.jpg", "train%2Fstreet%200%2Epng.json"]
        contents = [archive.extractfile(name) for name in names[:2]]
        assert contents[0] and contents[1]
        with Image.open(io.BytesIO(contents[0].read())) as picture:
            assert picture.size == (96, 96)
        labels = json.load(contents[1])
    assert labels["texts"] == ["19", "7"] and labels["digit_numbers"] == [0, 0, 1] and "image" not in labels
