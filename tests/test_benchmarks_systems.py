"""The systems: their table and curves from known results, what is skipped or not trained again, the page's commands."""

import json
import re
import shlex
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from benchmarks.systems import run as systems_run
from benchmarks.systems.__main__ import main
from benchmarks.systems.catalogue import SYSTEMS, commands
from benchmarks.systems.curves import draw_curves
from benchmarks.systems.run import Result
from benchmarks.systems.table import table, targets
from tfrecords.cli import main as main_of
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.images.crop import CropSpec
from trainer.__main__ import COMMANDS
from trainer.run.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "systems.md"
PUBLISHED = {system.model: name for name, system in SYSTEMS.items() if system.published}.values()
RESULT = Result("mnist_cnn", 0, 36_000, 10_000, 600_810, 0.99, 90.0, 150.0, False)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_row_has_the_mean_and_each_seed_and_minutes() -> None:
    rows = {"mnist_cnn": [RESULT, replace(RESULT, seed=1, accuracy=0.992, seconds=30.0)]}
    (row,) = [cells(line) for line in table(rows).splitlines()[2:]]
    published = "97.23 % after 1 epoch"
    expected = ["`mnist_cnn`", "MNIST", "36,000, 10,000", published, "99.0 %", "99.10 %", "99.00, 99.20", "600,810"]
    assert row == [*expected, "1.0", "2.5"]
    stopped = {"mnist_cnn": [RESULT, replace(RESULT, resumed=True)]}
    assert cells(table(stopped).splitlines()[2])[-2:] == ["at least 1.5", "at least 2.5"]


def test_a_goal_is_reached_by_the_mean_of_the_seeds() -> None:
    reached = {"mnist_cnn": [replace(RESULT, accuracy=0.985), replace(RESULT, accuracy=0.995)], "conv2": [RESULT]}
    assert targets(reached) == ["pass  mnist_cnn: 99.00%, mean of 2 seeds, at least 99.0%"]
    (line,) = targets({"mnist_cnn": [replace(RESULT, accuracy=0.9899)]})
    assert line == "FAIL  mnist_cnn: 98.99%, mean of 1 seed, at least 99.0%"


def test_systems_without_pictures_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(tmp_path / "none"), "--output", str(tmp_path / "out"), "--only", "mnist_cnn,conv2"]
    assert main(options) == 0
    printed = capsys.readouterr().out.splitlines()
    folder = tmp_path / "none"
    assert printed == [
        f"mnist_cnn was skipped: mnist_cnn needs a folder of MNIST. Received: {folder / 'mnist'}",
        f"conv2 was skipped: conv2 needs a folder of SVHN photos. Received: {folder / 'svhn_photos'}",
        "Of 2 systems 0 ran, 2 were skipped, 0 failed.",
    ]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes the files of a finished run of `mnist_cnn`, as the commands leave them."""

    def write(epochs: int) -> Path:
        directory = tmp_path / "out" / "runs" / "mnist_cnn-0"
        directory.mkdir(parents=True)
        given = {"model": "mnist_cnn", "epochs": epochs, "data": "records", "run_dir": "run"}
        content = {**Settings.read(None, given).config.to_dict(), "image_shape": [28, 28, 1], "reads_length": False}
        content["dataset"] = {"max_length": 1, "alphabet": "0123456789", "crop": asdict(CropSpec())}
        (directory / "config.json").write_text(json.dumps(content))
        lines = [{"epoch": at, "train_whole_number_accuracy": 0.9 + at / 200} for at in range(1, 13)]
        (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        directory.with_name("mnist_cnn-0.json").write_text(json.dumps(asdict(RESULT)))
        (tmp_path / "mnist").mkdir()
        return tmp_path

    return write


def test_a_finished_run_is_not_trained_again(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(epochs=12)
    monkeypatch.setattr(systems_run, "_run", lambda words: pytest.fail(f"{words} ran"))
    options = ["--data", str(folder), "--output", str(folder / "out"), "--only", "mnist_cnn"]
    assert main([*options, "--curves", str(folder / "curves.svg")]) == 0
    printed = capsys.readouterr().out
    assert "pass  mnist_cnn: 99.00%, mean of 1 seed, at least 99.0%" in printed
    (found,) = json.loads((folder / "out" / "systems.json").read_text())["systems"]["mnist_cnn"]["runs"]
    assert found == asdict(RESULT)
    assert table({"mnist_cnn": [RESULT]}) in (folder / "out" / "systems.md").read_text()
    texts = [element.text for element in ElementTree.parse(folder / "curves.svg").iter() if element.text]
    assert "mnist_cnn, test 99.00 %" in texts and "training epoch 12: 96 %" in texts


def test_a_run_with_other_settings_is_no_result(
    finished: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(epochs=11)
    assert main(["--data", str(folder), "--output", str(folder / "out"), "--only", "mnist_cnn"]) == 1
    said = "The run has other settings than the system has now: remove it to train it again. Received: "
    printed = capsys.readouterr()
    assert said + str(folder / "out" / "runs" / "mnist_cnn-0") in printed.err
    assert printed.out == "Of 1 systems 0 ran, 0 were skipped, 1 failed.\n"


def test_curves_need_two_epochs(finished: Callable[..., Path]) -> None:
    folder = finished(epochs=12)
    history = folder / "out" / "runs" / "mnist_cnn-0" / "history.jsonl"
    history.write_text(history.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match=r"Curves need a run of at least two epochs\. Received: mnist_cnn"):
        draw_curves({"mnist_cnn": RESULT}, folder / "out", folder / "curves.svg")


def test_unknown_systems_and_no_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in ((["--only", "lenet"], "Received: lenet"), (["--seeds", "0"], "Received: 0")):
        with pytest.raises(SystemExit):
            main(options)
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_page_has_the_three_commands_that_are_measured(name: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shown = [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = commands(name, Path("data"), Path("examples"), 0)
    for command in (words.prepare, words.train, words.evaluate):
        assert ["python", "-m", *command] in shown, command


@pytest.fixture(scope="module")
def few(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few pictures for each source."""
    folder = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    (folder / "mnist").mkdir()
    for prefix, count in (("train", 64), ("t10k", 16)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / "mnist" / f"{prefix}-{name}-ubyte").write_bytes(head + array.tobytes())
    (folder / "optdigits").mkdir()
    for ending, count in (("tra", 64), ("tes", 16)):
        rows = np.column_stack([rng.integers(0, 17, (count, 64)), np.arange(count) % 10])
        np.savetxt(folder / "optdigits" / f"optdigits.{ending}", rows, "%d", ",")
    shutil.copytree(drawn / "train", folder / "svhn_photos")
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.slow
def test_three_commands_prepare_train_and_score_a_published_system(name: str, few: Path, tmp_path: Path) -> None:
    words = commands(name, few, tmp_path, 0)
    for (package, *command), more in ((words.prepare, []), (words.train, ["--epochs", "1"]), (words.evaluate, [])):
        listed = {"beam_jobs": BEAM_COMMANDS, "trainer": COMMANDS}[package]
        assert main_of(package, "", listed, [*command, *more]) == 0
    scores = json.loads((tmp_path / "runs" / f"{name}-0" / "evaluation-test.json").read_text())
    assert scores["num_examples"] == Manifest.load(tmp_path / SYSTEMS[name].data).splits["test"].examples
