"""Drift in the report of a run that followed a stream."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.growing import Growing
from tests.pages import Page
from tests.test_trainer_fit_follow import dealt as dealt  # a fixture
from trainer.report import load_run, render
from trainer.report.drift import change
from trainer.run.directory import CONFIG, HISTORY


def _run(folder: Path, stream: Path, snapshots: list[int]) -> Path:
    folder.mkdir()
    lines: list[dict[str, float]] = [{"epoch": index + 1, "snapshot": number} for index, number in enumerate(snapshots)]
    lines[-1] |= {"validation_confidence": 0.75, "validation_newest_confidence": 0.5}
    (folder / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / CONFIG).write_text(json.dumps({"data": str(stream), "dataset": {"snapshot": snapshots[0]}}))
    return folder


def test_equal_shares_have_no_drift_and_others_have_what_is_counted_by_hand() -> None:
    counts = np.array([10, 30, 60])
    same = change("x", ["a", "b", "c"], counts, 10 * counts)
    assert same.variation == 0 and same.stability < 0.001
    other = change("x", ["a", "b", "c"], np.array([500, 500, 0]), np.array([250, 750, 0]))
    assert other.values == ["a", "b"] and other.first == [0.5, 0.5] and other.newest == [0.25, 0.75]
    assert other.variation == 0.25 and other.by_chance == pytest.approx(2 / 1000)
    assert other.stability == pytest.approx(0.25 * np.log(0.75 / 0.5) - 0.25 * np.log(0.25 / 0.5), abs=0.002)
    new = change("x", ["a", "b"], np.array([100, 0]), np.array([0, 100]))
    assert new.variation == 1 and 5 < new.stability < 20


def test_two_samples_of_one_source_differ_by_about_what_chance_gives() -> None:
    rng = np.random.default_rng(0)
    found = [
        change("x", list("0123456789"), *(np.bincount(rng.integers(0, 10, size), minlength=10) for size in (400, 900)))
        for _ in range(200)
    ]
    assert np.mean([each.stability for each in found]) == pytest.approx(found[0].by_chance, rel=0.15)


def test_the_page_compares_the_newest_snapshot_with_the_first(dealt: Path, tmp_path: Path) -> None:
    stream = Growing(tmp_path / "stream", dealt)
    stream.grow(2, 2)
    stream.grow(7, 6)
    html = render(load_run(_run(tmp_path / "run", stream.path, [2, 2, 7]))).html
    text = Page(html).text
    assert "Its newest snapshot, 7, has " in text and "its first one, 2, has " in text
    for name in ("Length of the numbers", "Characters", "Height of the pictures", "Width of the pictures"):
        assert name in text
    assert "Mean confidence" in text and "75.0" in text and "50.0" in text
    assert "trained on snapshots 2 to 7 of this stream" in text
    assert 'href="#drift"' in html


def test_without_a_second_snapshot_or_the_stream_there_is_no_drift(dealt: Path, tmp_path: Path) -> None:
    stream = Growing(tmp_path / "stream", dealt)
    stream.grow(2, 2)
    report = render(load_run(_run(tmp_path / "one", stream.path, [2, 2])))
    assert 'id="drift"' not in report.html and not any("drift" in line for line in report.missing)
    report = render(load_run(_run(tmp_path / "swept", stream.path, [1, 2])))
    assert any("drift" in line and "snapshot 1" in line for line in report.missing)
    report = render(load_run(_run(tmp_path / "moved", dealt, [1, 2])))
    assert any("drift" in line and "`--data` names the stream" in line for line in report.missing)
