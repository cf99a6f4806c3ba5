"""evaluate, explain, predict and report on a stream: the newest snapshot, or one by its number."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import tfrecords
from tests.streams import Grown, make_stream
from tfrecords.cli import main
from tfrecords.dataset.snapshots import load_content, load_manifest
from trainer.__main__ import COMMANDS
from trainer.report.inputs import load_run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """A stream in the snapshots 0, 1 and 3."""
    return make_stream(tmp_path_factory.mktemp("grown"))


@pytest.fixture(scope="module")
def run_dir(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(untrained, tmp_path_factory.mktemp("run") / "run"))


def _run(*arguments: object) -> int:
    return main("trainer", "", COMMANDS, list(map(str, arguments)))


def _evaluate(run_dir: Path, grown: Grown, *options: object) -> dict:
    given = ["--run-dir", run_dir, "--data", grown.folder, "--split", "validation", *options]
    assert _run("evaluate", *given) == 0
    scores: dict = json.loads((run_dir / "evaluation-validation.json").read_text())
    return scores


def test_evaluate_scores_a_snapshot_and_says_which(grown: Grown, run_dir: Path, capsys: Capture) -> None:
    first = _evaluate(run_dir, grown, "--snapshot", 0)
    capsys.readouterr()
    newest = _evaluate(run_dir, grown)
    note = f"had the scores of {grown.folder.resolve()}, snapshot 0, with --crops 1; use --output to keep several"
    assert note in capsys.readouterr().err
    assert (first["snapshot"], newest["snapshot"]) == (0, 3)
    for scores in (first, newest):
        manifest = load_manifest(grown.folder, scores["snapshot"])
        assert scores["num_examples"] == manifest.splits["validation"].examples
    assert first["manifest_sha256"] != newest["manifest_sha256"]
    assert _run("evaluate", "--run-dir", run_dir, "--data", grown.folder, "--snapshot", 2) == 1
    assert "has the snapshots 0 to 3, and not every number is one. Received: snapshot 2" in capsys.readouterr().err


def test_the_report_shows_the_pictures_and_sizes_of_the_snapshot_that_was_evaluated(
    grown: Grown, run_dir: Path, tmp_path: Path, capsys: Capture
) -> None:
    _evaluate(run_dir, grown, "--snapshot", 1)
    assert _run("report", "--run-dir", run_dir) == 0
    capsys.readouterr()
    assert json.dumps(load_run(run_dir).manifest) == json.dumps(json.loads(load_content(grown.folder, 1)[0]))
    assert load_run(run_dir, grown.place, snapshot=0).manifest == json.loads(load_content(grown.folder, 0)[0])
    # A stream keeps a snapshot for some time only: then the newest one is shown.
    copy = Path(shutil.copytree(grown.folder, tmp_path / "copy"))
    (copy / "snapshots" / "00000001.json").unlink()
    assert load_run(run_dir, copy).manifest == json.loads(load_content(grown.folder, 3)[0])
    assert _run("report", "--run-dir", run_dir, "--data", copy, "--snapshot", 1) == 1
    assert "has the snapshots 0 to 3" in capsys.readouterr().err
    output = tmp_path / "page.html"
    assert _run("report", "--run-dir", run_dir, "--data", copy, "--snapshot", 0, "--output", output) == 0
    assert "data:image/png" in output.read_text()


def test_explain_opens_a_snapshot(grown: Grown, run_dir: Path, tmp_path: Path) -> None:
    for number in (0, None):
        chosen = [] if number is None else ["--snapshot", number]
        page = tmp_path / f"{number}.html"
        given = ["--run-dir", run_dir, "--data", grown.folder, "--split", "validation", "--examples", 1, *chosen]
        assert _run("explain", *given, "--output", page) == 0
        count = load_manifest(grown.folder, number).splits["validation"].examples
        assert f"1 of the {count} examples of the split validation" in " ".join(page.read_text().split()) or count == 1


def test_predict_reads_a_split_of_a_snapshot(grown: Grown, run_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "numbers.csv"
    given = ["--run-dir", run_dir, "--data", grown.folder, "--split", "validation", "--output", output]
    for number in (1, None):
        chosen = [] if number is None else ["--snapshot", number]
        assert _run("predict", *given, *chosen) == 0
        with output.open(newline="") as stream:
            keys = [row["key"] for row in csv.DictReader(stream)]
        assert keys == sorted(example.key for example in tfrecords.open(grown.folder, "validation", snapshot=number))
        assert ("--split validation --snapshot 1`" in capsys.readouterr().err) is (number is not None)
    assert _run("predict", "photo.png", "--snapshot", 1) == 1
    assert "--snapshot must go with --data" in capsys.readouterr().err


def test_a_snapshot_of_an_ordinary_dataset_is_refused(records: Path, run_dir: Path, capsys: Capture) -> None:
    assert _run("evaluate", "--run-dir", run_dir, "--data", records, "--snapshot", 0) == 1
    assert "snapshot" in capsys.readouterr().err
