"""Where `evaluate` writes: one pair of files a split, never into the package nor over another run's."""

import json
import shutil
from pathlib import Path

import pytest

from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.pretrained import DIRECTORY
from trainer.run.directory import CONFIG
from trainer.run.evaluations import EvaluationFiles, find_evaluations


def _evaluate(*options: object) -> int:
    return main("trainer", "", COMMANDS, ["evaluate", *map(str, options)])


@pytest.mark.parametrize(("name", "most"), [("batch-size", 1 << 20), ("crops", 1000)])
def test_none_and_far_too_many_of_something_are_refused(
    records: Path, untrained: Path, capsys: pytest.CaptureFixture[str], name: str, most: int
) -> None:
    for value in (0, -1, most + 1):
        assert _evaluate("--run-dir", untrained, "--data", records, f"--{name}", value) == 1
        assert capsys.readouterr().err == f"error: --{name} must be 1..{most}. Received: {value}\n"


def test_the_pretrained_weights_are_scored_beside_the_dataset(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, written = tmp_path / "my records", tmp_path / "my records-pretrained"
    data.symlink_to(records)
    before = {path: path.stat().st_mtime_ns for path in (DIRECTORY, *DIRECTORY.iterdir())}
    assert _evaluate("--data", data) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("Using the weights of the package, ")
    assert printed.out.endswith(f"Next: python -m trainer report --run-dir '{written}'\n")
    names = [CONFIG, "evaluation-test.json", "predictions-test.parquet"]
    assert sorted(path.name for path in written.iterdir()) == names
    scores = json.loads((written / "evaluation-test.json").read_text())
    assert scores["whole_number_accuracy"] >= 0.5
    # Also after a change of the working directory.
    assert Path(scores["data"]).is_absolute() and Path(scores["data"]) == records.resolve()
    assert main("trainer", "", COMMANDS, ["report", "--run-dir", str(written)]) == 0
    assert capsys.readouterr().out.startswith("Report with 20 pictures")
    assert {path: path.stat().st_mtime_ns for path in (DIRECTORY, *DIRECTORY.iterdir())} == before


def test_other_folders_are_left_alone(
    records: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / CONFIG).write_text("[" * 100_000)
    (tmp_path / "file").touch()
    for output, rule in (
        (DIRECTORY, "must not be the folder of the package's weights or of a dataset"),
        (records, "must not be the folder of the package's weights or of a dataset"),
        (other, f"must be a new folder, or have the {CONFIG} of the run"),
        (tmp_path / "file", "needs a folder that can be written to"),
    ):
        assert _evaluate("--run-dir", untrained, "--data", records, "--output", output) == 1
        assert capsys.readouterr().err == f"error: --output {rule}. Received: {output}\n"
    assert _evaluate("--run-dir", DIRECTORY, "--data", records, "--split", "none") == 1
    assert [path.name for path in other.iterdir()] == [CONFIG]


def test_each_split_has_its_files_and_another_dataset_s_scores_are_not_replaced_in_silence(
    records: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = shutil.copytree(untrained, tmp_path / "run")
    path = run_dir / "evaluation-validation.json"
    path.write_text(json.dumps({"data": "/elsewhere", "crops": 1}))
    (run_dir / "evaluation-test.json").write_text("[" * 100_000)
    for split in ("validation", "test"):
        assert _evaluate("--run-dir", run_dir, "--data", records, "--split", split) == 0
        notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
        note = f"note: {path} had the scores of /elsewhere with --crops 1; use --output to keep several"
        assert notes == [note] * (split == "validation")
    found = find_evaluations(run_dir)
    assert list(found) == ["test", "validation"] and all(files.exist for files in found.values())
    examples = {name: json.loads(files.scores.read_text())["num_examples"] for name, files in found.items()}
    assert examples["test"] == 20 != examples["validation"]


def test_an_evaluation_of_an_older_version_comes_last(tmp_path: Path) -> None:
    for name in ("evaluation.json", "predictions-extra.parquet", "evaluation-train.json"):
        (tmp_path / name).touch()
    found = find_evaluations(tmp_path)
    assert list(found) == ["train", "extra", ""]
    assert found[""] == EvaluationFiles.without_split(tmp_path)
    for files in found.values():
        files.remove()
    assert list(tmp_path.iterdir()) == []
