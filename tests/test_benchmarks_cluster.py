"""The benchmark of engines: its table, its target, and a run of the way that needs no engine."""

import os
import time
from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.cluster import WAYS, Measured, main, processor_s, table, targets


def test_ratios_and_the_verdict_are_those_of_the_numbers() -> None:
    rows = {
        "in-process": Measured(60_000, 50, 45, "a"),
        "processes": Measured(60_000, 30, 60, "a"),
        "flink-2": Measured(60_000, 32, 90, "a"),
    }
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(rows).splitlines()[2:]]
    assert cells[0] == ["in process (--workers 1)", "60,000", "50.0", "1,200", "0.60", "0.75", "1.00"]
    assert cells[2] == [WAYS["flink-2"], "60,000", "32.0", "1,875", "0.94", "1.50", "2.00"]
    (line,) = targets(rows)
    assert line.startswith("pass") and line.endswith("(60,000 pictures): 0.94, at least 0.9")
    slow = {**rows, "flink-2": Measured(60_000, 40, 90, "b")}
    assert targets(slow)[0].startswith("FAIL")
    assert "WRONG: not all ways wrote the same bytes." in table(slow)
    few = {name: Measured(4_000, 10, 10, "a") for name in rows}
    assert targets(few)[0].endswith("the target, at least 0.9, holds from 60,000 pictures on")
    assert targets({"processes": few["processes"]}) == []


def test_processor_time_counts_a_process_that_works() -> None:
    before, end = processor_s(os.getpid()), time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < processor_s(os.getpid()) - before < 10
    assert processor_s(2**22 + 1) == 0


@pytest.mark.slow
def test_a_way_is_measured_and_an_engine_that_is_not_there_is_left_out(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster.downloads.shutil, "which", lambda name: None)
    options = ["--only", "in-process,prism", "--pictures", "20", "--output", str(tmp_path)]
    assert main(["--input", str(drawn / "train"), *options]) == 0
    shown = capsys.readouterr()
    (line,) = [line for line in shown.out.splitlines() if line.startswith("| in process")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[1] == "20" and float(cells[5]) > 0
    assert "failed: go is not installed" in shown.err
    assert not list(tmp_path.iterdir())


def test_wrong_options_are_refused(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in ((["--only", "nothing"], "Received: nothing"), (["--pictures", "0"], "Received: 0")):
        with pytest.raises(SystemExit):
            main(["--input", str(drawn / "train"), *option])
        assert said in capsys.readouterr().err
