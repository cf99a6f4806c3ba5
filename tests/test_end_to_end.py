"""The whole way on drawn pictures, small: train, evaluate, predict, export, report."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

import tfrecords
from tests import replicas
from tests.forked import Forked
from tfrecords.cli import main
from tfrecords.dataset.manifest import ANNOTATIONS
from tfrecords.images.crop import BoundingBox, union
from trainer.__main__ import COMMANDS
from trainer.fit.step import make_train_step
from trainer.input.augment import uniforms_needed
from trainer.input.dataset import open_images, split_dataset
from trainer.models import build_model
from trainer.run.config import AugmentConfig, TrainConfig
from trainer.run.directory import HISTORY, Run
from trainer.run.evaluations import EvaluationFiles
from trainer.scoring.inference import make_forward, predict_split

pytestmark = pytest.mark.slow


def trainer(*arguments: object) -> int:
    return main("trainer", "", COMMANDS, list(map(str, arguments)))


@pytest.fixture(scope="module")
def run_dir(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    options = ["--epochs", 2, "--global-batch-size", 48, "--seed", 1]
    assert trainer("train", "--data", records, "--run-dir", folder, *options) == 0
    assert trainer("evaluate", "--run-dir", folder, "--data", records, "--split", "test") == 0
    return folder


def test_training_saves_its_configuration_history_and_weights(run_dir: Path) -> None:
    run = Run.load(run_dir)
    assert run.config == TrainConfig(epochs=2, global_batch_size=48, seed=1)
    assert run.image_shape == (54, 54, 3) and run.weights.is_file()
    lines = [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["train_loss"] < lines[0]["train_loss"]
    assert {"validation_whole_number_accuracy", "validation_loss", "learning_rate"} <= set(lines[0])
    assert list((run_dir / "tensorboard").iterdir())


def test_a_run_is_not_overwritten_unasked(records: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run_dir / HISTORY).read_bytes()
    assert trainer("train", "--data", records, "--run-dir", run_dir) == 1
    assert "already contains a run: use --overwrite" in capsys.readouterr().err
    assert (run_dir / HISTORY).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 0], "epochs must be at least 1. Received: 0"),
        (["--learning-rate", -1], "learning_rate must be above 0. Received: -1.0"),
        (["--global-batch-size", 0], "global_batch_size must be at least 1. Received: 0"),
    ],
)
def test_a_wrong_option_makes_no_run(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[object], message: str
) -> None:
    assert trainer("train", "--data", records, "--run-dir", tmp_path / "run", *options) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "run").exists()


def test_the_evaluation_counts_every_example_once_whatever_the_batch(
    records: Path, run_dir: Path, tmp_path: Path
) -> None:
    first = json.loads(EvaluationFiles.of_split(run_dir, "test").scores.read_text())
    assert first["num_examples"] == 20 == sum(row["num_examples"] for row in first["by_length"])
    for batch in (1, 7, 20):
        assert trainer("evaluate", "--run-dir", run_dir, "--data", records, "--batch-size", batch) == 0
        again = json.loads(EvaluationFiles.of_split(run_dir, "test").scores.read_text())
        assert again["whole_number_accuracy"] == first["whole_number_accuracy"]
        assert again["loss"] == pytest.approx(first["loss"], rel=1e-5)
        assert again["confusion"] == first["confusion"]


def test_the_scores_follow_from_the_answers_beside_them(records: Path, run_dir: Path) -> None:
    rows = pq.read_table(EvaluationFiles.of_split(run_dir, "test").predictions).to_pylist()
    examples = list(tfrecords.open(records, "test"))
    assert [row["key"] for row in rows] == [example.key for example in examples]
    assert [row["number"] for row in rows] == [example.text for example in examples]
    assert [row["correct"] for row in rows] == [row["number"] == row["answer"] for row in rows]
    scores = json.loads(EvaluationFiles.of_split(run_dir, "test").scores.read_text())
    assert scores["whole_number_accuracy"] == np.mean([row["correct"] for row in rows])


def _photo(records: Path, drawn: Path, row: int = 0) -> tuple[Path, str]:
    """A test picture and the --box of its number."""
    table = pq.read_table(records / ANNOTATIONS).to_pylist()
    chosen = [line for line in table if line["split"] == "test"][row]
    box = union(BoundingBox(**edges) for edges in chosen["boxes"])
    return drawn / chosen["key"], f"{box.xmin:g},{box.ymin:g},{box.width:g},{box.height:g}"


def test_a_photo_with_its_box_is_read_as_its_record_is(
    records: Path, drawn: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, box = _photo(records, drawn)
    assert trainer("predict", "--run-dir", run_dir, photo, "--box", box, "--json") == 0
    (answered,) = json.loads(capsys.readouterr().out)
    rows = {row["key"]: row for row in pq.read_table(EvaluationFiles.of_split(run_dir, "test").predictions).to_pylist()}
    expected = rows[f"test/{photo.name}#0"]
    assert answered["number"] == expected["answer"]
    assert answered["confidence"] == pytest.approx(expected["confidence"], rel=1e-3)
    assert sum(answered["length_probabilities"]) == pytest.approx(1)
    assert len(answered["digits"]) == answered["length"]


def test_a_photo_that_cannot_be_read_loses_no_other(
    drawn: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.png").write_text("no picture")
    photos = [drawn / "test" / "1.png", tmp_path / "note.png", tmp_path / "gone.png", drawn / "test" / "2.png"]
    assert trainer("predict", "--run-dir", run_dir, *photos) == 1
    printed = capsys.readouterr()
    assert "note.png: The file must be a picture (" in printed.err and "Received: 10 bytes" in printed.err
    assert "gone.png" in printed.err
    assert str(photos[0]) in printed.out and str(photos[3]) in printed.out


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "0,0,0,5", "nan,0,5,5"])
def test_a_box_that_is_none_is_refused(
    drawn: Path, run_dir: Path, capsys: pytest.CaptureFixture[str], box: str
) -> None:
    assert trainer("predict", "--run-dir", run_dir, drawn / "test" / "1.png", "--box", box) == 1
    assert f"Received: {box}\n" in capsys.readouterr().err


@pytest.fixture(scope="module")
def exported(run_dir: Path) -> Path:
    output = run_dir.parent / "reader"
    assert trainer("export", "--run-dir", run_dir, "--format", "savedmodel", "--output", output) == 0
    return output


@pytest.fixture(scope="module")
def signatures(exported: Path) -> Any:
    return tf.saved_model.load(str(exported)).signatures


def test_the_export_reads_as_predict_does(
    records: Path, drawn: Path, run_dir: Path, signatures: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, boxes = zip(*(_photo(records, drawn, row) for row in range(6)), strict=True)
    data = tf.constant([photo.read_bytes() for photo in photos])
    numbers = tf.constant([[float(part) for part in box.split(",")] for box in boxes])
    capsys.readouterr()
    for signature, arguments, options in (
        ("serving_default", {"pictures": data}, []),
        ("with_boxes", {"pictures": data, "boxes": numbers}, [part for box in boxes for part in ("--box", box)]),
    ):
        served = signatures[signature](**arguments)
        assert trainer("predict", "--run-dir", run_dir, *photos, *options, "--json") == 0
        answers = json.loads(capsys.readouterr().out)
        # The two resize in their own ways: a grey value may differ by one.
        np.testing.assert_allclose(
            served["length_probabilities"], [answer["length_probabilities"] for answer in answers], atol=0.02
        )
        for row, answered in enumerate(answers):
            if answered["confidence"] > 0.1:
                assert served["number"][row].numpy().decode() == answered["number"]
            assert served["confidence"][row].numpy() == pytest.approx(answered["confidence"], abs=0.02)


def test_a_jpeg_of_another_size_is_served_too(run_dir: Path, exported: Path, signatures: Any, tmp_path: Path) -> None:
    Image.new("RGB", (301, 77), (9, 99, 200)).save(tmp_path / "blue.jpg")
    answered = signatures["serving_default"](pictures=tf.constant([(tmp_path / "blue.jpg").read_bytes()]))
    assert answered["digit_probabilities"].shape == (1, 5, 10)
    assert trainer("export", "--run-dir", run_dir, "--output", exported) == 1


def test_the_report_shows_the_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trainer("report", "--run-dir", run_dir) == 0
    assert "missing" not in capsys.readouterr().out
    page = (run_dir / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 20
    assert "test/1.png#0" in page and "Whole-number accuracy" in page


def test_two_replicas_have_the_losses_of_one_also_in_a_short_last_batch(records: Path) -> None:
    examples = len(tfrecords.open(records, "train"))
    batch = next(size for size in range(50, 80) if examples % size not in (0, 1))
    # A process of its own: TensorFlow 2.21 confuses the collective operations of two strategies in one.
    code, output, errors = Forked(replicas.run, records, batch).wait()
    assert code == 0, errors
    one, two = json.loads(output.splitlines()[-1])
    assert len(one) == 2 * math.ceil(examples / batch) and one[-1] < one[0]
    np.testing.assert_allclose(two, one, atol=1e-5)


def test_a_model_learns_twenty_pictures_by_heart(records: Path) -> None:
    # The whole chain must be able to reach 100 %: a wrong label or loss could not.
    import keras

    keras.utils.set_random_seed(0)
    model = build_model("compact", (54, 54, 3))
    optimizer = keras.optimizers.AdamW(2e-3)
    strategy = tf.distribute.get_strategy()
    config = TrainConfig(augment=AugmentConfig(0.0, 0.0, 0.0))
    step = make_train_step(strategy, model, optimizer, config)
    (batch,) = split_dataset(open_images(records, "test"), 20)
    for _ in range(35):
        step({**batch, "uniform": tf.fill((20, uniforms_needed(3)), 0.5)})
    # Batch normalisation's averages follow a few steps behind.
    found = predict_split(make_forward(model), split_dataset(open_images(records, "test"), 20))
    right = (found.predictions.length == found.length).mean()
    texts = [example.text for example in tfrecords.open(records, "test")]
    assert right >= 0.95
    assert np.mean([text == read for text, read in zip(texts, found.predictions.texts, strict=True)]) >= 0.95
