"""The benchmark of preparation, on drawn pictures: every row is printed, and every way did its work."""

import sys
from pathlib import Path

import pytest

from benchmarks.common import own_process
from benchmarks.prepare import ways as prepare_ways
from benchmarks.prepare.__main__ import main
from benchmarks.prepare.job import Job
from benchmarks.prepare.ways import WAYS

TOO_SLOW = {"tfds"}  # more than 10 s for TensorFlow alone
WITH_WORKERS = {"processes", "lasting-processes", "prepare-workers", "beam-processes"}


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves most ways the seconds that their own process takes to import Beam; those that fork still get one."""
    watch = own_process._watch

    def run(command: list[str], log: Path) -> tuple[int, int]:
        if command[3] in WITH_WORKERS:
            return watch(command, log)
        monkeypatch.setattr(sys, "argv", command[2:])
        prepare_ways.main()
        return 0, 1_000_000

    monkeypatch.setattr(own_process, "_watch", run)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.slow
def test_every_way_makes_the_examples_that_it_should(
    drawn: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in WAYS if name not in TOO_SLOW]
    made, temporary = tmp_path / "made", tmp_path / "temporary"
    options = ["--only", ",".join([*names, "parse"]), "--keep-input", str(made), "--output", str(temporary)]
    assert main(["--input", str(drawn / "train"), "--repeat-input", "2", "--pictures", "65", *options]) == 0

    out = [
        line for line in capfd.readouterr().out.splitlines() if line.startswith(("|", "pass", "FAIL", "Annotations"))
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [WAYS[name].title.format(workers=2) for name in names]
    job = Job(str(made), "unused", pictures=65, workers=2)
    examples = sum(5 if job.split_of(annotation) == "train" else 1 for annotation in job.annotations())
    assert {(row[1], row[2]) for row in rows} == {("65", str(examples))}
    assert rows[0][5] == "1.00"
    assert all(row[7] == "-" or int(row[7]) > 50 for name, row in zip(names, rows, strict=True) if name in WITH_WORKERS)
    targets = [line.split(": ")[0][6:] for line in out if line.startswith(("pass", "FAIL"))]
    assert targets == [
        "1 worker against the loop",
        "workers against bare processes (65 pictures)",
        "workers against bare processes with SHA-256 and fsync (65 pictures)",
        "kernel against Pillow and protobuf",
        "1 worker against WriteToTFRecord",
        "prepare's largest process",
    ]
    assert out[-1].startswith("Annotations alone: h5py's objects one by one")
    assert not any(temporary.iterdir())


def test_an_input_of_too_few_pictures_and_an_unknown_way_are_refused(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, said in ((["--pictures", "81"], "81 of 80"), (["--only", "loop,nothing"], "Received: nothing")):
        with pytest.raises(SystemExit):
            main(["--input", str(drawn), *option])
        assert said in capsys.readouterr().err
