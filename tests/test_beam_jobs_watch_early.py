"""Corrections that come before, with and after their numbers: each takes effect once, and none is lost."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.sources.base import Subset
from beam_jobs.watch import metrics
from beam_jobs.watch.batch import Batch, Correction, Positions
from beam_jobs.watch.commit import newest
from beam_jobs.watch.config import WatchJob, new_config
from beam_jobs.watch.correcting.correct import read_corrections
from beam_jobs.watch.cycle import Report, Watcher
from beam_jobs.watch.early import EarlyCorrections
from beam_jobs.watch.inboxes.folder import FolderInbox
from beam_jobs.watch.inboxes.inbox import Arrivals, Inbox
from beam_jobs.watch.inboxes.lines import LinesInbox
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.perform import maker
from beam_jobs.watch.status import Status
from tests.arriving import drop_table
from tests.forked import Forked, signal_before
from tests.messages import line
from tfrecords.__main__ import COMMANDS as READING
from tfrecords.cli import main
from tfrecords.dataset.snapshots import load_manifest
from tfrecords.files.place import Place


def fix(inbox: Path, name: str, *rows: str) -> Path:
    """Drops a batch of corrections, or adds them to one; each row is key,action,text."""
    folder = inbox / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corrections.csv").write_text("\n".join(["key,action,text", *rows, ""]))
    return folder


def numbers(stream: Place | Path, snapshot: int | None = None) -> dict[str, str]:
    """The text of each number."""
    splits = load_manifest(stream, snapshot).splits
    opened = (tfrecords.open(str(stream), split, snapshot=snapshot) for split in splits)
    return {each.key.partition("#")[0]: each.text for examples in opened for each in examples}


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error, without those of progress."""
    return [each for each in capsys.readouterr().err.splitlines() if each.startswith(("note", "warning", "batch"))]


class Setting:
    """A watcher whose batches are ready at once, and whose clock stands still."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.folder, self.place = folder / "inbox", Place(folder / "stream")
        self.folder.mkdir(exist_ok=True)
        self.now = 0.0
        self.config = new_config({"source": "table", "max_length": 5})
        given = {"every": 0.0, "compact": "off", "patience": 60.0, **values}
        self.job = WatchJob(source="table", input=str(self.folder), output=str(self.place), **given)
        self.watcher = self.start()

    def start(self, inbox: Inbox | None = None) -> Watcher:
        made = FolderInbox(Place(self.folder), self.config, settle_s=0, now=lambda: self.now)
        return Watcher(self.place, self.config, inbox or made, maker(1), self.job)

    def cycle(self) -> Report:
        return self.watcher.cycle()

    def batches(self, report: Report) -> list[str]:
        return [batch.name for batch in report.entry.batches] if report.entry else []


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(tmp_path)
    monkeypatch.setattr("beam_jobs.watch.cycle.time.monotonic", lambda: setting.now)
    return setting


@pytest.mark.parametrize("name", ["a-fix", "z-fix"])
@pytest.mark.parametrize("looks", [0, 3])
def test_a_correction_is_in_the_next_snapshot_after_the_batch_that_it_corrects_however_early_it_came(
    setting: Setting, name: str, looks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fix(setting.folder, name, "b/0.png,relabel,77", "b/1.png,delete,")
    for _ in range(looks):
        report = setting.cycle()
        assert (report.entry, report.pending) == (None, 1)
    drop_table(setting.folder, "b", ["1", "2", "3"])
    for other in ("c", "m", "zz"):
        drop_table(setting.folder, other, ["5", "6", str(ord(other[0]))])
    setting.watcher._job = replace(setting.job, pictures=4)
    first, second, third = (setting.cycle() for _ in range(3))
    assert [setting.batches(each) for each in (first, second)] == [["b"], sorted([name, "c"])]
    assert numbers(setting.place, 0) == {"b/0.png": "1", "b/1.png": "2", "b/2.png": "3"}
    assert {key: text for key, text in numbers(setting.place, 1).items() if key[0] == "b"} == {
        "b/0.png": "77",
        "b/2.png": "3",
    }
    assert setting.batches(third) == ["m"]
    note = [f"note: batch {name} waits up to 60 s for b, which it corrects"]
    # The first look at all ends with enough pictures, before it comes to z-fix.
    assert said(capsys) == (note if looks or name < "b" else [])
    status = Status.load(setting.place)
    assert status and (status.corrections_applied, status.corrections_not_found) == (2, 0)


def test_a_correction_that_was_awaited_is_made_at_once(setting: Setting) -> None:
    fix(setting.folder, "fix", "b/0.png,relabel,77")
    setting.watcher._job = replace(setting.job, every=30.0)
    setting.cycle()
    drop_table(setting.folder, "b", ["1", "2"])
    made = []
    for _ in range(40):
        setting.now += 1
        if (report := setting.cycle()).entry:
            made.append((setting.now, setting.batches(report)))
    assert made == [(31.0, ["b"]), (32.0, ["fix"])]


def test_a_batch_corrects_its_own_pictures_in_the_snapshot_that_brings_them(setting: Setting) -> None:
    drop_table(setting.folder, "b", ["1", "2", "3"])
    fix(setting.folder, "b", "b/0.png,relabel,88")
    assert setting.batches(setting.cycle()) == ["b"]
    assert numbers(setting.place)["b/0.png"] == "88"
    snapshot = newest(setting.place)
    assert snapshot and [part.directory for part in snapshot.parts] == ["generations/00000000.00000000"]
    assert snapshot.batches == 1 and snapshot.corrections_applied == 1
    fix(setting.folder, "later", "b/0.png,relabel,99")
    setting.cycle()
    assert numbers(setting.place)["b/0.png"] == "99"
    assert numbers(setting.place, 0)["b/0.png"] == "88"


def test_a_batch_that_never_comes_is_awaited_until_patience_ends_and_then_said_and_counted(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_table(setting.folder, "b", ["1", "2"])
    setting.cycle()
    fix(setting.folder, "fix", "b/0.png,relabel,9", "never/1.png,delete,", "never@part/2.png,delete,")
    setting.now = 10
    assert setting.cycle().pending == 1
    setting.now = 69
    report = setting.cycle()
    status = Status.load(setting.place)
    assert status and (report.entry, report.pending, status.pending, status.oldest_pending_s) == (None, 1, 1, 59.0)
    setting.now = 70
    assert setting.batches(setting.cycle()) == ["fix"]
    assert numbers(setting.place) == {"b/0.png": "9", "b/1.png": "2"}
    assert said(capsys) == [
        "note: batch fix waits up to 60 s for never, which it corrects",
        "warning: a correction changes nothing: never/1.png: no batch of the stream has this number",
        "warning: a correction changes nothing: never@part/2.png: no batch of the stream has this number",
    ]
    text = metrics.text(Status.load(setting.place))
    assert 'streetdigits_watch_corrections{result="applied"} 1\n' in text
    assert 'streetdigits_watch_corrections{result="not_found"} 2\n' in text
    assert main("beam_jobs", "", COMMANDS, ["status", str(setting.place)]) == 0
    assert "corrected  1 number, and 2 not found\n" in capsys.readouterr().out


def test_counts_go_on_after_a_restart_and_through_other_snapshots(setting: Setting) -> None:
    drop_table(setting.folder, "b", ["1", "2"])
    setting.cycle()
    fix(setting.folder, "fix", "b/0.png,relabel,9")
    setting.cycle()
    (setting.place / "status.json").delete()
    setting.watcher = Watcher(
        setting.place, setting.watcher.stream or setting.config, setting.watcher._inbox, maker(1), setting.job
    )
    drop_table(setting.folder, "c", ["4", "5"])
    setting.cycle()
    fix(setting.folder, "fix-2", "c/0.png,relabel,9", "c/7.png,delete,")
    setting.cycle()
    status = Status.load(setting.place)
    assert status and (status.corrections_applied, status.corrections_not_found) == (2, 1)


def test_a_number_that_an_accepted_batch_does_not_have_is_not_awaited(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_table(setting.folder, "b", ["1", "123456"])
    setting.cycle()
    fix(setting.folder, "fix", "b/7.png,relabel,9", "b/1.png,relabel,12")
    assert setting.batches(setting.cycle()) == ["fix"]
    assert said(capsys) == [
        "warning: a correction changes nothing: b/1.png: it has no record, since it is rejected (too_long)",
        "warning: a correction changes nothing: b/7.png: its batch has no such number",
    ]


def test_of_corrections_of_one_number_that_are_ready_together_the_last_by_name_counts(setting: Setting) -> None:
    for name, text in (("fix-3", "33"), ("fix-1", "11"), ("fix-2", "22")):
        fix(setting.folder, name, f"b/0.png,relabel,{text}")
    setting.cycle()
    drop_table(setting.folder, "b", ["1", "2"])
    setting.cycle()
    assert setting.batches(setting.cycle()) == ["fix-1", "fix-2", "fix-3"]
    assert numbers(setting.place)["b/0.png"] == "33"


def test_corrections_that_wait_keep_no_batch_from_being_read(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_jobs.watch.inboxes.folder._MOST_WAITING", 2)
    setting.watcher._job = replace(setting.job, pictures=2)
    for index in range(6):
        fix(setting.folder, f"a-{index}", f"z/0.png,relabel,{index}")
    setting.cycle()
    drop_table(setting.folder, "y", ["1", "2"])
    drop_table(setting.folder, "z", ["1", "3"])
    made = [setting.batches(setting.cycle()) for _ in range(8)]
    assert [each for each in made if each] == [["y"], ["z"], [f"a-{index}" for index in range(6)]]
    assert numbers(setting.place)["z/0.png"] == "5"


def test_once_leaves_what_waits_in_the_inbox_for_the_next_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    drop_table(inbox, "a", ["1", "2"])
    fix(inbox, "fix", "b/0.png,relabel,77")
    assert watch(inbox, stream) == 0
    assert "1 batch corrects what has not come yet, and waits for the next call\n" in capsys.readouterr().out
    drop_table(inbox, "b", ["4", "5"])
    assert watch(inbox, stream) == 0
    assert numbers(stream)["b/0.png"] == "77" and "next call" not in capsys.readouterr().out


def log_batch(name: str, partition: str, start: int, entries: int, *keys: str) -> Batch:
    subsets = [Subset(name, f"in/{name}", entries, "0" * 64)] if entries else []
    positions = [Positions(partition, start, start + 10)]
    return Batch(name, f"digest of {name}", name, subsets, positions, [Correction(key, "delete") for key in keys])


def test_what_follows_a_correction_of_a_log_waits_with_it_and_other_partitions_go_on(tmp_path: Path) -> None:
    ledger, lines = Ledger(Place(tmp_path)), list[str]()
    early = EarlyCorrections(60, lines.append)
    first, second = log_batch("p-00", "p", 0, 5), log_batch("q-00", "q", 0, 0, "p-00/1", "unknown/2")
    third, fourth = log_batch("q-10", "q", 10, 5), log_batch("r-00", "r", 0, 5)
    ready = [first, second, third, fourth]
    found = early.hold(Arrivals(ready, waiting=1), ledger, 0)
    assert ([each.name for each in found.ready], found.waiting) == (["p-00", "r-00"], 3)
    assert lines == ["batch q-00 waits up to 60 s for p-00, which it corrects"] and not early.has_released
    ledger.append(Entry(0, [first, fourth]))
    found = early.hold(Arrivals([second, third]), ledger, 1)
    assert (found.ready, found.waiting, early.has_released) == ([second, third], 0, True)
    # Nobody can know the name of a batch of a log that is not there.
    found = early.hold(Arrivals([log_batch("s-00", "s", 0, 0, "p-20/1")]), ledger, 2)
    assert [each.name for each in found.ready] == ["s-00"] and not early.has_released


def test_a_message_corrects_a_picture_that_the_same_look_has_found(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    log = tmp_path / "log"
    log.mkdir()
    first = line(11) + line(12)
    name = f"a-{0:012d}-{len(first):012d}"
    (log / "a.jsonl").write_bytes(first)
    inbox = LinesInbox(Place(log), setting.place)
    inbox.poll(Ledger(setting.place), 1000)  # spools them
    later = [{"key": f"{name}/1/{len(line(11))}", "action": "relabel", "text": text} for text in ("77", "78")]
    for file in ("a", "b"):
        rows = [json.dumps({**row, "text": row["text"] + file.replace("a", "1").replace("b", "2")}) for row in later]
        with (log / f"{file}.jsonl").open("ab") as out:
            out.write(("\n".join(rows) + "\n").encode() + line(5 if file == "a" else 6))
    setting.watcher = setting.start(LinesInbox(Place(log), setting.place))
    reports = [setting.cycle() for _ in range(3)]
    made = [[each.partition("-")[0] for each in setting.batches(report)] for report in reports]
    assert made == [["a"], ["a", "b"], []]
    assert sorted(numbers(setting.place).values()) == sorted(["11", "782", "5", "6"])
    ledger = Ledger(setting.place)
    assert sum(len(ledger.entry(number).batches) for number in range(ledger.next)) == 3


def watch(inbox: Path, stream: Path, *options: str) -> int:
    flags = ["--source", "table", "--max-length", "5", "--input", str(inbox), "--output", str(stream)]
    flags += ["--once", "--settle", "0", "--poll", "0.01", "--workers", "1", *options]
    return main("beam_jobs", "", COMMANDS, ["watch", *flags])


def _die_at(inbox: Path, stream: Path, operation: int) -> int:
    """Watches, and is killed before its n-th operation on a file of the stream."""
    signal_before(operation, str(stream))
    return watch(inbox, stream)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("status.json", ".watch.lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fill(inbox: Path) -> dict[str, str]:
    """Drops batches with corrections of all kinds; returns what the stream must hold."""
    fix(inbox, "a-fix", "b/0.png,relabel,77", "c/1.png,delete,")
    drop_table(inbox, "b", ["1", "2", "3"])
    drop_table(inbox, "c", ["4", "5", "6"])
    fix(inbox, "c", "c/0.png,relabel,88")
    fix(inbox, "z-fix", "c/0.png,relabel,99")
    return {"b/0.png": "77", "b/1.png": "2", "b/2.png": "3", "c/0.png": "99", "c/2.png": "6"}


def test_killed_at_any_file_operation_any_number_of_times_each_correction_takes_effect_once(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    expected = fill(inbox)
    assert watch(inbox, tmp_path / "undisturbed") == 0
    assert numbers(tmp_path / "undisturbed") == expected
    rng, killed = random.Random(3), 0
    for _ in range(8):
        code, _, errors = Forked(_die_at, inbox, stream, rng.randint(10, 90)).wait()
        assert code in (0, -signal.SIGKILL), errors
        if code == 0:
            break
        killed += 1
    assert killed >= 3
    assert watch(inbox, stream) == 0
    assert numbers(stream) == expected
    assert digests(stream) == digests(tmp_path / "undisturbed")
    snapshot = newest(Place(stream))
    assert snapshot and (snapshot.corrections_applied, snapshot.corrections_not_found) == (4, 0)


def test_through_compaction_and_after_it_corrections_stay_and_more_take_effect(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    expected = fill(inbox)
    assert watch(inbox, stream) == 0
    drop_table(inbox, "d", ["7", "8"])
    assert watch(inbox, stream) == 0
    assert main("beam_jobs", "", COMMANDS, ["compact", str(stream), "--full"]) == 0
    snapshot = newest(Place(stream))
    assert snapshot and len(snapshot.parts) == 1 and snapshot.corrections_applied == 4
    expected |= {"d/0.png": "7", "d/1.png": "8"}
    assert numbers(stream) == expected
    fix(inbox, "fix-2", "b/1.png,relabel,22", "d/0.png,delete,")
    assert watch(inbox, stream) == 0
    del expected["d/0.png"]
    assert numbers(stream) == {**expected, "b/1.png": "22"}


def test_diff_of_the_snapshots_around_a_correction_shows_exactly_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    drop_table(inbox, "b", [str(each) for each in range(20)])
    assert watch(inbox, stream) == 0
    fix(inbox, "fix", "b/3.png,relabel,33", "b/4.png,relabel,4", "b/5.png,delete,", "b/19.png,relabel,1")
    assert watch(inbox, stream) == 0
    capsys.readouterr()
    assert main("tfrecords", "", READING, ["diff", f"{stream}@0", f"{stream}@1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    keys = {kind: each["keys"] for kind, each in found.items() if isinstance(each, dict) and each.get("count")}
    assert keys == {"removed": ["b/5.png"], "relabelled": ["b/19.png", "b/3.png"]}


def test_the_example_of_the_documentation_does_what_it_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "streaming.md").read_text()
    section = page.partition("\n## Corrections\n")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    drop_table(tmp_path / "inbox", "2026-11-03", [str(each) for each in range(10)])
    assert watch(tmp_path / "inbox", tmp_path / "stream", "--validation-fraction", "0.2") == 0
    for name, file in (("csv", "corrections.csv"), ("json", "corrections.jsonl")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(blocks[name])
    assert read_corrections(Place(tmp_path / "csv")) == read_corrections(Place(tmp_path / "json"))
    script, shown = (blocks[name].replace("@41", "@0").replace("@42", "@1") for name in ("sh", ""))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, f"{done.stdout}{done.stderr}"
    assert done.stdout.endswith(shown), done.stdout
