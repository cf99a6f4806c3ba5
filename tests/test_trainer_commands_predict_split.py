"""`predict --data`: Kaggle's submission from its test.csv, in the order of that file; keys and numbers elsewhere."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.untrained import make_run
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.run.directory import CONFIG, Run, write_json
from trainer.run.weights import load_model
from trainer.scoring.submission import kaggle_submission, keyed_submission

SIDE = 28
COUNT = 30
BAD = 17
"""Row of test.csv, from 0, that no picture can be made of."""


def _write(path: Path, pixels: np.ndarray, labels: np.ndarray | None = None, bad: int | None = None) -> None:
    """Writes pictures as Kaggle does; the row `bad` has a value above 255."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(["label"] if labels is not None else []), *(f"pixel{at}" for at in range(SIDE * SIDE))])
        for row, values in enumerate(pixels.reshape(len(pixels), -1).tolist()):
            values = [999, *values[1:]] if row == bad else values
            writer.writerow([*([labels[row]] if labels is not None else []), *values])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), np.uint8)


@pytest.fixture(scope="module")
def datasets(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kaggle's two files as records; `whole` has every row of test.csv, `damaged` all but one."""
    folder = tmp_path_factory.mktemp("kaggle")
    labels = np.arange(COUNT) % 10
    for name, bad in (("whole", None), ("damaged", BAD)):
        (folder / name).mkdir()
        _write(folder / name / "test.csv", pixels, bad=bad)
        if name == "whole":
            _write(folder / name / "train.csv", 255 - pixels, labels)
        options = ["--source", "mnist", "--input", str(folder / name), "--output", str(folder / f"{name}-records")]
        options += ["--validation-fraction", "0.2", "--max-dead-fraction", "0.5", "--examples-per-shard", "7"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    return {name: folder / f"{name}-records" for name in ("whole", "damaged")}


@pytest.fixture(scope="module")
def run(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run") / "run"
    make_run(folder, Labels(max_length=1), (SIDE, SIDE, 1), model="mnist_cnn")
    content = json.loads((folder / CONFIG).read_text())
    content["dataset"]["crop"] = json.loads((datasets["whole"] / MANIFEST).read_text())["config"]["crop"]
    write_json(folder / CONFIG, content)
    return Run.load(folder)


@pytest.fixture(scope="module")
def answers(run: Run, pixels: np.ndarray) -> list[str]:
    """The model's answers in the order of test.csv."""
    logits = load_model(run)(pixels[..., None].astype(np.float32), training=False)["digit_logits"].numpy()
    answers = [str(digit) for digit in logits[:, 0].argmax(-1)]
    assert len(set(answers)) > 1
    return answers


def predict(*words: object) -> int:
    return main("trainer", "", COMMANDS, ["predict", *map(str, words)])


def test_a_submission_has_a_row_for_each_row_of_test_csv_in_its_order(
    run: Run, datasets: dict[str, Path], answers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "submission.csv"
    assert predict("--run-dir", run.directory, "--data", datasets["whole"], "--output", output, "--batch-size", 8) == 0
    expected = "".join(f"{row},{digit}\n" for row, digit in enumerate(answers, 1))
    assert output.read_bytes().decode() == f"ImageId,Label\n{expected}"
    printed = capsys.readouterr()
    assert printed.out == f"Wrote 30 rows ImageId,Label in the order of the pictures' file: {output}\n"
    assert "warning" not in printed.err and "note" not in printed.err


def test_rows_that_prepare_rejected_are_counted(
    run: Run, datasets: dict[str, Path], answers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "submission.csv"
    assert predict("--run-dir", run.directory, "--data", datasets["damaged"], "--output", output) == 1
    rows = [(str(row), digit) for row, digit in enumerate(answers, 1) if row != BAD + 1]
    assert [tuple(row) for row in csv.reader(output.read_text().splitlines())] == [("ImageId", "Label"), *rows]
    letters = datasets["damaged"] / "dead_letters.jsonl"
    assert capsys.readouterr().err.endswith(
        f"warning: 1 of 30 rows are missing (ImageId {BAD + 1}), because `prepare` rejected their pictures "
        f"({letters}): Kaggle refuses the file\n"
    )


def test_a_part_of_a_file_has_keys(
    run: Run, datasets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--run-dir", run.directory, "--data", datasets["whole"]]
    assert predict(*words, "--split", "validation", "--output", tmp_path / "v.csv") == 0
    head, *rows = csv.reader((tmp_path / "v.csv").read_text().splitlines())
    assert head == ["key", "number"] and rows == sorted(rows)
    assert rows and all(key.startswith("train/000") and len(number) == 1 for key, number in rows)
    printed = capsys.readouterr()
    assert printed.out == f"Wrote {len(rows)} rows key,number in the order of the keys: {tmp_path / 'v.csv'}\n"
    assert "note: the numbers of validation are known; `python -m trainer evaluate --run-dir " in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Either photos must be given, or --data with a dataset directory. Received: neither"),
        (
            ["a.png", "--data", "records"],
            "Either photos must be given, or --data with a dataset directory. Received: 1 ",
        ),
        (
            ["a.png", "--output", "a.csv"],
            "--output must go with --data: predictions of photos are printed. Received: a",
        ),
        (["--data", "records"], "--data needs --output, a file that ends in .csv."),
        (
            ["--data", "records", "--output", "records/manifest.json"],
            "--data needs --output, a file that ends in .csv.",
        ),
        (
            ["--data", "records", "--output", f"{__file__}/a.csv"],
            f"--output needs a folder that can be written to. Received: {__file__}",
        ),
        (["--data", "a", "--output", "a.csv", "--json"], "--data writes a CSV file: --json must go with pictures."),
    ],
)
def test_photos_and_datasets_exclude_each_other(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(*words) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_dataset_of_another_cut_or_without_the_split_is_refused(
    untrained: Path, run: Run, datasets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "submission.csv"
    assert predict("--run-dir", untrained, "--data", datasets["whole"], "--output", output) == 1
    assert "must be cut as the images that" in capsys.readouterr().err
    words = ["--run-dir", run.directory, "--data", datasets["whole"], "--output", output]
    assert predict(*words, "--split", "test") == 1
    assert "The dataset mnist has the splits train, validation, predict. Received: test" in capsys.readouterr().err
    assert not output.exists()


def test_rows_are_in_the_order_of_indices_and_keys() -> None:
    keys = ["predict/00010#0", "predict/00002#0", "predict/00000#0"]
    submission = kaggle_submission(keys, ["7", "5", "3"], 12)
    assert submission.rows == [(1, "3"), (3, "5"), (11, "7")]
    assert submission.missing == [2, 4, 5, 6, 7, 8, 9, 10, 12]
    assert keyed_submission(["b#0", "a,1#0"], ["19…", ""]).rows == [("a,1#0", ""), ("b#0", "19…")]
    for wrong in (["predict/00001#1"], ["predict/00001#0", "other/00001#0"], ["predict/one#0"]):
        with pytest.raises(ValueError, match="Each key must have the index of its own picture"):
            kaggle_submission(wrong, ["1"] * len(wrong), 3)
