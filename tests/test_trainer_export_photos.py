"""A finder and a reader in one export: the same pixels, places and numbers as in Python."""

import base64
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import scene_runs
from tests.untrained import make_run
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.decode import cut
from tfrecords.images.fit import fit_to_canvas
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.export.compare_photos import compare_on_photos, sample_photos
from trainer.export.formats import FORMATS, TOLERANCE
from trainer.export.part_graph import Part, cut_part
from trainer.export.photo_graph import PhotoModels, _select, read_photo
from trainer.finding.boxes import select
from trainer.finding.decode import peaks
from trainer.models import FINDERS
from trainer.photo_reader import MOST_NUMBERS, PhotoReader
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, Run, write_json
from trainer.run.weights import load_model, save_weights
from trainer.scoring.decode import decode_predictions, mean_of_views

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```json\n(.*?)^```$", (ROOT / "docs" / "serving.md").read_text(), re.MULTILINE | re.DOTALL)
REQUEST, RESPONSE = map(json.loads, BLOCKS[-2:])
NOISE = np.random.default_rng(0).integers(0, 256, (130, 300, 3), np.uint8)


def _part_function(side: int) -> Any:
    def window(picture: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
        return cut_part(picture, Part(*tf.unstack(part)), (side, side))

    return tf.function(
        window, autograph=False, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec(8, tf.int32)]
    )


def test_a_window_of_a_resized_part_has_the_pixels_of_cut() -> None:
    window, side = _part_function(32), 32
    boxes = [(0, 0, 130, 300), (3, 4, 4, 5), (7, 0, 39, 32), (0, 10, 20, 30), (50, 50, 60, 299), (9, 9, 130, 22)]
    for box in boxes:
        for shape, (y, x) in (((32, 32), (0, 0)), ((40, 44), (4, 6)), ((20, 32), (0, 0))):
            expected = np.zeros((side, side, 3), np.uint8)
            part = cut(NOISE, BoundingBox(*box), shape)[y : y + side, x : x + side]
            expected[: part.shape[0], : part.shape[1]] = part
            np.testing.assert_array_equal(window(NOISE, np.array([*box, *shape, y, x], np.int32)), expected)


def test_a_canvas_of_256_has_the_pixels_of_fit_to_canvas_also_where_weights_end_in_a_half() -> None:
    window = _part_function(256)
    for height, width in ((130, 300), (49, 30), (30, 99), (11, 93), (64, 197), (123, 123)):
        picture = NOISE[:height, :width]
        image, _, content = fit_to_canvas(picture, 256)
        np.testing.assert_array_equal(window(picture, np.array([0, 0, height, width, *content, 0, 0], np.int32)), image)


def test_each_number_is_kept_once_as_select_keeps_it() -> None:
    rng = np.random.default_rng(1)
    keep, kept = tf.function(_select, autograph=False), 0
    for _ in range(40):
        start = rng.uniform(0, 60, (20, 2))
        boxes = np.concatenate([start, start + rng.uniform(1, 40, (20, 2))], 1).astype(np.float32)
        confidence = np.sort(rng.uniform(0, 1, 20).astype(np.float32))[::-1]
        found = [one.confidence for one in select(boxes, confidence, (200, 200), 0.2)]
        np.testing.assert_array_equal(confidence[keep(boxes, confidence >= 0.2)], np.array(found, np.float32))
        kept += len(found)
    assert 40 * 2 < kept < 40 * 15


CANVAS, STRIDE, LABELS = 64, 8, Labels(max_length=2, alphabet="01")
CROP = CropSpec(growth=0.2, crop_size=12, record_size=10)


def _find(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Finds bright places; the edges of their boxes are not on half pixels, where float32 and float64 may differ."""
    heat = tf.nn.avg_pool2d(tf.reduce_mean(images, -1, keepdims=True), STRIDE, STRIDE, "VALID") / 16 - 8
    return {"heat_logits": heat, "distance_logits": tf.math.log(tf.ones_like(heat) * [0.93, 1.07, 1.13, 0.97])}


def _read(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads no number in grey, one digit in red, two in blue."""
    colours = tf.reduce_mean(images, (1, 2))
    red, blue = colours[:, 0] - colours[:, 1], colours[:, 2] - colours[:, 1]
    length = tf.stack([tf.fill(tf.shape(red), 20.0), red, blue, -abs(red)], 1) / 10
    digit = tf.stack([colours[:, 1], red], 1) / 20
    return {"length_logits": length, "digit_logits": tf.stack([digit, -digit], 1)}


def _python(photo: PhotoModels) -> PhotoReader:
    """Finds and reads with the same two functions, by the code for Python."""

    def find(picture: np.ndarray) -> Any:
        image, scale, content = fit_to_canvas(to_channels(picture, photo.find_channels), CANVAS)
        boxes, confidence = (one.numpy()[0] for one in peaks(_find(tf.constant(image[None], tf.float32)), STRIDE))
        return select(boxes, confidence, content, photo.candidates, scale)

    def predict(images: np.ndarray, views: int) -> Any:
        outputs = _read(tf.constant(images, tf.float32))
        outputs = {name: mean_of_views(value.numpy(), views) for name, value in outputs.items()}
        predictions = decode_predictions(outputs["length_logits"], outputs["digit_logits"], LABELS)
        return predictions.with_temperature(photo.temperature)

    run = SimpleNamespace(crop=CROP, image_shape=(10, 10, 3), labels=LABELS)
    return PhotoReader(SimpleNamespace(find=find), cast(Any, SimpleNamespace(run=run, predict=predict)), photo.least)


def _scene(colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Returns a dark photo with a bright square of each colour."""
    photo = np.full((90, 120, 3), 20, np.uint8)
    for index, colour in enumerate(colours):
        y, x = divmod(index, 3)
        photo[8 + 40 * y : 30 + 40 * y, 6 + 40 * x : 28 + 40 * x] = colour
    return photo


RED, BLUE, GREY = (255, 110, 110), (120, 120, 250), (200, 200, 200)
SCENES = {
    "one": _scene([RED]),
    "several, with one that is none": _scene([RED, GREY, BLUE]),
    "more than are read": _scene([RED, BLUE] * 3),
    "none": _scene([]),
    "no number at any place": _scene([GREY, GREY]),
    "the number is all": np.full((37, 50, 3), (100, 0, 0), np.uint8),
    # The places end, however much they are grown, in the grey part.
    "a whole that is read after places were none": np.where(np.arange(160)[:, None] < 130, 200, (0, 0, 250))
    .astype(np.uint8)[None]
    .repeat(90, 0),
    "large": _scene([BLUE, RED]).repeat(6, 0).repeat(6, 1),
}


@pytest.mark.parametrize(("channels", "temperature", "least"), [(3, 1.0, 0.0), (1, 1.7, 0.5)])
def test_a_graph_reads_photos_as_a_photo_reader_does(channels: int, temperature: float, least: float) -> None:
    photo = PhotoModels(_find, _read, CANVAS, channels, 3, STRIDE, CROP, 2, 0.3, least, temperature)
    python, counts = _python(photo), []
    graph = tf.function(
        lambda picture: read_photo(picture, photo),
        autograph=False,
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
    )

    def ask(pictures: Any) -> Any:
        return [{name: value.numpy() for name, value in graph(picture).items()} for picture in pictures]

    for name, picture in SCENES.items():
        (answer,) = ask([picture])
        numbers = python.read(picture)
        assert answer["count"] == len(numbers), name
        for index, number in enumerate(numbers):
            ymin, xmin, ymax, xmax = number.box or (0, 0, *picture.shape[:2])
            np.testing.assert_allclose(answer["boxes"][index], (xmin, ymin, xmax - xmin, ymax - ymin), atol=1e-3)
            assert LABELS.text(answer["digits"][index, : answer["length"][index]]) == number.text, name
            assert answer["confidence"][index] == pytest.approx(number.confidence, abs=1e-5)
            assert answer["box_confidence"][index] == pytest.approx(number.box_confidence, abs=1e-5)
        for one in ("boxes", "length", "digits", "confidence", "box_confidence"):
            assert len(answer[one]) == MOST_NUMBERS and not answer[one][len(numbers) :].any()
        counts.append((len(numbers), sum(number.box is None for number in numbers)))
    assert {count for count, _ in counts} >= {0, 1, 2} and sum(whole for _, whole in counts) >= 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Directories of an untrained finder, which finds much, and of a reader of single, grey characters."""
    folder = tmp_path_factory.mktemp("runs")
    finder, reader = folder / "finder", folder / "reader"
    finder.mkdir()
    FINDERS[scene_runs.NAME] = scene_runs.build
    dataset = {"task": "find", **asdict(Labels())}
    facts = {"image_shape": [CANVAS, CANVAS, 3], "reads_length": True, "dataset": dataset}
    write_json(finder / CONFIG, {**TrainConfig(model=scene_runs.NAME).to_dict(), **facts})
    keras.utils.set_random_seed(0)
    model = scene_runs.build((CANVAS, CANVAS, 3))
    model.get_layer("heat_logits").bias.assign([2.0])
    save_weights(model, Run.load(finder).weights)
    make_run(reader, Labels(max_length=1, alphabet="0123456789X"), (8, 8, 1), model="optdigits_cnn")
    # Sure of what it reads: what it is unsure of would be left out.
    run = Run.load(reader)
    sure = load_model(run)
    kernel = sure.get_layer("flat_digit_logits").kernel
    kernel.assign(30 * kernel)
    save_weights(sure, run.weights)
    yield finder, reader
    del FINDERS[scene_runs.NAME]


def _export(runs: tuple[Path, Path], output: Path) -> int:
    options = ["export", "--finder", str(runs[0]), "--run-dir", str(runs[1]), "--output", str(output)]
    return main("trainer", "", COMMANDS, options)


def test_a_saved_model_answers_the_documented_request_for_photos(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export(runs, tmp_path / "1") == 0
    printed = capsys.readouterr().out
    (count,) = map(int, re.findall(r"confidences of (\d+) numbers in drawn photos are within", printed))
    assert count >= 6 and f"SavedModel of {scene_runs.NAME} and optdigits_cnn (" in printed
    pictures = [data for _, data in sample_photos()][: len(REQUEST["instances"])]
    for instance, data in zip(REQUEST["instances"], pictures, strict=True):
        assert instance == {"b64": "PHOTO"}
        instance["b64"] = base64.b64encode(data).decode()
    sent = tf.constant([base64.b64decode(one["b64"]) for one in REQUEST["instances"]])
    answers = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](pictures=sent)
    (documented, *_) = RESPONSE["predictions"]
    assert set(answers) == set(documented)
    for name, value in documented.items():
        # Not the longest length, which is that of the reader.
        assert answers[name].shape[:2] == (len(pictures), *np.shape(value))[:2]
    assert set(b"".join(answers["number"].numpy().ravel())) <= set(b"0123456789X")
    assert all(bool(text) == (row < answers["count"][0]) for row, text in enumerate(answers["number"][0].numpy()))


@pytest.mark.parametrize("name", ["tflite", "onnx"])
@pytest.mark.slow
def test_other_runtimes_read_decoded_photos(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if not all(find_spec(module.partition(".")[0]) for module in FORMATS[name].needs):
        pytest.skip(f"{' or '.join(FORMATS[name].needs)} is not installed: 'streetdigits[export]'")
    # The command compares the file's numbers with those of a PhotoReader, on photos of several sizes.
    assert _export(runs, tmp_path / f"photos.{name}") == 0
    assert re.search(r"confidences of [1-9]\d* numbers in drawn photos are within", capsys.readouterr().out)
    assert [path.name for path in tmp_path.iterdir()] == [f"photos.{name}"]


@pytest.mark.parametrize("name", ["p.keras", "p.h5", "p.pb"])
def test_a_format_of_one_model_is_refused_with_a_finder(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert _export(runs, tmp_path / name) == 1
    assert (
        "--finder must go with the formats savedmodel, tflite or onnx: a Keras file or frozen graph holds one model"
        in (capsys.readouterr().err)
    )
    assert _export((runs[1], runs[1]), tmp_path / "1") == 1
    assert "must be the run of a model that can find numbers" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def _answers(change: dict[str, Any], pictures: Any) -> list[dict[str, Any]]:
    """What an export answers that reads 01 everywhere, but for a change."""
    answer = {
        "count": 1,
        "boxes": np.array([[2.0, 1.0, 4.0, 3.0]]),
        "length": np.array([2]),
        "digits": np.array([[0, 1]]),
        "confidence": np.array([0.75]),
        "box_confidence": np.array([0.5]),
    }
    return [{**answer, **change} for _ in pictures]


def test_an_export_that_reads_otherwise_is_refused_with_what_it_reads() -> None:
    predictions = SimpleNamespace(length=np.array([2]), digits=np.array([[0, 1]]))
    number = SimpleNamespace(
        predictions=predictions, index=0, box=BoundingBox(1, 2, 4, 6), confidence=0.75, box_confidence=0.5
    )
    reader = cast(PhotoReader, SimpleNamespace(read=lambda picture: [number]))
    difference, count = compare_on_photos(reader, functools.partial(_answers, {}), "ONNX file", TOLERANCE)
    assert difference == 0 and count == len(list(sample_photos())) >= 5
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"count": 0}, "no number instead of [0, 1] at [2, 1, 4, 3] (0.75000, 0.50000) in a JPEG of two numbers"),
        ({"digits": np.array([[1, 1]])}, "[1, 1] at [2.0, 1.0, 4.0, 3.0] (0.75000, 0.50000) instead of [0, 1]"),
        ({"boxes": np.array([[2.0, 1.1, 4.0, 3.0]])}, "[0, 1] at [2.0, 1.1, 4.0, 3.0]"),
        ({"confidence": np.array([np.nan])}, "(nan, 0.50000)"),
        ({"box_confidence": np.array([0.501])}, "(0.75000, 0.50100)"),
    )
    for change, message in changes:
        with pytest.raises(UserError, match="ONNX file must read photos as the finder and the reader do") as error:
            compare_on_photos(reader, functools.partial(_answers, change), "ONNX file", TOLERANCE)
        assert message in str(error.value)
