"""The benchmark of the watcher: what producers drop, and a line for each figure with its goal."""

import random
from pathlib import Path

import pytest

from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.watch.correcting.correct import read_corrections
from benchmarks.watch import figures
from benchmarks.watch.__main__ import main
from benchmarks.watch.batches import KINDS, Producer, draw_batch
from tfrecords.files.place import Place

SVHN = load_source("svhn")


def read(folder: Path) -> dict[str, str]:
    (subset,) = SVHN.find_subsets(Input(Place(folder)), SourceOptions())
    found = SVHN.read_annotations(subset, 0, subset.entries, "left", SourceOptions())
    return {each.name: each.text for each in found}


@pytest.mark.parametrize("kind", KINDS)
def test_a_producer_ends_with_what_it_says(kind: str, tmp_path: Path) -> None:
    producer = Producer(tmp_path / "inbox", tmp_path / "work", 3, lambda: 1.0)
    for each in ("marked", "renamed", "slow", *(kind,) * 5):
        for pause in producer.drop(each, pictures=4):
            assert 0 <= pause <= 4
    assert not list((tmp_path / "inbox").glob(".*"))
    for name, dropped in list(producer.dropped.items())[3:]:
        folder = tmp_path / "inbox" / name
        assert dropped.kind == kind and (dropped.at == 1.0) is dropped.is_complete
        if kind == "corrections":
            keys = [each.key for each in read_corrections(Place(folder))]
            known = {f"{b}/{picture}" for b, each in producer.dropped.items() for picture in each.texts}
            assert keys and set(keys) <= known
        elif dropped.is_complete:
            assert read(folder) == dropped.texts
            assert {path.name for path in folder.glob("*.png")} == {*dropped.texts}
    assert {each.is_complete for each in producer.dropped.values()} == ({True, False} if kind == "cut" else {True})


def test_equal_seeds_draw_equal_batches(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_batch(tmp_path / name, random.Random(1), 3)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b")]
    assert files[0] == files[1] and len(files[0]) == 4


@pytest.mark.slow
def test_a_line_for_each_figure_says_whether_the_goal_is_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_IDLE_S", 1.0)
    monkeypatch.setattr(figures, "_REPEATS", 1)
    monkeypatch.setattr(figures, "_BATCHES", (200,))
    options = ["--kills", "0", "--latency", "4", "--backlog", "400", "--memory", "12", "--history", "100"]
    code = main([*options, "--output", str(tmp_path / "kept")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()][2:]
    assert len(rows) == 9 and {row[-1] for row in rows} <= {"pass", "FAIL"}
    assert code == int("FAIL" in {row[-1] for row in rows})
    assert (tmp_path / "kept" / "memory" / "stream" / "manifest.json").exists()
    # Times by the clock are not for tests.
    met = {row[0]: row[-1] for row in rows}
    names = ("growth of memory over 12 generations", "shards, of those of one prepare, after compact --full")
    assert [met[name] for name in names] == ["pass", "pass"]


@pytest.mark.parametrize("options", [["--kills", "-1"], ["--drops", "0"], ["--output", "."]])
def test_wrong_options_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert "Received: " in capsys.readouterr().err
