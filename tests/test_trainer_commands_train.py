"""Where weights come from and which are kept: another run's, and the running average of a run's own."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.fit.optimizer import averaged_weights
from trainer.fit.step import make_train_step
from trainer.models import build_model
from trainer.pretrained import DIRECTORY
from trainer.run.config import AugmentConfig, TrainConfig
from trainer.run.directory import CONFIG, Run
from trainer.run.evaluations import EvaluationFiles
from trainer.run.weights import load_model, start_from


@pytest.fixture(scope="module")
def run(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of `compact` that has learned nothing, this module's own."""
    return Run.load(Path(shutil.copytree(untrained, tmp_path_factory.mktemp("untrained") / "run")))


def test_a_model_starts_from_the_weights_of_another_run(run: Run) -> None:
    keras.utils.set_random_seed(2)
    model = build_model("compact", run.image_shape)
    start_from(model, str(run.directory))
    for mine, theirs in zip(model.get_weights(), load_model(run).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_another_architecture_s_run_is_no_start(run: Run) -> None:
    with pytest.raises(UserError, match=r"must be a run of vgg\. Received: compact$"):
        start_from(build_model("vgg", (54, 54, 3)), str(run.directory))


def test_a_run_is_no_start_of_itself_and_loses_nothing(
    run: Run, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(run.directory)
    options = ["train", "--data", str(records), "--run-dir", folder, "--init", folder, "--overwrite"]
    assert main("trainer", "", COMMANDS, options) == 1
    assert "--init must be another run than --run-dir. Received:" in capsys.readouterr().err
    assert run.weights.is_file() and (run.directory / CONFIG).is_file()


@pytest.mark.parametrize("name", ["pretrained", "./pretrained", str(DIRECTORY)])
def test_a_run_does_not_take_the_name_or_the_folder_of_the_package_s_weights(
    records: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main("trainer", "", COMMANDS, ["train", "--data", str(records), "--run-dir", name, "--overwrite"]) == 1
    rule = "error: --run-dir must not be the weights of the package, which the name pretrained means. Received: "
    assert capsys.readouterr().err.startswith(rule)
    assert (DIRECTORY / CONFIG).is_file() and not Path("pretrained").exists()


@pytest.mark.parametrize(("version", "made"), [(0, "an older streetdigits"), (3, "a newer streetdigits")])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_dataset_of_another_schema_version_is_refused(
    run: Run,
    records: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    version: int,
    made: str,
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**content, "schema_version": version}))
    run_dir = run.directory if command == "evaluate" else tmp_path / "run"
    before = {path: path.stat().st_mtime_ns for path in (run.directory, *run.directory.iterdir())}
    assert main("trainer", "", COMMANDS, [command, "--data", str(tmp_path), "--run-dir", str(run_dir)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / MANIFEST} was made by {made}") and error.count("\n") == 1
    assert error.endswith(f"this version reads the schema versions 1 and 2. Received: {version}\n")
    assert {path: path.stat().st_mtime_ns for path in (run.directory, *run.directory.iterdir())} == before
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


@pytest.fixture(scope="module")
def whole_crops(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose splits differ: training pictures with a margin, the others cut to their middle."""
    folder = tmp_path_factory.mktemp("whole") / "svhn"
    options = ["prepare", "--source", "svhn", "--input", str(drawn), "--output", str(folder), "--jitters", "0"]
    assert main("beam_jobs", "", BEAM_COMMANDS, options) == 0
    return folder


@pytest.mark.parametrize("dataset", ["records", "whole_crops"])
def test_crops_of_pictures_without_a_margin_are_refused(
    run: Run, dataset: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    data = request.getfixturevalue(dataset)
    options = ["evaluate", "--data", str(data), "--run-dir", str(run.directory), "--crops", "10"]
    assert main("trainer", "", COMMANDS, options) == 1
    message = capsys.readouterr().err
    assert f" of {data} (`prepare --whole-crops` stores larger ones). Received: --crops 10" in message


def test_crops_of_pictures_with_a_margin_change_the_answers(run: Run, whole_crops: Path) -> None:
    losses = []
    for crops in ("1", "3"):
        options = ["evaluate", "--data", str(whole_crops), "--run-dir", str(run.directory), "--split", "train"]
        assert main("trainer", "", COMMANDS, [*options, "--crops", crops]) == 0
        losses.append(json.loads(EvaluationFiles.of_split(run.directory, "train").scores.read_text())["loss"])
    assert losses[0] != losses[1]


def test_the_average_stands_in_for_the_weights_and_steps_aside() -> None:
    inputs = keras.Input((6, 6, 3))
    flat = keras.layers.Flatten()(inputs / 255.0)
    digits = keras.layers.Reshape((5, 10))(keras.layers.Dense(50)(flat))
    model = keras.Model(inputs, {"length_logits": keras.layers.Dense(7)(flat), "digit_logits": digits})
    # Not MirroredStrategy: TensorFlow 2.21 confuses the collective operations of two strategies in one process.
    strategy = tf.distribute.get_strategy()
    with strategy.scope():
        model = keras.models.clone_model(model)
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75)
        optimizer.build(model.trainable_variables)
    config = TrainConfig(augment=AugmentConfig(contrast=0.0, brightness=0.0, invert=0.0), label_smoothing=0.1)
    batch = {
        "image": np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), np.uint8),
        "length": np.full(4, 1),
        "digits": np.tile([7, 10, 10, 10, 10], (4, 1)),
        "uniform": np.full((4, 14), 0.5, np.float32),
    }
    batch = {name: tf.constant(value) for name, value in batch.items()}
    step = make_train_step(strategy, model, optimizer, config)
    step(batch)
    expected = own = model.get_weights()
    for _ in range(2):
        step(batch)
        own = model.get_weights()
        expected = [0.75 * a + 0.25 * b for a, b in zip(expected, own, strict=True)]
    with averaged_weights(model, optimizer):
        for average, value in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7)
    for after, value in zip(model.get_weights(), own, strict=True):
        np.testing.assert_array_equal(after, value)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(expected, own, strict=True))
