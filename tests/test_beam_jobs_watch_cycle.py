"""The watcher's loop: when generations are made, what it prints, and that kills lose and double nothing."""

import errno
import hashlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.watch import command, cycle
from beam_jobs.watch.batch import Batch, Refusal
from beam_jobs.watch.config import WatchJob, new_config
from beam_jobs.watch.cycle import Watcher
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Ledger
from beam_jobs.watch.perform import maker
from beam_jobs.watch.upkeep import retention
from tests import collector
from tests.arriving import SimpleInbox, drop
from tests.forked import Forked, signal_before
from tfrecords.cli import main
from tfrecords.dataset.snapshots import load_manifest, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place


class Clock:
    """A clock that moves when somebody sleeps; what sleeps may do is a function."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: Callable[[float], None] = lambda now: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cycle, "time", clock)
    return clock


class Setting:
    """A watcher of a folder."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.place, self.folder = Place(folder / "stream"), folder / "inbox"
        self.folder.mkdir(exist_ok=True)
        self.config = new_config({"source": "svhn", "jitters": 0})
        self.inbox = SimpleInbox(self.folder, self.config)
        given = {"input": str(self.folder), "output": str(self.place), "compact": "off", **values}
        self.job = WatchJob(source="svhn", **given)
        self.watcher = self.start()

    def start(self) -> Watcher:
        return Watcher(self.place, self.config, self.inbox, maker(1), self.job)

    @property
    def batches(self) -> list[list[str]]:
        ledger = Ledger(self.place)
        return [[batch.name for batch in ledger.entry(number).batches] for number in range(ledger.next)]


def test_a_generation_is_made_some_seconds_after_its_first_batch(tmp_path: Path, clock: Clock) -> None:
    setting = Setting(tmp_path, every=4.0, until_idle=10.0)
    arrivals = {1003: "a", 1005: "b", 1008: "c"}

    def arrive(now: float) -> None:
        if int(now) in arrivals:
            drop(setting.folder, arrivals.pop(int(now)))

    clock.meanwhile = arrive
    setting.watcher.run()
    assert setting.batches == [["a", "b"], ["c"]]
    assert clock.now == pytest.approx(1012 + 10, abs=1)


def test_a_generation_is_made_at_once_when_enough_pictures_are_ready(tmp_path: Path, clock: Clock) -> None:
    setting = Setting(tmp_path, every=100.0, pictures=6, until_idle=200.0)
    for name in "abcde":
        drop(setting.folder, name)
    setting.watcher.run()
    assert setting.batches == [["a", "b"], ["c", "d"], ["e"]]
    assert clock.now == pytest.approx(1000 + 100 + 200, abs=3)


def test_once_makes_what_is_there_and_ends(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    setting = Setting(tmp_path, once=True, every=100.0)
    setting.watcher.run()
    assert setting.watcher.snapshot is None
    drop(setting.folder, "a", 20)
    drop(setting.folder, "b", 4, missing=1)
    setting.watcher.run()
    assert clock.now == 1000 and setting.inbox.finished == ["a", "b"]
    line = "snapshot 0: 2 batches, 24 pictures (1 rejected: 1 missing_picture), 23 examples, 0.0 s\n"
    assert capsys.readouterr().out == line


class Settling:
    """An inbox whose batches are ready some seconds after the first look."""

    def __init__(self, inbox: SimpleInbox, clock: Clock, seconds: float) -> None:
        self._inbox, self._clock, self._ready = inbox, clock, clock.now + seconds
        self.difference, self.finish = inbox.difference, inbox.finish

    def poll(self, ledger: Ledger, most: int) -> Arrivals:
        found = self._inbox.poll(ledger, most)
        return found if self._clock.now >= self._ready else Arrivals(waiting=len(found.ready), waiting_s=1.0)


@pytest.mark.parametrize(("seconds", "made"), [(5.0, 1), (60.0, 0)])
def test_once_waits_for_what_settles_and_no_longer(seconds: float, made: int, tmp_path: Path, clock: Clock) -> None:
    setting = Setting(tmp_path, once=True, every=100.0)
    drop(setting.folder, "a")
    setting.inbox = Settling(setting.inbox, clock, seconds)  # type: ignore[assignment]
    watcher = setting.start()
    watcher.run()
    assert watcher.made == made and clock.now <= 1008


def test_once_makes_what_is_ready_although_a_look_takes_longer_than_batches_need_to_settle(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, once=True, every=100.0)
    drop(setting.folder, "a")
    poll = setting.inbox.poll

    def look(ledger: Ledger, most: int) -> Arrivals:
        found = poll(ledger, most)
        clock.now += 10
        return Arrivals(found.ready, waiting=1)

    show = setting.watcher._board.show

    def slowly(*arguments: Any) -> None:
        clock.now += 10
        show(*arguments)

    monkeypatch.setattr(setting.inbox, "poll", look)
    monkeypatch.setattr(setting.watcher._board, "show", slowly)
    setting.watcher.run()
    assert setting.batches == [["a"]] and setting.watcher.pending == 1


def test_refusals_are_printed_and_counted_once(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, once=True)
    refusal = Refusal("cut", "", "stamp", "incomplete", "2.png is missing.")
    monkeypatch.setattr(
        setting.inbox,
        "poll",
        lambda ledger, most: Arrivals([], [] if "cut" in ledger.refused else [refusal]),
    )
    setting.watcher.run()
    assert capsys.readouterr().err == "batch cut refused: incomplete: 2.png is missing.\n"
    assert setting.start().ledger.reasons == {"incomplete": 1}
    assert '"incomplete": 1' in (setting.place / "status.json").read_bytes().decode()
    assert snapshot_numbers(setting.place) == []


def test_an_inbox_that_cannot_be_read_for_a_while_is_said_and_read_again(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, every=0.0, until_idle=10.0)
    poll = setting.inbox.poll

    def fail(ledger: Ledger, most: int) -> Arrivals:
        if 1003 <= clock.now <= 1006:
            raise UserError("The inbox must answer.", "503")
        return poll(ledger, most)

    monkeypatch.setattr(setting.inbox, "poll", fail)

    def arrive(now: float) -> None:
        if now == 1004:
            drop(setting.folder, "a")

    clock.meanwhile = arrive
    setting.watcher.run()
    assert setting.batches == [["a"]]
    assert capsys.readouterr().err == "warning: The inbox must answer. Received: 503: trying again\n"
    clock.now = 1003
    with pytest.raises(UserError, match="must answer"):
        setting.start().run()


def test_what_cannot_be_deleted_is_said_once_and_stops_no_batch(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, every=0.0, until_idle=200.0)
    busy = OSError(errno.ENOTEMPTY, "Directory not empty", "generations/00000000")
    monkeypatch.setattr(retention, "sweep", mock.Mock(side_effect=busy))

    def arrive(now: float) -> None:
        if now in (1001, 1100):
            drop(setting.folder, f"b{now:.0f}")

    clock.meanwhile = arrive
    setting.watcher.run()
    assert setting.batches == [["b1001"], ["b1100"]]
    assert capsys.readouterr().err == "warning: old snapshots stay: generations/00000000: Directory not empty\n"


@pytest.mark.parametrize("content", [b"", b'{"entry": 0, "batches": [', b"\xff\xfe", b"[]", b'{"entry": 7}'])
def test_a_damaged_entry_is_one_line_that_names_it(content: bytes, tmp_path: Path) -> None:
    setting = Setting(tmp_path, once=True)
    drop(setting.folder, "a")
    setting.watcher.run()
    (setting.place / "log" / "00000000.json").write([content])
    with pytest.raises(UserError, match=r"00000000\.json"):
        setting.start()


def test_a_stream_that_has_lost_its_configuration_does_not_start_again(tmp_path: Path) -> None:
    setting = Setting(tmp_path, once=True)
    drop(setting.folder, "a")
    setting.watcher.run()
    (setting.place / "stream.json").delete()
    (setting.place / "snapshots" / "00000000.json").delete()
    with pytest.raises(UserError, match=r"must have the stream\.json with which it was started"):
        setting.start().run()


def test_the_stream_starts_with_the_first_batch_that_says_how_pictures_are_cut(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CSV without boxes: each picture is a number, and stored whole; without numbers it says nothing."""
    from tests.arriving import drop_table

    config = new_config({"source": "table", "max_length": 4})
    folder = tmp_path / "inbox"
    job = WatchJob(source="table", input=str(folder), output=str(tmp_path / "stream"), once=True, compact="off")
    drop_table(folder, "a", ["", ""])
    watcher = Watcher(Place(job.output), config, SimpleInbox(folder, config), maker(1), job)
    watcher.run()
    assert (watcher.made, Ledger(Place(job.output)).next) == (0, 0)
    assert "note: no batch has a number yet" in capsys.readouterr().err
    drop_table(folder, "b", ["17", "5"])
    watcher = Watcher(Place(job.output), config, SimpleInbox(folder, config), maker(1), job)
    watcher.run()
    assert watcher.stream and not watcher.stream.has_boxes and watcher.stream.config.crop.jitters == 0
    assert "note: no number has a box, so each picture is stored whole" in capsys.readouterr().out


def test_a_batch_of_the_last_snapshot_is_put_away_after_a_kill(tmp_path: Path, clock: Clock) -> None:
    setting = Setting(tmp_path, once=True)
    drop(setting.folder, "a")
    setting.inbox.finish = lambda batch: None  # type: ignore[method-assign]
    setting.watcher.run()
    del setting.inbox.finish
    config = setting.watcher.stream
    assert config
    Watcher(setting.place, config, setting.inbox, maker(1), setting.job).run()
    assert setting.inbox.finished == ["a"]


def watch(inbox: Path, stream: Path, *options: str) -> int:
    flags = ["--source", "svhn", "--input", str(inbox), "--output", str(stream), "--compact", "off"]
    flags += ["--once", "--settle", "0", "--pictures", "6", "--jitters", "1", *options]
    with mock.patch.object(command, "_inbox", lambda job, stream, config: SimpleInbox(inbox, config)):
        return main("beam_jobs", "", COMMANDS, ["watch", *flags])


def _die_at(inbox: Path, stream: Path, operation: int, number: int) -> int:
    """Watches, and sends this process a signal before its n-th operation on a file below the stream."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal_before(operation, str(stream), number)
    return watch(inbox, stream)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("status.json", ".watch.lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def keys(stream: Path) -> Counter[str]:
    splits = load_manifest(stream).splits
    return Counter(example.key.partition("#")[0] for split in splits for example in tfrecords.open(str(stream), split))


def test_killed_at_any_moment_any_number_of_times_every_batch_is_in_one_generation_and_the_bytes_are_the_same(
    tmp_path: Path,
) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    for name in "abcd":
        drop(inbox, name)
    (inbox / "e").mkdir()
    for path in (inbox / "a").iterdir():
        (inbox / "e" / path.name).write_bytes(path.read_bytes())
    assert watch(inbox, tmp_path / "undisturbed") == 0
    rng, killed = random.Random(17), 0
    for _ in range(60):
        code, _, errors = Forked(_die_at, inbox, stream, rng.randint(1, 90), signal.SIGKILL).wait()
        assert code in (0, -signal.SIGKILL), errors
        if code == 0:
            break
        killed += 1
        if (stream / "manifest.json").exists():
            assert max(keys(stream).values()) == 1
    assert killed >= 3
    assert watch(inbox, stream) == 0
    assert digests(stream) == digests(tmp_path / "undisturbed")
    assert keys(stream) == Counter(f"{name}/{index}.png" for name in "abcd" for index in (1, 2, 3))
    assert Ledger(Place(stream)).reasons == {"duplicate": 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_it_with_one_line_and_the_same_command_resumes(
    number: signal.Signals, tmp_path: Path
) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    for name in "abc":
        drop(inbox, name)
    word = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[number]
    for operation in (2, 25, 45):
        code, _, errors = Forked(_die_at, inbox, stream, operation, number).wait()
        assert (code, errors) == (128 + number, f"stopped: {word}; the same command resumes\n")
    assert watch(inbox, stream) == 0
    assert keys(stream) == Counter(f"{name}/{index}.png" for name in "abc" for index in (1, 2, 3))


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _measure(folder: Path) -> int:
    """Makes 40 generations, and prints the megabytes that the last 30 have left."""
    collector.collect_as_ever()
    setting = Setting(folder, once=True, pictures=4, every=0.0)
    for index in range(40):
        drop(setting.folder, f"b{index:02d}", 4)
    before = 0.0
    for index in range(40):
        if index == 10:
            before = _resident()
        setting.watcher.cycle(closes=True)
    print(_resident() - before)
    return 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux states the resident memory there")
def test_memory_does_not_grow_with_the_number_of_generations(tmp_path: Path) -> None:
    code, output, errors = Forked(_measure, tmp_path).wait()
    assert code == 0, errors
    assert output.count("snapshot ") == 40
    # In a loop of 310 generations of 50 pictures: 3.5 MB, most of it the manifests of 300 directories.
    assert float(output.splitlines()[-1]) < 5


def test_the_stream_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    for name in "abc":
        drop(inbox, name, 20)
    options = ("--pictures", "40", "--examples-per-shard", "8")
    assert Forked(watch, inbox, tmp_path / "two", *options, "--workers", "2").wait()[0] == 0
    assert watch(inbox, tmp_path / "one", *options, "--workers", "1") == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_what_prepare_makes_of_the_accepted_batches_is_what_the_generations_hold(tmp_path: Path) -> None:
    from beam_jobs.watch.generation import plan_subsets
    from beam_jobs.watch.stream import Stream

    inbox, folder = tmp_path / "inbox", tmp_path / "stream"
    for name in "abc":
        drop(inbox, name, 5)
    assert watch(inbox, folder) == 0
    stream, ledger = Stream.load(Place(folder)), Ledger(Place(folder))
    batches: list[Batch] = [batch for number in range(ledger.next) for batch in ledger.entry(number).batches]
    subsets = tuple(subset for batch in batches for subset in batch.subsets)
    maker(1)(plan_subsets(stream, subsets, Place(tmp_path / "all")))
    for split in load_manifest(folder).splits:
        ours, theirs = (
            sorted((each.key, each.image.tobytes()) for each in tfrecords.open(str(where), split))
            for where in (folder, tmp_path / "all")
        )
        assert ours == theirs
