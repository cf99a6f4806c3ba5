"""The benchmark of following: how photos are dealt, when batches arrive, and what is compared."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_jobs.sources.svhn.digit_struct import count_entries, read_annotations
from benchmarks.follow.__main__ import main
from benchmarks.follow.arrivals import Stream, follow
from benchmarks.follow.compare import Scored, difference, score
from benchmarks.follow.deal import deal
from benchmarks.follow.runs import _check
from tfrecords.errors import UserError

MATLAB = "digitStruct.mat"


def _rows(folder: Path) -> dict[str, Any]:
    path = folder / MATLAB
    return {each.name: (each.text, each.boxes) for each in read_annotations(path, "any", 0, count_entries(path))}


def test_each_photo_is_held_out_or_in_one_batch_with_its_numbers(drawn: Path, tmp_path: Path) -> None:
    source = drawn / "train"
    dealt = deal(source, tmp_path / "dealt", batches=4, held_out=0.25)
    parts = [_rows(folder) for folder in (dealt.held, *dealt.batches)]
    together = {name: row for part in parts for name, row in part.items()}
    assert together == _rows(source) and sum(map(len, parts)) == len(together)
    assert _rows(dealt.photos) == {name: row for part in parts[1:] for name, row in part.items()}
    sizes = [len(part) for part in parts[1:]]
    assert max(sizes) - min(sizes) <= 1 and len(parts[0]) == round(len(together) / 4)
    for folder in (dealt.held, dealt.photos, *dealt.batches):
        assert {path.name for path in folder.iterdir()} == {*_rows(folder), MATLAB}
    # The same again, and what was dealt before is left as it is.
    assert [_rows(each) for each in deal(source, tmp_path / "again", 4, 0.25).batches] == parts[1:]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dealt").rglob("*")}
    assert deal(source, tmp_path / "dealt", 4, 0.25) == dealt
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dealt").rglob("*")} == before
    with pytest.raises(
        UserError, match=r"other settings: use another folder\. Received: 25% of .*, 5 batches; was 25%"
    ):
        deal(source, tmp_path / "dealt", 5, 0.25)


def test_too_few_photos_are_one_line(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--photos", str(drawn / "train"), "--output", str(tmp_path / "out"), "--batches", "4000"]
    assert main(words) == 1
    assert capsys.readouterr().err.startswith(f"error: {drawn / 'train'} must have a photo to hold out, and one for")
    with pytest.raises(SystemExit):
        main([*words, "--seeds", "0"])
    assert "must be at least 1, --held-out between 0 and 1. Received: 0, 4000, 2, 5 and 0.25" in capsys.readouterr().err


class _Counted(Stream):
    """A stream that is a file with the number of its batches, and takes longer to grow than an epoch takes."""

    def __init__(self, counter: Path) -> None:
        super().__init__(counter.parent, ())
        self.counter, self.is_on = counter, False

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.is_on = True
        yield

    def stop(self) -> None:
        self.is_on = False

    def batches(self) -> int:
        return int(self.counter.read_text()) if self.counter.exists() else 0

    def add(self, batches: Sequence[Path]) -> None:
        assert self.is_on
        time.sleep(0.4)
        self.counter.write_text(str(len(batches)))


def test_each_epoch_has_the_batches_that_are_due_however_long_a_snapshot_takes(tmp_path: Path) -> None:
    run_dir, stream = tmp_path / "run", _Counted(tmp_path / "counter")
    batches = [tmp_path / str(index) for index in range(7)]
    follow(stream, batches, 2, run_dir, ["tests.follower", str(run_dir), str(stream.counter), "6"])
    seen = [json.loads(line)["snapshot"] for line in (run_dir / "history.jsonl").read_text().splitlines()]
    assert seen == [2, 4, 6, 7, 7, 7] and not stream.is_on
    _check(run_dir, growing=4, full_epochs=2)
    with pytest.raises(UserError, match=r"must have snapshots of their own, .* Received: 2, 4, 6, 7, 7, 7$"):
        _check(run_dir, growing=5, full_epochs=1)


def test_a_training_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    batches = [tmp_path / str(index) for index in range(4)]
    with pytest.raises(UserError, match="train must not end before"):
        follow(_Counted(tmp_path / "counter"), batches, 2, tmp_path / "run", ["tests.follower", "nowhere/run", "", "1"])


def _scored(right: Sequence[int]) -> Scored:
    return Scored(3, 30, {f"photo-{index}": bool(value) for index, value in enumerate(right)})


def test_the_difference_is_taken_photo_by_photo() -> None:
    first = score([_scored([1, 1, 0, 0]), _scored([1, 1, 0, 1])])
    second = score([_scored([1, 1, 0, 1]), _scored([1, 1, 1, 1])])
    assert first.of_seeds == [0.5, 0.75] and second.of_seeds == [0.75, 1.0]
    mean, low, high = difference(first, second)
    each = np.array([0, 0, 0.5, 0.5])
    assert mean == 0.25 and high - mean == pytest.approx(1.96 * each.std(ddof=1) / 2) == pytest.approx(mean - low)
    assert difference(first, first) == (0, 0, 0)
    with pytest.raises(UserError, match="on the same photos"):
        score([_scored([1, 1]), _scored([1])])
