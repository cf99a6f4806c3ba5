"""The weights that come with the package: there after installation, told of, never written to."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import streetdigits
import tfrecords
from tests.untrained import make_run
from tests.wheel import build_wheel
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.lite.runtime import LITE_MODEL, choose_runtime
from trainer.models import build_model
from trainer.pretrained import (
    CARD,
    DIRECTORY,
    STREET,
    TABLE,
    Pretrained,
    chosen_run,
    find_pretrained,
    offered,
    run_directory,
)
from trainer.pretrained.__main__ import publish
from trainer.run.directory import CONFIG, EVALUATION, WEIGHTS, Run, write_json
from trainer.run.weights import load_model, start_from

LARGEST = {STREET: 10e6, "display": 10e6, "mnist": 1e6}
"""Sizes that the weights of a name may have, bytes."""
PACKAGED = dict(TABLE)
"""What comes with the package, also while a fixture has put other weights in its place."""
EVALUATION_OF_TEST = {
    "split": "test",
    "data": "/home/me/records",
    "num_examples": 500,
    "whole_number_accuracy": 0.9,
    "whole_number_accuracy_interval": [0.87, 0.923],
    "digit_accuracy": 0.95,
    "length_accuracy": 0.99,
    "coverage_at_98": 0.75,
}


def _state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When and with what each file was last written, and the folder itself."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path in files else b"") for path in (*files, folder)
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel of the package holds."""
    folder = tmp_path_factory.mktemp("wheel")
    site = folder / "site"
    with zipfile.ZipFile(build_wheel(folder)) as file:
        file.extractall(site)
    return site


@pytest.mark.slow
def test_predict_reads_at_once_after_installation_and_writes_nothing(
    installed: Path, records: Path, tmp_path: Path
) -> None:
    photos = [tmp_path / "1.png", tmp_path / "2.png"]
    for photo, example in zip(photos, tfrecords.open(records, "test")[:2], strict=True):
        Image.fromarray(example.image).save(photo)
    package = installed / "trainer" / "pretrained"
    for path in package.iterdir():
        path.chmod(0o444)
    package.chmod(0o555)
    before = _state(package)
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "predict", "-", "--batch-size", "1", "--json-lines"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin and process.stdout and process.stderr
    for photo in photos:
        process.stdin.write(f"{photo}\n".encode())
        found = json.loads(process.stdout.readline())
        assert found["photo"] == str(photo) and found["number"].isdigit()
    # As `| head -2` does: the next answer finds nobody who reads it.
    process.stdout.close()
    process.stdin.write(f"{photo}\n".encode())
    process.stdin.close()
    with process.stderr:
        told = process.stderr.read().decode()
    assert process.wait() == 141
    card = package / "README.md"
    assert told == (
        f"Using the weights of the package, trained on synthetic pictures only (see {card}); "
        "use --run-dir for a model of your own.\n"
    )
    assert _state(package) == before
    package.chmod(0o755)


def test_a_user_s_own_run_is_told_nothing_of(drawn: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(drawn / "test" / "1.png")
    assert main("trainer", "", COMMANDS, ["predict", photo, "--run-dir", str(untrained)]) == 0
    told = capsys.readouterr().err
    assert "Using the weights" not in told and told.endswith("Read 1 of 1 pictures.\n")
    assert main("trainer", "", COMMANDS, ["predict", photo]) == 0
    assert capsys.readouterr().err.startswith("Using the weights of the package, ")


def test_export_takes_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _state(DIRECTORY)
    assert main("trainer", "", COMMANDS, ["export", "--output", str(tmp_path / "reader.keras")]) == 0
    assert capsys.readouterr().err.startswith("Using the weights of the package, ")
    reader = keras.models.load_model(tmp_path / "reader.keras", compile=False)
    for mine, theirs in zip(reader.get_weights(), load_model(chosen_run(None)).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert _state(DIRECTORY) == before


def test_training_starts_from_them_by_their_name() -> None:
    keras.utils.set_random_seed(2)
    model = build_model("compact", (54, 54, 3))
    start_from(model, "pretrained", {"growth": 1.0}, allow_other_crop=True)
    for mine, theirs in zip(model.get_weights(), load_model(Run.load(DIRECTORY)).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # A folder of that name is reached as one reaches files whose names mean something else.
    assert run_directory("./pretrained") == Path("pretrained") != run_directory("pretrained") == DIRECTORY
    assert chosen_run("pretrained").directory == chosen_run(None).directory == DIRECTORY


def test_another_architecture_does_not_start_from_them(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(records), "--run-dir", str(tmp_path / "run"), "--init", "pretrained", "--model", "vgg"]
    assert main("trainer", "", COMMANDS, ["train", *options]) == 1
    assert "error: pretrained must be a run of vgg. Received: compact\n" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", offered())
def test_they_are_small_and_tell_nothing_of_the_machine(name: str) -> None:
    weights = PACKAGED[name]
    assert sum(path.stat().st_size for path in weights.directory.iterdir() if path.is_file()) < LARGEST[name]
    content = json.loads((weights.directory / CONFIG).read_text())
    assert not {"data", "options"} & set(content)
    assert not [text for text in _texts(content) if "/" in text or "\\" in text]
    assert f"| weights | {content['parameters']:,}, float32 |" in weights.card.read_text()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


@pytest.mark.parametrize("name", offered())
def test_the_model_card_has_all_its_scores(name: str) -> None:
    text = PACKAGED[name].card.read_text()
    assert "TODO-score" not in text and "| whole-number accuracy | " in text


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pretrained]:
    """Weights by the name mnist: those of an untrained run, published to a folder."""
    folder = tmp_path_factory.mktemp("mnist")
    make_run(folder / "run", Labels(max_length=1), (28, 28, 1), model="mnist_cnn")
    content = json.loads((folder / "run" / CONFIG).read_text())
    content["dataset"]["examples"] = {"train": 35_000}
    write_json(folder / "run" / CONFIG, {**content, "parameters": 600_810})
    scores = {**EVALUATION_OF_TEST, "num_examples": 10_000, "whole_number_accuracy": 0.9961}
    write_json(folder / "run" / EVALUATION, scores)
    card = TABLE["mnist"].card.read_text()
    publish(folder / "run", folder / "published", card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLE, "mnist", replace(TABLE["mnist"], directory=folder / "published"))
        yield TABLE["mnist"]


def test_weights_have_names(mnist: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(offered()) == [STREET, "display", "mnist"]
    assert run_directory("pretrained-mnist") == mnist.directory == chosen_run(None, "mnist").directory
    assert chosen_run(None, STREET).directory == DIRECTORY == chosen_run("pretrained").directory
    assert find_pretrained(Path("pretrained-mnist")) == mnist and find_pretrained(mnist.directory / "x") is None
    monkeypatch.setitem(TABLE, "mnist", replace(mnist, directory=mnist.directory / "gone"))
    # Before they are published, the name is a path like any other.
    assert list(offered()) == [STREET, "display"] and run_directory("pretrained-mnist") == Path("pretrained-mnist")


def test_a_digit_is_read_by_weights_of_a_name(
    mnist: Pretrained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    assert main("trainer", "", COMMANDS, ["predict", "--weights", "mnist", str(tmp_path / "digit.png"), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "Read 1 of 1 pictures.\n"
    (answer,) = json.loads(printed.out)
    reader = streetdigits.load("pretrained-mnist")
    found = reader.read(tmp_path / "digit.png")
    assert reader.run.directory == mnist.directory and len(found.text) == answer["length"] == 1
    assert (answer["number"], answer["confidence"]) == (found.text, pytest.approx(found.confidence, abs=1e-6))


def test_a_run_and_weights_of_a_name_exclude_each_other(mnist: Pretrained, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["predict", "a.png"],
        ["export", "--output", "a"],
        ["report"],
        ["summary"],
        ["evaluate", "--data", "a"],
    ):
        with pytest.raises(SystemExit):
            main("trainer", "", COMMANDS, [*words, "--run-dir", "run", "--weights", "mnist"])
        assert "--weights: not allowed with argument --run-dir" in capsys.readouterr().err


def test_training_starts_from_weights_of_a_name(mnist: Pretrained) -> None:
    keras.utils.set_random_seed(2)
    model = build_model("mnist_cnn", (28, 28, 1), Labels(max_length=1))
    start_from(model, "pretrained-mnist", labels=Labels(max_length=1))
    for mine, theirs in zip(model.get_weights(), load_model(Run.load(mnist.directory)).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_card_of_single_characters_has_one_accuracy(mnist: Pretrained) -> None:
    text = mnist.card.read_text()
    assert "| architecture | `mnist_cnn` |\n| weights | 600,810, float32 |\n| training examples | 35,000 |" in text
    assert "| whole-number accuracy | 99.61 % (95 % interval 87.00 % to 92.30 %) |\n| coverage at 98" in text


@pytest.fixture
def run(untrained: Path, tmp_path: Path) -> Run:
    run = Run.load(Path(shutil.copytree(untrained, tmp_path / "run")))
    facts = {
        "data": "/home/me/records",
        "options": {"device": "cpu"},
        "init": "/home/me/runs/drawn",
        "parameters": 9000,
    }
    dataset = {**run.content["dataset"], "examples": {"train": 1234, "test": 500}}
    write_json(run.directory / CONFIG, {**run.content, **facts, "dataset": dataset})
    return Run.load(run.directory)


def test_a_run_becomes_the_weights_that_come_along(run: Run, tmp_path: Path) -> None:
    write_json(run.directory / EVALUATION, EVALUATION_OF_TEST)
    folder = tmp_path / "published"
    publish(run.directory, folder, TABLE[STREET].card.read_text())
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS, CONFIG, LITE_MODEL]
    assert (folder / WEIGHTS).read_bytes() == run.weights.read_bytes()
    assert Run.load(folder).config.init == "drawn" and choose_runtime(Run.load(folder)) == "lite"
    written = (folder / "README.md").read_text()
    assert "| whole-number accuracy | 90.0 % (95 % interval 87.0 % to 92.3 %) |\n" in written
    assert "| weights | 9,000, float32 |\n| training examples | 1,234 |\n" in written
    assert not any("/home" in (folder / name).read_text() for name in (CONFIG, "README.md"))
    # Written once more, the table stands there once.
    publish(run.directory, folder, written)
    assert (folder / "README.md").read_text() == written


def test_a_run_without_scores_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must have evaluation-test\.json: `python -m trainer evaluate` creates it\."):
        publish(run.directory, tmp_path / "published", TABLE[STREET].card.read_text())
    assert not (tmp_path / "published").exists()
