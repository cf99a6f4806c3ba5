"""Meters of a CSV from pictures to a model that reads held-out ones, on the command line and in LiteRT."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.conftest import Shared
from tests.meters import ALPHABET, draw_meters
from tfrecords.cli import main
from tfrecords.files.place import Place
from trainer.__main__ import COMMANDS
from trainer.reader import Reader, number_box, read_image
from trainer.run.directory import Run

pytestmark = pytest.mark.slow

_PICTURES = 900
_COMPARED = 20
"""Held-out pictures that LiteRT reads too."""


@pytest.fixture(scope="session")
def meters(shared: Shared) -> Path:
    """A folder with pictures, the records made of them, and a run that was trained on those."""

    def fill(folder: Path) -> None:
        table = draw_meters(folder / "pictures", _PICTURES)
        options = ["--source", "table", "--input", str(table), "--output", str(folder / "records"), "--jitters", "0"]
        options += ["--alphabet", ALPHABET, "--channels", "1", "--test-fraction", "0.1"]
        options += ["--aspect", "4", "--crop-size", "32", "--record-size", "28"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
        options = ["--data", str(folder / "records"), "--run-dir", str(folder / "run"), "--epochs", "4"]
        # Small batches, because steps are what few pictures lack: 98.9 % of the held-out numbers in half the time of
        # 1,400 pictures in batches of 64.
        options += ["--global-batch-size", "32", "--learning-rate", "0.003", "--warmup-epochs", "0.5"]
        options += ["--init", "pretrained"]
        assert main("trainer", "", COMMANDS, ["train", *options]) == 0

    return shared("meters", fill)


def _held_out(meters: Path) -> list[dict[str, str]]:
    """Returns the rows of the table whose pictures are in the split test."""
    from tfrecords import open as open_examples

    names = {example.key.partition("#")[0].rpartition("/")[2] for example in open_examples(meters / "records", "test")}
    with (meters / "pictures" / "meters.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["file_name"] in names]


def _box(row: dict[str, str]) -> list[str]:
    return [row[name] for name in ("left", "top", "width", "height")]


def test_a_model_reads_meters_that_it_has_not_seen(meters: Path) -> None:
    options = ["--run-dir", str(meters / "run"), "--data", str(meters / "records")]
    assert main("trainer", "", COMMANDS, ["evaluate", *options]) == 0
    scores = json.loads((meters / "run" / "evaluation-test.json").read_text())
    assert scores["num_examples"] > _PICTURES / 12
    assert scores["whole_number_accuracy"] >= 0.95


def test_predict_reads_meters_in_their_boxes(meters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _held_out(meters)[:_COMPARED]
    options = [
        "--run-dir",
        str(meters / "run"),
        "--json",
        *(str(meters / "pictures" / row["file_name"]) for row in rows),
    ]
    options += [word for row in rows for word in ("--box", ",".join(_box(row)))]
    assert main("trainer", "", COMMANDS, ["predict", *options]) == 0
    found = [one["number"] for one in json.loads(capsys.readouterr().out)]
    right = [one == row["text"] for one, row in zip(found, rows, strict=True)]
    assert sum(right) >= 0.9 * _COMPARED


def test_litert_reads_meters_as_the_model_does(meters: Path, tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    output = tmp_path / "reader.tflite"
    assert main("trainer", "", COMMANDS, ["export", "--run-dir", str(meters / "run"), "--output", str(output)]) == 0
    run = Run.load(meters / "run")
    boxes = [(row["file_name"], number_box(*map(float, _box(row)))) for row in _held_out(meters)[:_COMPARED]]
    images = np.stack([read_image(Place(meters / "pictures" / name), [box], run.crop, 1) for name, box in boxes])
    found = interpreter.Interpreter(str(output)).get_signature_runner("serving_default")(image=images)
    expected = Reader(run).predict(images)
    np.testing.assert_array_equal(found["length"], expected.length)
    for ours, theirs, length in zip(expected.digits, found["digits"], expected.length, strict=True):
        np.testing.assert_array_equal(theirs[:length], ours[:length])
    np.testing.assert_allclose(found["confidence"], expected.confidence, atol=1e-4)
