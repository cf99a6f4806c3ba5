"""Folds: which pictures are in one, the dataset without it, and the reader that has not seen it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords import open as open_split
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.audit.folds import FoldReader, fold_of, train_folds, write_fold
from trainer.input.records import Records
from trainer.scoring.decode import Predictions, decode_predictions


def test_all_jitters_and_numbers_of_a_picture_are_in_one_fold() -> None:
    keys = ["train/7.png#0", "train/7.png#4", "train/7.png@2#1", "train/7.png@1", "train/7.png"]
    assert len({fold_of(key, 5) for key in keys}) == 1
    counts = np.bincount([fold_of(f"train/{index}.png#0", 5) for index in range(1000)], minlength=5)
    assert counts.min() > 150 and len(counts) == 5


def test_the_datasets_of_all_folds_leave_out_each_picture_once(records: Path, tmp_path: Path) -> None:
    opened = Records.open(records)
    everything = [example.key for example in open_split(records, "train")]
    for fold in range(3):
        write_fold(opened, fold, 3, tmp_path / str(fold))
        kept = [example.key for example in open_split(tmp_path / str(fold), "train")]
        assert kept == [key for key in everything if fold_of(key, 3) != fold] and len(kept) < len(everything)
    write_fold(opened, 0, 3, tmp_path / "again")
    again, first = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("again", "0"))
    assert again == first


class Constant:
    """A reader that reads one digit everywhere."""

    def __init__(self, digit: int) -> None:
        self.run = SimpleNamespace(image_shape=(2, 2, 1))
        self._digit = digit

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Returns the predictions."""
        digits = np.full((len(images), 1, 10), -9.0)
        digits[:, 0, self._digit] = 9
        return decode_predictions(None, digits, Labels(1))


def test_a_picture_of_train_is_read_by_the_reader_without_its_fold_and_others_by_all() -> None:
    reader = FoldReader([cast(Any, Constant(digit)) for digit in range(3)])
    keys = [f"train/{index}.png" for index in range(9)]
    images = np.zeros((9, 2, 2, 1), np.uint8)
    found = reader.predict(images, keys, ["train"] * 9)
    assert found.texts == [str(fold_of(key, 3)) for key in keys] and len(set(found.texts)) == 3
    np.testing.assert_allclose(found.confidence, 1, atol=1e-6)
    spread = reader.predict(images, keys, ["test"] * 9)
    np.testing.assert_allclose(spread.digit_probabilities[:, 0, :3], 1 / 3, atol=1e-6)


def test_trainings_are_those_of_the_options_and_one_that_fails_ends_the_audit(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], stdout: object) -> Any:
        calls.append(command)
        assert Path(command[command.index("--data") + 1]).is_dir()
        return SimpleNamespace(returncode=int(len(calls) == 3))

    monkeypatch.setattr(subprocess, "run", run)
    runs = train_folds(Records.open(records), 2, tmp_path, ["--epochs", "1"])
    assert [one.name for one in runs] == ["without-0", "without-1"] and not list(tmp_path.iterdir())
    assert all(call[:4] == [sys.executable, "-m", "trainer", "train"] and call[-1] == "1" for call in calls)
    with pytest.raises(UserError, match="The training without fold 0 has failed"):
        train_folds(Records.open(records), 2, tmp_path, [])


@pytest.mark.slow
def test_audit_trains_folds_and_reads_with_them(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    options = ["--data", str(records), "--folds", "2", "--output", str(tmp_path / "audit.html")]
    options += ["--folds-train", "--epochs 1 --global-batch-size 64"]
    assert main("trainer", "", COMMANDS, ["audit", *options]) == 0
    assert sorted(path.name for path in (tmp_path / "audit.folds").iterdir()) == ["without-0", "without-1"]
    assert "2 readers, each of which reads the pictures of train that it was not trained on" in capfd.readouterr().err
