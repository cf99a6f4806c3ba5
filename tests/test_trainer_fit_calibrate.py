"""The calibration of a run: made by training, by a repeated start, and by the command, always the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.stores import Bucket
from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.fit import calibrate
from trainer.models import MODELS
from trainer.pretrained import DIRECTORY
from trainer.run.directory import CALIBRATION, Run
from trainer.scoring import calibration_file
from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.calibration_file import read_calibration, weights_digest
from trainer.scoring.prediction_file import read_predictions

EXAMPLES = 12
"""Size of the validation split of the drawn dataset."""


@pytest.fixture(autouse=True)
def few(quick_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    for module in (calibrate, calibration_file):
        monkeypatch.setattr(module, "LEAST_EXAMPLES", EXAMPLES)


def _trainer(*words: object) -> int:
    return main("trainer", "", COMMANDS, [*map(str, words)])


def _train(records: Path, run_dir: Path | str, *words: object) -> int:
    options = ["--model", "tiny", "--epochs", 1, "--global-batch-size", 36, "--learning-rate", 0.02, "--deterministic"]
    return _trainer("train", "--data", records, "--run-dir", run_dir, *options, *words)


def test_training_calibrates_and_another_start_and_the_command_write_the_same_file(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    path = run_dir / CALIBRATION
    assert _train(records, run_dir) == 0
    line = f"Calibrated on {EXAMPLES} examples of validation: temperature "
    assert line in capsys.readouterr().out
    content = path.read_bytes()
    run = Run.load(run_dir)
    made = read_calibration(run)
    assert made and made.weights_sha256 == weights_digest(run) and made.thresholds[-1].answered == EXAMPLES
    # A complete run is left as it is, unless it was killed before the file was written.
    assert _train(records, run_dir) == 0 and line not in capsys.readouterr().out
    path.unlink()
    assert _train(records, run_dir) == 0 and line in capsys.readouterr().out
    assert path.read_bytes() == content
    path.unlink()
    assert _trainer("calibrate", "--run-dir", run_dir, "--data", records) == 0
    assert capsys.readouterr().out.startswith(line) and path.read_bytes() == content
    assert _train(records, tmp_path / "again") == 0
    assert (tmp_path / "again" / CALIBRATION).read_bytes() == content
    assert _train(records, run_dir, "--overwrite", "--no-calibrate") == 0
    assert not path.exists()


def test_evaluate_writes_the_calibration_error_before_and_after(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(records, tmp_path / "run") == 0
    calibration = read_calibration(Run.load(tmp_path / "run"))
    assert calibration
    assert _trainer("evaluate", "--run-dir", tmp_path / "run", "--data", records, "--split", "validation") == 0
    printed = capsys.readouterr().out
    scores = json.loads((tmp_path / "run" / "evaluation-validation.json").read_text())["calibration"]
    assert scores["error_before"] == pytest.approx(calibration.error_before, abs=1e-5)
    assert scores["error"] == pytest.approx(calibration.error_after, abs=1e-5)
    assert scores["temperature"] == calibration.temperature and scores["fitted_on"] == "validation"
    rows = read_predictions(tmp_path / "run" / "predictions-validation.parquet")
    groups = equal_groups([row.confidence for row in rows], [row.correct for row in rows])
    assert scores["error"] == pytest.approx(calibration_error(groups)) and len(scores["groups"]) == EXAMPLES
    before = f"{100 * scores['error_before']:.1f} before the temperature of {calibration.temperature:.2f}"
    assert f"points in 12 groups of equal size, {before}, fitted on validation\n" in printed
    assert _trainer("report", "--run-dir", tmp_path / "run") == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "It was fitted on the split validation, these very pictures, and changes no number." in page
    (tmp_path / "run" / CALIBRATION).unlink()
    assert _trainer("evaluate", "--run-dir", tmp_path / "run", "--data", records, "--split", "validation") == 0
    assert "groups of equal size; the run has no temperature\n" in capsys.readouterr().out
    uncalibrated = read_predictions(tmp_path / "run" / "predictions-validation.parquet")
    assert [row.answer for row in uncalibrated] == [row.answer for row in rows]
    assert not np.allclose([row.confidence for row in uncalibrated], [row.confidence for row in rows])


def test_a_validation_split_that_is_too_small_is_said_and_the_run_is_complete(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (calibrate, calibration_file):
        monkeypatch.setattr(module, "LEAST_EXAMPLES", 100)
    assert _train(records, tmp_path / "run") == 0
    rule = "a temperature needs a validation split of at least 100 examples (here: 12 examples)"
    assert f"note: confidences are not calibrated: {rule}\n" in capsys.readouterr().err
    assert not (tmp_path / "run" / CALIBRATION).exists()
    assert _trainer("calibrate", "--run-dir", tmp_path / "run", "--data", records) == 1
    rule = "A temperature is fitted on at least 100 examples; validation must have as many. Received: 12"
    assert capsys.readouterr().err.endswith(f"error: {rule}\n")


def test_the_package_s_weights_are_not_calibrated(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _trainer("calibrate", "--run-dir", DIRECTORY, "--data", records) == 1
    rule = f"error: --run-dir must not be the folder of the package's weights. Received: {DIRECTORY}\n"
    assert capsys.readouterr().err == rule


def test_a_run_in_a_bucket_is_calibrated_there_as_a_local_one(records: Path, tmp_path: Path, bucket: Bucket) -> None:
    assert _train(records, tmp_path / "run") == 0
    content = (tmp_path / "run" / CALIBRATION).read_bytes()
    address, key = f"{bucket.address}/run", f"run/{CALIBRATION}"
    assert _train(records, address, "--cache", tmp_path / "cache") == 0
    assert _content(bucket, key) == content
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    # The run is complete, and only its calibration is missing.
    assert _train(records, address, "--cache", tmp_path / "other") == 0
    assert _content(bucket, key) == content
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    assert _trainer("calibrate", "--run-dir", address, "--data", records) == 0
    assert _content(bucket, key) == content


def _content(bucket: Bucket, key: str) -> bytes:
    return bytes(bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read())
