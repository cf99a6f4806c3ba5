"""Old snapshots and directories are deleted, and never a file that a kept or pinned snapshot names."""

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.watch.ledger import Entry, Ledger, Merge
from beam_jobs.watch.upkeep import retention
from beam_jobs.watch.upkeep.retention import Keep, Swept, sweep
from tests.stores import Bucket
from tfrecords.dataset.pins import pin, pinned, unpin
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name, snapshot_numbers, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files import publish
from tfrecords.files.place import Place

ALL = Keep(snapshots=1, days=0, grace_s=0)
FILES = ("manifest.json", "svhn-train.tfrecord-00000-of-00001", "annotations.parquet")


class Killed(BaseException):
    """A process was killed."""


class Streamed:
    """A stream of small files: generations, of which every third entry merges what was not merged before."""

    def __init__(self, place: Place) -> None:
        self.place, self.parts, self.number = place, list[Part](), 0
        self.log: list[Entry] = []

    def add(self, count: int = 1, commit: bool = True) -> None:
        for _ in range(count):
            merges = self.number % 3 == 2
            parts = self.parts
            if merges:
                into = directory_name(parts[-2].first, parts[-1].last)
                entry = Entry(self.number, merges=[Merge(into, [part.directory for part in parts[-2:]])])
                parts = [*parts[:-2], Part(into, "0" * 64)]
            else:
                entry = Entry(self.number, merges=[])
                parts = [*parts, Part(directory_name(self.number), "0" * 64)]
            (self.place / "log" / f"{self.number:08d}.json").create(entry.to_json())
            for name in FILES:
                (self.place / parts[-1].directory / name).write([name.encode()])
            if commit:
                snapshot_place(self.place, self.number).create(Snapshot(self.number, parts, {}, {}, 1).to_json())
                self.age(self.number, float(self.number))
                self.parts = parts
            self.number += 1

    def age(self, number: int, days: float) -> None:
        """Says when a snapshot was written."""
        if not self.place.is_remote:
            os.utime(snapshot_place(self.place, number).path, (days * 86_400, days * 86_400))

    @property
    def directories(self) -> set[str]:
        return {f"generations/{entry.name}" for entry in (self.place / "generations").entries()}

    def broken(self) -> list[str]:
        """Returns the files that a snapshot names and that are not there."""
        found = []
        for number in snapshot_numbers(self.place):
            for part in Snapshot.load(self.place, number).parts:
                found += [
                    f"{part.directory}/{name}" for name in FILES if not (self.place / part.directory / name).exists()
                ]
        return found


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that knows nothing; it does not wait for the disk, which takes most of the time of these tests."""
    for name in ("sync", "sync_names"):
        monkeypatch.setattr(publish, name, lambda _: None)
    restart()
    yield
    restart()


def restart() -> None:
    """Forgets what a process knows."""
    retention._SEEN.clear()


@pytest.fixture
def stream(tmp_path: Path) -> Streamed:
    return Streamed(Place(tmp_path / "stream"))


def test_the_newest_young_and_pinned_snapshots_are_kept(stream: Streamed) -> None:
    """They are a day apart; the age is that of the newest one's file, whatever this machine's clock says."""
    stream.add(20)
    pin(stream.place, "run-1", 4)
    assert sweep(stream.place, Keep(snapshots=3, days=5), 0.0).snapshots == [*range(4), *range(5, 15)]
    assert snapshot_numbers(stream.place) == [4, *range(15, 20)]
    assert sweep(stream.place, Keep(snapshots=6, days=1), 0.0).snapshots == []
    assert sweep(stream.place, Keep(snapshots=5, days=1), 0.0).snapshots == []
    assert unpin(stream.place, "run-1")
    assert sweep(stream.place, Keep(snapshots=1, days=1), 0.0).snapshots == [4, *range(15, 19)]
    assert sweep(stream.place, ALL, 0.0).snapshots == []
    assert snapshot_numbers(stream.place) == [19] and stream.broken() == []


def test_a_directory_that_no_snapshot_names_waits_for_the_grace_time(stream: Streamed) -> None:
    stream.add(5)
    before = stream.directories
    keep = Keep(snapshots=1, days=0, grace_s=3600)
    assert sweep(stream.place, keep, 100.0) == Swept([0, 1, 2, 3], [], 2)
    assert sweep(stream.place, keep, 3699.0) == Swept([], [], 2)
    swept = sweep(stream.place, keep, 3700.0)
    assert swept == Swept([], ["generations/00000000", "generations/00000001"], 0)
    assert stream.directories == before - set(swept.directories)
    assert sweep(stream.place, keep, 3800.0) == Swept()
    assert (stream.place / "trash").names() == []
    assert str(Swept([0, 1], ["generations/00000000"], 2)) == (
        "deleted 2 snapshots and 1 directory that nothing needs any more; 2 directories wait"
    )
    assert str(Swept([], [], 3)) == ""


def test_after_a_restart_the_wait_begins_again_unless_a_snapshot_was_written_that_much_later(stream: Streamed) -> None:
    stream.add(5)
    keep = Keep(snapshots=1, days=0, grace_s=3600)
    sweep(stream.place, keep, 5000.0)
    restart()
    assert sweep(stream.place, keep, 9000.0) == Swept([], [], 2)
    restart()
    for name in (stream.place / "trash").names():
        os.utime((stream.place / "trash" / name).path, (4 * 86_400 - 3600, 4 * 86_400 - 3600))
    assert sweep(stream.place, keep, 0.0).directories == ["generations/00000000", "generations/00000001"]


def test_directories_of_uncommitted_entries_are_never_touched(stream: Streamed) -> None:
    stream.add(5)
    stream.add(1, commit=False)
    for name in ("00000006", "00000002.00000005", "notes"):
        (stream.place / "generations" / name / "manifest.json").write([b""])
    swept = sweep(stream.place, ALL, 0.0)
    assert swept.directories == ["generations/00000000", "generations/00000001"]
    left = {"00000000-00000001", "00000003", "00000004", "00000003-00000004", "00000006", "00000002.00000005", "notes"}
    assert stream.directories == {f"generations/{name}" for name in left}


def test_what_an_entry_left_that_lost_its_batches_is_deleted(stream: Streamed) -> None:
    stream.add(5)
    for name in ("00000003.00000004", "00000002"):
        (stream.place / "generations" / name / "shard").write([b""])
    assert sweep(stream.place, ALL, 0.0).directories == [
        f"generations/{name}" for name in ("00000000", "00000001", "00000002", "00000003.00000004")
    ]


def test_entries_of_deleted_snapshots_are_done(stream: Streamed) -> None:
    stream.add(5)
    stream.add(1, commit=False)
    sweep(stream.place, ALL, 0.0)
    assert [entry.entry for entry in Ledger(stream.place).open] == [5]


def test_while_a_snapshot_cannot_be_read_no_directory_is_deleted_and_it_is_said_once(
    stream: Streamed, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.add(6)
    before, good = stream.directories, snapshot_place(stream.place, 4).read_bytes()
    snapshot_place(stream.place, 4).write([b"{}"])
    stream.age(4, 4.0)
    keep = Keep(snapshots=2, days=0, grace_s=0)
    assert sweep(stream.place, keep, 0.0).snapshots == [0, 1, 2, 3]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: nothing that this file may name is deleted: ") and "00000004.json" in line
    assert sweep(stream.place, keep, 60.0) == Swept()
    assert capsys.readouterr().err == "" and stream.directories == before
    snapshot_place(stream.place, 4).write([good])
    assert sweep(stream.place, keep, 120.0).directories
    assert stream.broken() == []


def test_a_damaged_snapshot_that_is_old_is_deleted_with_what_only_it_could_name(stream: Streamed) -> None:
    stream.add(6)
    snapshot_place(stream.place, 2).write([b"{}"])
    stream.age(2, 2.0)
    assert sweep(stream.place, ALL, 0.0) == Swept(
        [0, 1, 2, 3, 4], [f"generations/{number:08d}" for number in (0, 1, 3, 4)], 0
    )


def test_while_a_pin_cannot_be_read_nothing_is_deleted_and_each_is_said_once(
    stream: Streamed, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.add(6)
    before = stream.directories
    pin(stream.place, "good", 1)
    for name in ("run", "other"):
        (stream.place / "pins" / f"{name}.json").write([b"?"])
    for now in (0.0, 60.0):
        assert sweep(stream.place, ALL, now) == Swept()
    lines = capsys.readouterr().err.splitlines()
    assert [name in line for line, name in zip(sorted(lines), ("other.json", "run.json"), strict=True)] == [True] * 2
    assert stream.directories == before and len(snapshot_numbers(stream.place)) == 6
    with pytest.raises(UserError, match=r"pins/"):
        pinned(stream.place)
    pin(stream.place, "run", 0)
    assert unpin(stream.place, "other")
    assert sweep(stream.place, ALL, 120.0).snapshots == [2, 3, 4]


def test_a_snapshot_comes_back_if_a_pin_is_damaged_while_it_is_deleted(
    stream: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.add(3)
    real = Place.delete

    def delete(place: Place) -> None:
        real(place)
        (stream.place / "pins" / "run.json").write([b"?"])

    with monkeypatch.context() as patch:
        patch.setattr(Place, "delete", delete)
        assert sweep(stream.place, ALL, 0.0).snapshots == []
    assert snapshot_numbers(stream.place) == [0, 1, 2] and stream.broken() == []


def test_keeping_less_than_nothing_is_refused() -> None:
    for values in ({"snapshots": 0}, {"days": -1}, {"grace_s": float("nan")}):
        with pytest.raises(UserError, match="to keep must be"):
            Keep(**values)


@contextlib.contextmanager
def operations(monkeypatch: pytest.MonkeyPatch, before_each: Callable[[int], None]) -> Iterator[None]:
    """Calls a function before each change of a file, with the number of the change; folders go file by file."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            before_each(count)
            return real(*arguments, **options)

        return change

    def delete_folder(place: Place) -> None:
        for name in place.names():
            (place / name).delete()
        publish.remove(place.path)

    with monkeypatch.context() as patch:
        patch.setattr(Place, "delete_folder", delete_folder)
        for name in ("write", "create", "delete"):
            patch.setattr(Place, name, counted(getattr(Place, name)))
        yield


def test_no_file_is_deleted_that_a_kept_or_pinned_snapshot_names(
    stream: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guarantee 11: the process is killed between every two changes of files, and others pin meanwhile."""
    draw = random.Random(0)
    keep = Keep(snapshots=2, days=3, grace_s=0)

    def kill(number: int) -> None:
        if draw.random() < 0.3:
            raise Killed

    kills = 0
    for _ in range(40):
        stream.add(draw.randint(1, 3))
        for _ in range(draw.randint(0, 3)):
            numbers = snapshot_numbers(stream.place)
            pin(stream.place, f"run-{draw.randint(0, 3)}", draw.choice(numbers))
        kept = {*pinned(stream.place).values(), *snapshot_numbers(stream.place)[-2:]}
        while True:
            try:
                with operations(monkeypatch, kill):
                    sweep(stream.place, keep, 0.0)
                break
            except Killed:
                kills += 1
                restart()
                assert stream.broken() == []
                assert kept <= set(snapshot_numbers(stream.place))
        assert stream.broken() == []
        assert kept <= set(snapshot_numbers(stream.place))
    assert kills > 60
    named = {
        part.directory
        for number in snapshot_numbers(stream.place)
        for part in Snapshot.load(stream.place, number).parts
    }
    assert stream.directories == named, "and nothing is left that none names"
    assert len(snapshot_numbers(stream.place)) <= 4 + 4


@pytest.mark.parametrize("grace_s", [0.0, 60.0])
def test_a_pin_that_races_with_a_sweep_holds_or_is_refused(
    stream: Streamed, monkeypatch: pytest.MonkeyPatch, grace_s: float
) -> None:
    """It is written before each of the sweep's operations in turn."""
    outcomes = set()
    for moment in range(1, 40):
        stream.add(3)
        for each in snapshot_numbers(stream.place):
            stream.age(each, float(each))  # one that was put back is young again
        target = snapshot_numbers(stream.place)[0]
        held: list[bool] = []

        def race(number: int, moment: int = moment, target: int = target, held: list[bool] = held) -> None:
            if number == moment and not held:
                held.append(False)
                with contextlib.suppress(UserError):
                    pin(stream.place, "run", target)
                    held[0] = True

        with operations(monkeypatch, race):
            sweep(stream.place, Keep(snapshots=1, days=0, grace_s=grace_s), 0.0)
        assert stream.broken() == []
        if held:
            outcomes.add(held[0])
            assert (target in snapshot_numbers(stream.place)) or not held[0]
            assert ("run" in pinned(stream.place)) is held[0]
        unpin(stream.place, "run")
        restart()
    assert outcomes == {True, False}


def test_killed_while_a_snapshot_is_hidden_that_a_pin_names_it_is_put_back(
    stream: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.add(4)
    content = snapshot_place(stream.place, 0).read_bytes()
    (stream.place / "trash" / "00000000.json").write([content])
    snapshot_place(stream.place, 0).delete()
    (stream.place / "pins" / "run.json").write([json.dumps({"snapshot": 0}).encode()])
    assert sweep(stream.place, ALL, 0.0).snapshots == [1, 2]
    assert snapshot_place(stream.place, 0).read_bytes() == content
    assert stream.broken() == []


def test_a_snapshot_is_read_once_by_a_process(stream: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    stream.add(9)
    sweep(stream.place, Keep(), 0.0)
    stream.add(1)
    loaded, real = list[int](), Snapshot.load

    def load(place: Place, number: int) -> Snapshot:
        loaded.append(number)
        return real(place, number)

    monkeypatch.setattr(Snapshot, "load", load)
    sweep(stream.place, Keep(), 0.0)
    sweep(stream.place, Keep(), 1.0)
    assert loaded == [9]


def test_one_sweep_deletes_a_limited_number_and_the_next_one_continues(
    stream: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_MOST", 1)
    stream.add(10)
    swept = [sweep(stream.place, ALL, 0.0) for _ in range(12)]
    assert [each.snapshots for each in swept[:10]] == [*([number] for number in range(9)), []]
    assert {len(each.directories) for each in swept} == {0, 1}
    assert sum(len(each.directories) for each in swept) == 6 and max(each.waiting for each in swept) == 1
    named = {part.directory for part in Snapshot.load(stream.place, 9).parts}
    assert stream.directories == named and (stream.place / "trash").names() == []


def test_a_sweep_of_a_stream_without_anything_does_nothing(tmp_path: Path) -> None:
    assert sweep(Place(tmp_path / "none"), Keep(), 0.0) == Swept()


def test_in_a_bucket_the_same_is_deleted(bucket: Bucket) -> None:
    stream = Streamed(Place(bucket.address) / "a stream")
    stream.add(5)
    pin(stream.place, "run", 1)
    assert sweep(stream.place, Keep(snapshots=1, days=7), 0.0) == Swept([], [], 0)
    assert sweep(stream.place, ALL, 0.0) == Swept([0, 2, 3], [], 0)
    unpin(stream.place, "run")
    assert sweep(stream.place, ALL, 0.0) == Swept([1], ["generations/00000000", "generations/00000001"], 0)
    assert stream.broken() == []
    assert sweep(stream.place, ALL, 0.0) == Swept()
    assert "trash" not in {entry.name for entry in stream.place.entries()}
