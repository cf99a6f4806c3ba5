"""The benchmark of rebuilds: what it takes for the same, its table, and a run in one way."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cluster import WAYS
from benchmarks.rebuild import Rebuilt, digest_of, main, other_versions, runs, table
from tfrecords import Manifest
from tfrecords.dataset.manifest import ANNOTATIONS

SAME = Rebuilt("read", "3.11.7", WAYS["workers"], 3, "ab" * 32, "-", 0, "same: all", 2.04)


def test_a_dataset_is_the_same_only_if_its_digest_is_and_rebuild_says_so() -> None:
    assert SAME.is_same("ab" * 32)
    assert not SAME.is_same("cd" * 32) and not replace(SAME, code=1).is_same("ab" * 32)
    rows = [SAME, replace(SAME, task="find", digest="", code=2, said="exit code 2, error: no")]
    lines = table(rows, {"read": "ab" * 32, "find": "c"}).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["read", "3.11.7", "2 processes (--workers 2)", "3", "abababababab...", "-", "yes", "2.0"]
    assert cells[1][4:7] == ["-", "-", "NO: exit code 2, error: no"]


def test_the_digest_is_that_of_shards_and_tables_and_of_no_version(records: Path) -> None:
    manifest = Manifest.load(records)
    others = replace(manifest, versions={**manifest.versions, "numpy": "2.1.0"})
    assert digest_of(others) == digest_of(manifest)
    assert other_versions(manifest, others) == "numpy 2.1.0" and other_versions(manifest, manifest) == "-"
    changed = replace(manifest, files={**manifest.files, ANNOTATIONS: "0" * 64})
    assert digest_of(changed) != digest_of(manifest)


def test_flink_is_run_on_this_python_alone() -> None:
    assert list(runs([sys.executable, "other"], ["workers", "flink-2"])) == [
        (sys.executable, "workers"),
        (sys.executable, "flink-2"),
        ("other", "workers"),
    ]


@pytest.mark.slow
def test_both_tasks_are_the_same_in_one_way(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--input", str(drawn / "train"), "--pictures", "20", "--only", "in-process", "--output", str(tmp_path)]
    assert main(given) == 0
    assert "pass  2 of 2 are the same" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_wrong_options_are_refused(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in ((["--only", "nothing"], "Received: nothing"), (["--pictures", "0"], "Received: 0")):
        with pytest.raises(SystemExit):
            main(["--input", str(drawn / "train"), *option])
        assert said in capsys.readouterr().err
