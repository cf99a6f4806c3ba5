"""Datasets of scenes through each reader: in order, by index, in batches, and in other libraries."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfrecords
from tests.growing import Growing
from tests.scene_records import CANVAS, draw_scene, draw_scenes, write_scenes
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.reader import Scenes
from tfrecords.errors import UserError
from tfrecords.record.scene import SceneExample, check_padding

LISTS = ("boxes", "digit_labels", "digit_numbers", "digit_boxes", "source_size", "content_size")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "photos")


def open_scenes(photos: Path, split: str = "train") -> Scenes:
    scenes = tfrecords.open(photos, split)
    assert isinstance(scenes, Scenes)
    return scenes


def _assert_equal(found: SceneExample, expected: SceneExample, most: int = 8) -> None:
    assert (found.key, found.texts) == (expected.key, expected.texts)
    for name in LISTS:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), err_msg=name, atol=1e-4)
    assert np.abs(found.image.astype(int) - expected.image.astype(int)).mean() <= most


def test_a_split_is_a_sequence_of_scenes(photos: Path) -> None:
    scenes, drawn = open_scenes(photos), draw_scenes()["train"]
    # Shards are dealt in turn.
    expected = drawn[::2] + drawn[1::2]
    assert len(scenes) == len(expected) == 5 and repr(scenes).startswith("<Scenes ")
    for index, (scene, other) in enumerate(zip(iter(scenes), expected, strict=True)):
        _assert_equal(scene, other)
        _assert_equal(scenes[index - 5], other)
    part = scenes[1:4:2]
    assert [scene.key for scene in part] == [scenes[1].key, scenes[3].key] and part[-1].texts == ()
    assert repr(scenes[0]) == "<SceneExample train/street 0.png: 19, 7, image of 96 x 96 x 3 uint8>"


def test_a_snapshot_of_a_stream_keeps_its_scenes(photos: Path, tmp_path: Path) -> None:
    stream = Growing(tmp_path / "stream", photos)
    stream.grow(1)
    stream.grow(2)
    assert len(tfrecords.open(stream.path, "train", snapshot=1)) == 3
    newest = tfrecords.open(stream.path, "train")
    assert isinstance(newest, Scenes) and {scene.key for scene in newest} == {s.key for s in draw_scenes()["train"]}


def test_lists_of_a_batch_are_padded_and_counted(photos: Path) -> None:
    scenes = open_scenes(photos)
    batches = list(tfrecords.Batches(scenes, 4))
    batch = batches[0]
    assert batch["image"].shape == (4, CANVAS, CANVAS, 3) and batch["number_count"].tolist() == [2, 1, 1, 0]
    assert batch["texts"].tolist() == [["19", "7"], ["305", ""], ["1234", ""], ["", ""]]
    assert batch["digit_count"].tolist() == [3, 3, 4, 0] and batch["digit_boxes"].shape == (4, 4, 4)
    for row, scene in enumerate(iter(scenes[:4])):
        for name, count in (("boxes", len(scene.texts)), ("digit_labels", len(scene.digit_labels))):
            np.testing.assert_array_equal(batch[name][row][:count], getattr(scene, name))
            assert not batch[name][row][count:].any()
    assert len(batches[1]["key"]) == 1
    assert set(tfrecords.Batches(scenes, 4, names=("key", "boxes"))[0]) == {"key", "boxes"}
    with pytest.raises(UserError, match=r"names must be among key, image, texts, .* Received: crop_box"):
        tfrecords.Batches(scenes, 4, names=("crop_box",))


def test_a_batch_without_any_number_has_empty_lists(photos: Path) -> None:
    batch = open_scenes(photos).batch([3])
    assert batch["texts"].shape == (1, 0) and batch["texts"].dtype.kind == "U" and batch["boxes"].shape == (1, 0, 4)


def test_readers_of_single_numbers_refuse_scenes_and_say_what_reads_them(photos: Path) -> None:
    with pytest.raises(UserError, match=r"must hold images .*: tfrecords\.open reads scenes\. Received: the task find"):
        ImageCache(photos, "train")
    torch = pytest.importorskip("tfrecords.torch", reason="PyTorch is not installed")
    for door in (torch.DigitDataset, lambda scenes: torch.DigitBatches(scenes, 2)):
        with pytest.raises(UserError, match=r"A dataset of task find is read by tfrecords\.torch\.SceneDataset"):
            door(open_scenes(photos))


def test_a_wrong_record_is_named(photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(photos, tmp_path / "copy")
    shard = copy / "photos-train.tfrecord-00000-of-00002"
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"record 0.*checksum"):
        tfrecords.open(copy, "train")[0]
    kept = tfrecords.open(copy, "train", on_error="skip")
    assert len(list(kept)) == 4 and kept.skipped == 1


def test_what_is_outside_the_picture_must_be_black() -> None:
    scene = draw_scene("train/a.png")
    check_padding(scene)
    scene.image[-1, 5] = 9
    with pytest.raises(UserError, match=r"image must be 0 outside its content_size, \[70, 96\]\. Received: 9"):
        check_padding(scene)


def test_pytorch_gets_targets_of_detectors(photos: Path, records: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tfrecords.torch import SceneDataset

    scenes = open_scenes(photos)
    image, target = SceneDataset(scenes)[0]
    assert image.shape == (3, CANVAS, CANVAS) and image.dtype == torch.uint8
    assert target["boxes"].dtype == torch.float32 and target["boxes"].tolist() == [[6, 4, 29, 24], [36, 30, 47, 50]]
    assert target["labels"].tolist() == [1, 1] and target["texts"] == ["19", "7"] and target["image_id"] == 0
    _, target = SceneDataset(scenes, "digits")[0]
    assert target["labels"].tolist() == [2, 10, 8] and target["boxes"][1].tolist() == [18, 4, 29, 24]
    _, target = SceneDataset(scenes)[-2]
    assert target["boxes"].shape == (0, 4) and target["labels"].shape == (0,) and target["image_id"] == 3
    loader = torch.utils.data.DataLoader(SceneDataset(scenes), 2, collate_fn=SceneDataset.collate)
    assert [len(images) for images, _ in loader] == [2, 2, 1]
    with pytest.raises(UserError, match="SceneDataset needs a dataset of task find"):
        SceneDataset(tfrecords.open(records, "train"))
    with pytest.raises(UserError, match="classes must be number or digits"):
        SceneDataset(scenes, "letters")


def test_grain_gets_arrays_of_each_scene(photos: Path) -> None:
    grain = pytest.importorskip("grain", reason="Grain is not installed")
    from tfrecords.grain import DigitSource

    items = list(grain.MapDataset.source(DigitSource(open_scenes(photos))))
    assert [item["texts"].tolist() for item in items] == [["19", "7"], ["305"], ["1234"], [], ["4", "88"]]
    assert {item["texts"].dtype.kind for item in items} == {"U"} and items[3]["boxes"].shape == (0, 4)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_tensorflow_datasets_reads_boxes_as_shares_of_the_image(tmp_path: Path, encoding: str) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="TensorFlow Datasets is not installed")
    photos = write_scenes(tmp_path / "photos", encoding=encoding)
    builder = tfrecords.tfds_builder(photos)
    numbers = builder.info.features["numbers"]
    assert isinstance(numbers.feature["bbox"], tfds.features.BBoxFeature)
    assert isinstance(builder.info.features["digits"].feature["bbox"], tfds.features.BBoxFeature)
    assert "fitted into 96x96 pixels" in builder.info.description
    found = {row["key"].decode(): row for row in tfds.as_numpy(builder.as_dataset(split="train"))}
    for scene in open_scenes(photos):
        row = found[scene.key]
        assert tuple(text.decode() for text in row["numbers"]["text"]) == scene.texts
        np.testing.assert_allclose(row["numbers"]["bbox"] * CANVAS, scene.boxes, atol=1e-4)
        np.testing.assert_array_equal(row["digits"]["label"], scene.digit_labels)
        np.testing.assert_array_equal(row["digits"]["number"], scene.digit_numbers)
        np.testing.assert_array_equal(row["content_size"], scene.content_size)
        # TensorFlow decodes JPEG with a faster transform, up to 11 apart at edges.
        assert np.abs(row["image"].astype(int) - scene.image.astype(int)).mean() <= 0.5 * (encoding == "jpeg")


def test_features_are_those_that_tensorflow_datasets_would_write(photos: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="TensorFlow Datasets is not installed")
    from google.protobuf import json_format

    builder = tfrecords.tfds_builder(photos)
    written = json_format.MessageToDict(builder.info.features.to_proto())
    stored = json.loads((photos / "features.json").read_text())
    box = stored["featuresDict"]["features"]["numbers"]["sequence"]["feature"]["featuresDict"]["features"]["bbox"]
    theirs = written["featuresDict"]["features"]["numbers"]["sequence"]["feature"]["featuresDict"]["features"]["bbox"]
    assert tfds.__version__ and {**box, "description": ""} == {**theirs, "description": ""}
