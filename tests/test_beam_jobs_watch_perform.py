"""Entries that are made: generations as `prepare` makes them, resumed, made again, and without what has changed."""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.prepare import execute
from beam_jobs.watch.admission import admit
from beam_jobs.watch.batch import Batch, Correction
from beam_jobs.watch.commit import newest
from beam_jobs.watch.config import new_config
from beam_jobs.watch.ledger import Entry, Ledger, Merge
from beam_jobs.watch.perform import EmptyStreamError, Make, maker, perform
from beam_jobs.watch.stream import Stream
from tests.arriving import SimpleInbox, drop
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.snapshots import Snapshot
from tfrecords.errors import UserError
from tfrecords.files.place import Place

MAKE = maker(1)


class Setting:
    """A stream whose inbox is a folder next to it."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.config = new_config({"source": "svhn", **values})
        self.place = Place(folder / "stream")
        self.stream = Stream(self.place, self.config)
        self.folder = folder / "inbox"
        self.inbox = SimpleInbox(self.folder, self.config)
        self.ledger = Ledger(self.place)

    def admit(self, *names: str, pictures: int = 3) -> Entry:
        for name in names:
            drop(self.folder, name, pictures)
        entry = admit(self.inbox.poll(self.ledger, 1000), self.ledger, 1000)
        assert entry and len(entry.batches) == len(names)
        self.ledger.append(entry)
        return entry

    def perform(self, entry: Entry, make: Make = MAKE) -> Snapshot:
        return perform(self.stream, self.ledger, entry, make, self.inbox)

    def generation(self, name: str) -> Path:
        return self.place.path / "generations" / name


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, validation_fraction=0.3)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def subsets(folder: Path) -> list[str]:
    return [source.subset for source in Manifest.load(folder).sources]


def test_a_snapshot_has_the_directories_of_the_one_before_and_its_own(setting: Setting) -> None:
    first = setting.perform(setting.admit("a", "b"))
    second = setting.perform(setting.admit("c"))
    assert [part.directory for part in second.parts] == ["generations/00000000", "generations/00000001"]
    assert second.parts[:1] == first.parts and second.batches == 3
    assert newest(setting.place) == second and setting.ledger.open == []
    assert subsets(setting.generation("00000000")) == ["a", "b"]


def test_a_complete_directory_is_kept_and_one_of_other_versions_is_made_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.perform(setting.admit("a"))
    folder, snapshot = setting.generation("00000000"), setting.place / "snapshots" / "00000000.json"
    whole, times = digests(folder), [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    snapshot.delete()
    ledger = Ledger(setting.place)
    perform(setting.stream, ledger, ledger.open[0], MAKE, setting.inbox)
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == times
    snapshot.delete()
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"numpy": "', '"numpy": "0.'))
    ledger = Ledger(setting.place)
    perform(setting.stream, ledger, ledger.open[0], MAKE, setting.inbox)
    assert digests(folder) == whole


def test_shards_that_a_killed_process_has_completed_are_kept(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = setting.admit("a", pictures=20)
    monkeypatch.setattr("beam_jobs.prepare.local.publish_dataset", lambda *_: sys.exit(9))
    with pytest.raises(SystemExit):
        setting.perform(entry)
    monkeypatch.undo()
    kept: list[int] = []

    def count(*arguments: Any) -> Any:
        counters, values = execute.execute(*arguments)
        kept.append(counters["shards_kept"])
        return counters, values

    monkeypatch.setattr("beam_jobs.watch.perform.execute", count)
    setting.perform(entry)
    assert kept == [2]


def test_a_batch_that_changed_after_admission_is_refused_and_the_others_are_made(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = setting.admit("a", "b")
    shutil.rmtree(setting.folder / "a")
    snapshot = setting.perform(entry)
    assert subsets(setting.generation("00000000")) == ["b"] and snapshot.batches == 1
    assert setting.ledger.entry(1).refusals[0].entry == 0
    assert capsys.readouterr().err == "warning: batch a refused: changed_after_admission: It is gone.\n"
    drop(setting.folder, "a", seed=5)
    assert subsets_of_next(setting) == ["a"]


def subsets_of_next(setting: Setting) -> list[str]:
    entry = admit(setting.inbox.poll(setting.ledger, 1000), setting.ledger, 1000)
    assert entry
    setting.ledger.append(entry)
    setting.perform(entry)
    return subsets(setting.generation(f"{entry.entry:08d}"))


def test_a_batch_that_was_away_for_a_while_is_accepted_again(setting: Setting) -> None:
    entry = setting.admit("a", "b")
    (setting.folder / "a").rename(setting.folder / ".a")
    setting.perform(entry)
    assert subsets(setting.generation("00000000")) == ["b"]
    (setting.folder / ".a").rename(setting.folder / "a")
    assert subsets_of_next(setting) == ["a"]


def test_a_batch_that_changes_while_it_is_read_is_in_no_snapshot(setting: Setting) -> None:
    entry = setting.admit("a", "b")
    calls: list[list[str]] = []

    def make(plan: Any) -> None:
        calls.append([subset.name for subset in plan.subsets])
        MAKE(plan)
        (setting.folder / "a" / "2.png").write_bytes(b"another picture")

    setting.perform(entry, make)
    assert calls == [["a", "b"], ["b"]]
    assert subsets(setting.generation("00000000")) == ["b"]


def test_annotations_that_cannot_be_read_as_a_whole_do_not_stop_the_stream(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = setting.admit("a", "b")
    source = type(__import__("beam_jobs.sources", fromlist=["x"]).load_source("svhn"))
    read = source.read_annotations

    def fail(self: Any, subset: Any, *others: Any) -> Any:
        if subset.name == "a":
            raise UserError(f"{subset.path} must be readable.", "damage in the middle")
        return read(self, subset, *others)

    monkeypatch.setattr(source, "read_annotations", fail)
    setting.perform(entry)
    assert subsets(setting.generation("00000000")) == ["b"]
    assert "damage in the middle" in setting.ledger.entry(1).refusals[0].detail


def test_a_bug_in_the_making_is_raised_and_refuses_nothing(setting: Setting) -> None:
    entry = setting.admit("a")

    def make(plan: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        setting.perform(entry, make)
    assert setting.ledger.next == 1 and newest(setting.place) is None


def test_an_entry_that_lost_all_its_batches_has_the_snapshot_before_again(setting: Setting) -> None:
    first = setting.perform(setting.admit("a"))
    entry = setting.admit("b")
    shutil.rmtree(setting.folder / "b")
    second = setting.perform(entry)
    assert (second.snapshot, second.parts, second.batches) == (1, first.parts, 1)


def test_a_first_entry_that_lost_all_its_batches_makes_no_snapshot_and_the_next_one_does(setting: Setting) -> None:
    entry = setting.admit("a")
    shutil.rmtree(setting.folder / "a")
    with pytest.raises(EmptyStreamError, match="must have a batch"):
        setting.perform(entry)
    assert newest(setting.place) is None and setting.ledger.open == []
    assert setting.perform(setting.admit("b")).snapshot == 2
    assert Ledger(setting.place).open == []


def test_a_batch_whose_pictures_are_all_rejected_is_committed(setting: Setting) -> None:
    drop(setting.folder, "bad", 4, missing=4)
    entry = admit(setting.inbox.poll(setting.ledger, 9), setting.ledger, 9)
    assert entry
    setting.ledger.append(entry)
    snapshot = setting.perform(entry)
    assert snapshot.dead_letters == {"missing_picture": 4} and snapshot.batches == 1
    assert sum(total.examples for total in snapshot.totals.values()) == 0


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> None:
    """Puts other functions in the place of those of a module of the room."""
    for each, function in functions.items():
        monkeypatch.setattr(f"beam_jobs.watch.{name}.{each}", function)


def _copy(stream: Stream, part: Any, into: str) -> None:
    source = part[0] if isinstance(part, list) else part
    shutil.copytree(stream.place.path / source.directory, stream.place.path / into)


def test_merged_directories_take_the_place_of_theirs(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        setting.perform(setting.admit(name))
    fake(monkeypatch, "upkeep.merge", merge_directories=_copy)
    old = ["generations/00000001", "generations/00000002"]
    setting.ledger.append(Entry(3, merges=[Merge("generations/00000001-00000002", old)]))
    snapshot = setting.perform(setting.ledger.open[0])
    assert [part.directory for part in snapshot.parts] == ["generations/00000000", "generations/00000001-00000002"]
    assert (snapshot.parts[1].first, snapshot.parts[1].last, snapshot.batches) == (1, 2, 3)
    setting.ledger.append(Entry(4, merges=[Merge("generations/00000000-00000002", old)]))
    with pytest.raises(AssertionError, match="are not adjacent"):
        setting.perform(setting.ledger.open[0])


def test_corrected_directories_take_the_place_of_theirs_and_new_pictures_come_after(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        setting.perform(setting.admit(name))
    given = [Correction("b/1.png", "delete"), Correction("x/1.png", "relabel", "12")]

    def affected(stream: Place, parts: Any, corrections: Any) -> Any:
        assert corrections == given
        return type("Affected", (), {"parts": {parts[1]: given[:1]}, "not_found": ["x/1.png: no batch has it"]})

    def correct(stream: Stream, part: Any, corrections: Any, into: str) -> None:
        assert corrections == given[:1]
        _copy(stream, part, into)

    fake(monkeypatch, "correcting.correct", affected=affected, correct_directory=correct)
    fix = Batch("fix", "digest", "stamp", [], corrections=given)
    drop(setting.folder, "c")
    new = setting.inbox.read("c")
    monkeypatch.setattr(setting.inbox, "difference", lambda batch, thorough=False: "")
    setting.ledger.append(Entry(2, [fix, new]))
    snapshot = setting.perform(setting.ledger.open[0])
    names = ["generations/00000000", "generations/00000001.00000002", "generations/00000002"]
    assert [part.directory for part in snapshot.parts] == names
    assert snapshot.batches == 3
    assert "changes nothing: x/1.png: no batch has it" in capsys.readouterr().err
