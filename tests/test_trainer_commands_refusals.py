"""`predict` refuses where it is not sure enough: by a confidence, or by an accuracy that the calibration supports."""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.commands import refusals
from trainer.pretrained import DIRECTORY
from trainer.run.directory import CALIBRATION, Run
from trainer.scoring.calibration_file import Calibration, weights_digest, write_calibration
from trainer.scoring.temperature import Threshold, thresholds

TEMPERATURE = 0.8


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def run_dir(untrained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(untrained, tmp_path / "run")


def _calibrate(run_dir: Path, rows: list[Threshold]) -> None:
    digest = weights_digest(Run.load(run_dir))
    write_calibration(
        run_dir, Calibration(digest, "0" * 64, "validation", 1000, TEMPERATURE, 0.4, 0.3, 0.05, 0.01, rows)
    )


def _predict(*words: object) -> int:
    return main("trainer", "", COMMANDS, ["predict", *map(str, words)])


def _rows(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[dict[str, Any]], list[str]]:
    assert _predict(*words, "--json-lines") == 0
    printed = capsys.readouterr()
    return [json.loads(line) for line in printed.out.splitlines()], printed.err.splitlines()


def test_the_confidence_that_is_printed_has_the_run_s_temperature(
    photos: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = _rows(capsys, "--run-dir", run_dir, photos)
    _calibrate(run_dir, [])
    after, _ = _rows(capsys, "--run-dir", run_dir, photos)
    for one, other in zip(before, after, strict=True):
        assert one["number"] == other["number"] and "best_guess" not in other
        log = np.log(one["length_probabilities"]) / TEMPERATURE
        expected = np.exp(log) / np.exp(log).sum()
        np.testing.assert_allclose(other["length_probabilities"], expected, rtol=1e-4)
        assert one["confidence"] != other["confidence"]


def test_numbers_below_the_confidence_are_refused_in_every_form_and_counted(
    photos: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, _ = _rows(capsys, "--run-dir", run_dir, photos)
    least = float(np.median([row["confidence"] for row in plain]))
    rows, errors = _rows(capsys, "--run-dir", run_dir, photos, "--min-confidence", least)
    assert "note: the run has no calibration.json: a confidence of 0.9 may be right less often" in errors
    assert errors[-1] == "Read 4 of 8 pictures; 4 refused."
    for row, other in zip(rows, plain, strict=True):
        assert row["best_guess"] == other["number"]
        assert row["number"] == (other["number"] if other["confidence"] >= least else None)
    assert _predict("--run-dir", run_dir, photos, "--min-confidence", least) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [" refused " in line for line in lines] == [row["number"] is None for row in rows]
    assert _predict("--run-dir", run_dir, photos, "--min-confidence", least, "--json") == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_a_target_takes_the_lowest_confidence_whose_interval_reaches_it_and_says_so_once(
    photos: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _calibrate(run_dir, [])
    plain, _ = _rows(capsys, "--run-dir", run_dir, photos)
    ordered = sorted((row["confidence"] for row in plain), reverse=True)
    # In between, since the last bits of a confidence depend on the batch.
    three, five, seven = ((ordered[count - 1] + ordered[count]) / 2 for count in (3, 5, 7))
    rows = [
        Threshold(three, 400, 398, 0.4, 0.995, 0.9819),
        Threshold(five, 500, 490, 0.5, 0.98, 0.9636),
        Threshold(seven, 800, 700, 0.8, 0.875, 0.8503),
    ]
    _calibrate(run_dir, rows)
    found, errors = _rows(capsys, "--run-dir", run_dir, photos, "--target-accuracy", 0.97, "--batch-size", 3)
    said = "40.0% of the 1,000 examples of validation, 99.50% of them right (at least 98.19%)"
    assert errors.count(f"Answers from a confidence of {three:.4f}: {said}") == 1
    assert sum(row["number"] is not None for row in found) == 3
    assert errors[-1] == "Read 3 of 8 pictures; 5 refused."
    found, _ = _rows(capsys, "--run-dir", run_dir, photos, "--target-accuracy", 0.96)
    assert sum(row["number"] is not None for row in found) == 5
    assert _predict("--run-dir", run_dir, photos, "--target-accuracy", 0.99) == 1
    assert capsys.readouterr().err == (
        "error: --target-accuracy must be at most 0.9819: more cannot be said from the 1,000 examples of validation, "
        "where 398 of the 400 surest answers were right. Calibrate on more examples, or train a better model. "
        "Received: 0.99\n"
    )
    _, errors = _rows(capsys, "--run-dir", run_dir, photos, "--min-confidence", 0.999)
    told = "nothing on the 1,000 examples of validation was as confident"
    assert f"note: --min-confidence 0.999: {told}" in errors


def test_a_target_needs_a_calibration_of_these_weights(
    photos: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = (
        f"error: --target-accuracy needs the calibration.json of {run_dir}: `python -m trainer calibrate --run-dir "
        f"{run_dir} --data DATA` makes it of a split validation. Received: 0.9\n"
    )
    assert _predict("--run-dir", run_dir, photos, "--target-accuracy", 0.9) == 1
    assert capsys.readouterr().err == rule
    _calibrate(run_dir, thresholds(np.linspace(1, 0, 1000), np.ones(1000, bool)))
    path = run_dir / CALIBRATION
    path.write_text(path.read_text().replace(weights_digest(Run.load(run_dir)), "1" * 64))
    assert _predict("--run-dir", run_dir, photos, "--target-accuracy", 0.9) == 1
    assert capsys.readouterr().err.endswith(rule)


def test_what_the_package_s_weights_promise_is_said_to_hold_for_drawn_pictures_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = thresholds(np.linspace(1, 0, 1000), np.ones(1000, bool))
    made = Calibration("0" * 64, "0" * 64, "validation", 1000, TEMPERATURE, 0.4, 0.3, 0.05, 0.01, rows)
    monkeypatch.setattr(refusals, "read_calibration", lambda _: made)
    args = argparse.Namespace(min_confidence=None, target_accuracy=0.9, run_dir=None, weights="street")
    assert refusals.chosen_refusals(args, Run.load(DIRECTORY)).min_confidence == rows[-1].min_confidence
    note = "note: pretrained was calibrated on pictures like those of its training (synthetic pictures only): "
    assert capsys.readouterr().err.endswith(f"{note}on other pictures fewer answers are right\n")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--min-confidence", "1.5"], "--min-confidence must be 0 to 1. Received: 1.5"),
        (["--min-confidence", "nan"], "--min-confidence must be 0 to 1. Received: nan"),
        (["--target-accuracy", "1"], "--target-accuracy must be above 0 and below 1. Received: 1.0"),
    ],
)
def test_shares_outside_their_range_are_refused(
    photos: Path, run_dir: Path, capsys: pytest.CaptureFixture[str], words: list[str], rule: str
) -> None:
    assert _predict("--run-dir", run_dir, photos, *words) == 1
    assert capsys.readouterr().err == f"error: {rule}\n"


def test_a_split_has_the_word_refused_in_place_of_numbers(
    records: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--run-dir", run_dir, "--data", records, "--split", "test", "--allow-other-crop"]
    assert _predict(*words, "--output", tmp_path / "all.csv") == 0
    assert _predict(*words, "--output", tmp_path / "few.csv", "--min-confidence", 1) == 0
    assert "Wrote 20 rows key,number, 20 of them refused, in the order of the keys" in capsys.readouterr().out
    every, few = (list(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("all.csv", "few.csv"))
    assert [row[0] for row in few] == [row[0] for row in every]
    assert [row[1] for row in few[1:]] == ["refused"] * 20
