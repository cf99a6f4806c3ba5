"""The same records through TensorFlow Datasets, tf.data and our own reader."""

import io
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from tests import every_door
from tests.conftest import Shared
from tests.every_door import digest
from tests.meters import ALPHABET, draw_meters
from tfrecords import Manifest
from tfrecords.__main__ import COMMANDS as TFRECORDS_COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.record.schema import DigitExample, check_example, features_of

tfds = pytest.importorskip("tensorflow_datasets", reason="TensorFlow Datasets is not installed: 'streetdigits[tfds]'")

ROOT = Path(__file__).parents[1]
EXPORTS = ("parquet", "arrow", "webdataset")
ARRAYS = ("image", "digits", "length", "crop_box", "jitter_offset", "source_size", "boxes")


LETTERS = "京ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
_METERS = ["--alphabet", f"{ALPHABET}-", "--channels", "1", "--aspect", "3", "--test-fraction", "0.3"]
_LETTERS = [
    "--alphabet",
    LETTERS,
    "--channels",
    "1",
    "--crop-size",
    "8",
    "--record-size",
    "8",
    "--test-fraction",
    "0.3",
]
DATASETS = {
    "raw, one size": ["--jitters", "2"],
    "raw, two sizes": ["--jitters", "0"],
    "png, two sizes": ["--jitters", "0", "--encoding", "png"],
    "9 characters, raw, two sizes": ["--jitters", "0", *_METERS],
    "9 characters, png, one size": ["--jitters", "2", "--encoding", "png", *_METERS],
    "1 of 40 letters, raw, 8 x 8 x 1": _LETTERS,
}
"""Options of `prepare`."""
SHAPES = {"9 characters, png, one size": (54, 162, 1), "1 of 40 letters, raw, 8 x 8 x 1": (8, 8, 1)}
Datasets = dict[str, Path]
SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def datasets(drawn: Path, shared: Shared) -> Datasets:
    def fill(folder: Path) -> None:
        draw_meters(folder / "9", 30)
        _draw_letters(folder / "1")
        for index, (name, options) in enumerate(DATASETS.items()):
            source, pictures = ("table", folder / name[0]) if name[0].isdigit() else ("svhn", drawn)
            arguments = ["--source", source, "--input", str(pictures), "--output", str(folder / f"records{index}")]
            arguments += ["--examples-per-shard", "100"]
            assert main("beam_jobs", "", COMMANDS, ["prepare", *arguments, *options]) == 0

    folder = shared("doors", fill)
    return {name: folder / f"records{index}" for index, name in enumerate(DATASETS)}


def _draw_letters(folder: Path) -> None:
    """Writes 40 grey pictures of 8 x 8 pixels, and a table of their letters."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (len(LETTERS), 8, 8), np.uint8)
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{index}.png")
    rows = "".join(f"{index}.png,{letter}\n" for index, letter in enumerate(LETTERS))
    (folder / "letters.csv").write_text(f"file_name,text\n{rows}", encoding="utf-8")


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest, datasets: Datasets) -> Path:
    return datasets[request.param]


@pytest.fixture(scope="module")
def found(datasets: Datasets, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every door gives of each dataset, in a process that has no TensorFlow: see `tests.every_door`."""
    places = []
    for dataset in datasets.values():
        folder = tmp_path_factory.mktemp("exported")
        places.append([str(dataset), *(str(folder / kind) for kind in EXPORTS)])
        for kind, output in zip(EXPORTS, places[-1][1:], strict=True):
            # In this process: starting others costs more than so few examples.
            command = ["export", str(dataset), "--to", kind, "--output", output, "--jobs", "1"]
            assert main("tfrecords", "", TFRECORDS_COMMANDS, command) == 0
    command = [sys.executable, "-m", "tests.every_door", json.dumps(places), *SPLITS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(datasets, json.loads(done.stdout), strict=True))


def _assert_equal(ours: DigitExample, theirs: dict[str, Any]) -> None:
    assert theirs["key"].decode() == ours.key and theirs["text"].decode() == ours.text
    for name in ARRAYS:
        value = np.asarray(theirs[name])
        assert value.dtype == np.asarray(getattr(ours, name)).dtype, name
        np.testing.assert_array_equal(value, getattr(ours, name), err_msg=name)


def test_tensorflow_datasets_gives_the_same_examples_in_the_same_order(dataset: Path) -> None:
    builder = tfds.builder_from_directory(dataset)
    manifest = Manifest.load(dataset)
    for split in ("train", "test"):
        assert builder.info.splits[split].num_examples == manifest.split(split).examples
        config = tfds.ReadConfig(interleave_cycle_length=1)
        theirs = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=config)))
        ours = list(tfrecords.open(dataset, split))
        assert len(theirs) == len(ours) == manifest.split(split).examples
        for one, other in zip(ours, theirs, strict=True):
            _assert_equal(one, other)


def test_tensorflow_datasets_cuts_sub_splits_and_knows_the_features(dataset: Path) -> None:
    builder = tfds.builder_from_directory(dataset)
    assert len(list(builder.as_dataset(split="train[:10%]"))) == round(len(tfrecords.open(dataset, "train")) / 10)
    manifest = Manifest.load(dataset)
    features, labels = features_of(manifest.labels), manifest.labels
    assert set(builder.info.features) == {name for name in features if not name.startswith("image/")}
    found = builder.info.features
    assert found["image"].dtype == np.uint8 and found["image"].shape == manifest.image.shape
    assert found["digits"].shape == (labels.max_length,) and found["boxes"].shape == (labels.max_length, 4)
    assert found["has_digit_boxes"].dtype == np.bool_ and found["digits"].doc.desc == features["digits"].meaning
    is_svhn = manifest.config["source"] == "svhn"
    assert "streetdigits" in builder.info.description and ("netzer2011" in builder.info.citation) is is_svhn


@pytest.mark.parametrize("name", DATASETS)
def test_datasets_are_as_this_file_calls_them(name: str, datasets: Datasets) -> None:
    manifest = Manifest.load(datasets[name])
    assert manifest.labels.max_length == (int(name[0]) if name[0].isdigit() else 5)
    assert (None in manifest.image.shape) is ("two sizes" in name) and manifest.image.encoding in name
    assert manifest.image.shape == SHAPES.get(name, manifest.image.shape)
    for example in tfrecords.open(datasets[name], "train"):
        check_example(example, manifest.labels)
        assert example.has_digit_boxes == example.boxes.any() == (not name[0].isdigit())


def test_the_image_cache_gives_the_same_examples(dataset: Path) -> None:
    for split in SPLITS:
        examples = tfrecords.open(dataset, split)
        cached = ImageCache(dataset, split).take(np.arange(len(examples)))
        assert [key.decode() for key in cached.keys] == [example.key for example in examples]
        for index, example in enumerate(examples):
            image = cached.images[index]
            if isinstance(image, bytes):
                image = np.asarray(Image.open(io.BytesIO(image))).reshape(example.image.shape)
            np.testing.assert_array_equal(image, example.image)
            assert cached.length[index] == example.length
            np.testing.assert_array_equal(cached.digits[index], example.digits)


def test_tf_data_gives_the_same_examples_in_the_same_order(dataset: Path) -> None:
    manifest = Manifest.load(dataset)
    types = {"int64": tf.int64, "bytes": tf.string, "float": tf.float32}
    image = "image/value" if manifest.image.dynamic else "image"
    spec = {
        image if name == "image" else name: tf.io.FixedLenFeature(feature.shape, types[feature.kind])
        for name, feature in features_of(manifest.labels).items()
    }
    for split, info in manifest.splits.items():
        paths = [str(dataset / shard.file) for shard in info.shards]
        for ours, record in zip(tfrecords.open(dataset, split), tf.data.TFRecordDataset(paths), strict=True):
            theirs = {name: value.numpy() for name, value in tf.io.parse_single_example(record, spec).items()}
            if manifest.image.encoding == "raw":
                theirs["image"] = np.frombuffer(theirs[image], np.uint8).reshape(theirs["image/shape"])
            else:
                theirs["image"] = tf.io.decode_png(theirs["image"]).numpy()
            _assert_equal(ours, theirs)


def test_a_split_without_examples_does_not_keep_tensorflow_datasets_from_the_others(
    drawn: Path, tmp_path: Path
) -> None:
    # One picture in train, and a validation share that it does not fall into.
    source = tmp_path / "one"
    shutil.copytree(drawn / "test", source)
    output = tmp_path / "records"
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), "--subsets", "tiny"]
    assert main("beam_jobs", "", COMMANDS, ["prepare", *arguments, "--validation-fraction", "0.000001"]) == 0
    assert Manifest.load(output).split("validation").examples == 0
    builder = tfds.builder_from_directory(output)
    assert len(list(builder.as_dataset(split="train"))) == 100
    assert list(builder.info.splits) == ["train"]
    names = [split["name"] for split in json.loads((output / "dataset_info.json").read_text())["splits"]]
    assert names == ["train"]


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.slow
def test_every_door_gives_the_same_examples_in_the_same_order_without_tensorflow(
    name: str, datasets: Datasets, found: dict[str, Any]
) -> None:
    builder = tfds.builder_from_directory(datasets[name])
    config = tfds.ReadConfig(interleave_cycle_length=1)
    for split in SPLITS:
        theirs = tfds.as_numpy(builder.as_dataset(split=split, read_config=config))
        expected = [digest({**row, "key": row["key"].decode(), "text": row["text"].decode()}) for row in theirs]
        doors = found[name][split]
        assert len(set(expected)) == len(expected) > 5
        for door, digests in doors.items():
            assert digests == expected, door
    left_out = {module for module in every_door.NEEDS.values() if not find_spec(module)}
    assert len(doors) == 11 - sum(module in left_out for module in every_door.NEEDS.values())
    if left_out:
        pytest.skip(f"without the doors of {', '.join(sorted(left_out))}, which are not installed; the others agree")
