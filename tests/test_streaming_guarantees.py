"""The eleven guarantees of a stream, in order, each as a test whose name is the sentence, on the command itself.

Tests of the parts try harder: at every operation, in stores, for every source. Two sentences have their test elsewhere.
"""

import os
import random
import re
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.config import new_config
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.inboxes.folder import FolderInbox
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.perform import maker
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.upkeep.retention import Keep, sweep
from tests import collector
from tests.arriving import drop
from tests.forked import Forked, signal_before
from tests.messages import line
from tfrecords.__main__ import COMMANDS as TFRECORDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.pins import pin, pinned
from tfrecords.dataset.snapshots import Snapshot, load_manifest, snapshot_numbers, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place

ELSEWHERE = {
    "9. A cluster that stops working delays by at most --takeover plus local making time": (
        "test_beam_jobs_watch_cluster.py",
        "test_a_cluster_that_stops_working_delays_by_at_most_takeover_plus_local_making_time",
    ),
    "10. A followed run killed at any step ends with the weights of an undisturbed --replay": (
        "test_trainer_fit_follow_kills.py",
        "test_a_followed_run_killed_at_ten_random_steps_ends_as_an_undisturbed_replay",
    ),
}
LOCAL = ("status.json", ".watch.lock")


def watch(
    inbox: Path | str, stream: Path, *options: str, source: str = "svhn", until: tuple[str, ...] = ("--once",)
) -> int:
    """Watches until all that is there has been made."""
    flags = ["--source", source, "--input", str(inbox), "--output", str(stream), *until, "--poll", "0.05"]
    flags += ["--settle", "0.1", "--jitters", "1", "--examples-per-shard", "8", *options]
    return main("beam_jobs", "", COMMANDS, ["watch", *flags])


def compact(stream: Path) -> None:
    assert main("beam_jobs", "", COMMANDS, ["compact", str(stream), "--full"]) == 0


def validate(stream: Path, *options: str) -> int:
    return main("tfrecords", "", TFRECORDS, ["validate", str(stream), *options])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in LOCAL)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def records(stream: Path, number: int | None = None) -> Iterator[Any]:
    for split in load_manifest(stream, number).splits:
        yield from tfrecords.open(str(stream), split, snapshot=number)


def pictures(stream: Path) -> Counter[str]:
    """How many records each source picture has in the newest snapshot."""
    return Counter(example.key.partition("#")[0] for example in records(stream))


def entries(stream: Path) -> list[Entry]:
    ledger = Ledger(Place(stream))
    return [ledger.effective(ledger.entry(number)) for number in range(ledger.next)]


def accepted(stream: Path) -> list[Batch]:
    return [batch for entry in entries(stream) for batch in entry.batches]


def _die_at(inbox: str, stream: Path, options: tuple[str, ...], source: str, operation: int) -> int:
    """Watches, and kills this process before its n-th operation on a file of the stream, the inbox or the archive."""
    signal_before(operation, str(stream.parent))
    return watch(inbox, stream, *options, source=source)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["folders", "lines"])
def test_a_batch_is_after_any_kills_in_exactly_one_generation_or_refused_with_one_reason(
    source: str, tmp_path: Path
) -> None:
    folder, stream, rng = tmp_path / "inbox", tmp_path / "stream", random.Random(source)
    folder.mkdir()
    if source == "folders":
        names = {name: f"{name}/{{}}.png" for name in ("a", "b", "c", "d")}
        for name in names:
            drop(folder, name)
        shutil.copytree(folder / "a", folder / "z-copy")
        drop(folder, "cut", missing=1)
        inbox, kind = str(folder), "svhn"
        options: tuple[str, ...] = ("--patience", "0.3", "--pictures", "6", "--after", f"archive:{tmp_path / 'done'}")
        expected = {f"{name}/{index}.png" for name in names for index in (1, 2, 3)}
    else:
        for name in ("x", "y"):
            (folder / f"{name}.jsonl").write_bytes(b"".join(map(line, range(6) if name == "x" else range(6, 12))))
        inbox, kind, options = f"lines://{folder}", "table", ("--max-length", "3", "--pictures", "4")
        expected = set()
    killed = 0
    for _ in range(12):
        code, _, errors = Forked(_die_at, inbox, stream, options, kind, rng.randint(5, 150)).wait()
        assert code in (0, -signal.SIGKILL), errors
        killed += code != 0
        if killed == 4 or code == 0:
            break
    assert killed >= 2
    # Longer than the patience with the batch that is incomplete.
    assert watch(inbox, stream, *options, source=kind, until=("--until-idle", "0.8")) == 0
    found = pictures(stream)
    assert set(found.values()) == {1} and (found.keys() == expected or (source == "lines" and len(found) == 12))
    names_of_batches = Counter(batch.name for batch in accepted(stream))
    reasons = {each.name: each.reason for entry in entries(stream) for each in entry.refusals}
    assert set(names_of_batches.values()) == {1} and not names_of_batches.keys() & reasons.keys()
    assert Ledger(Place(stream)).reasons.total() == len(reasons)
    assert reasons == ({"z-copy": "duplicate", "cut": "incomplete"} if source == "folders" else {})
    assert validate(stream) == 0


def test_no_example_key_is_in_two_records_and_no_batch_content_twice_whatever_its_name(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    for name in ("a", "b"):
        drop(inbox, name)
    assert watch(inbox, stream, "--after", f"archive:{tmp_path / 'done'}") == 0
    for name in ("a", "0", "zz"):
        shutil.copytree(tmp_path / "done" / "a", inbox / name)
    shutil.copytree(tmp_path / "done" / "b", inbox / "b")
    (inbox / "b" / "1.png").write_bytes((inbox / "b" / "2.png").read_bytes())
    drop(inbox, "A")
    drop(inbox, "c")
    shutil.copytree(inbox / "c", inbox / "copy")
    for _ in range(2):
        assert watch(inbox, stream) == 0
    for number in snapshot_numbers(Place(stream)):
        assert set(Counter(example.key for example in records(stream, number)).values()) == {1}
    images = Counter(example.image.tobytes() for example in records(stream))
    assert set(images.values()) == {1} and images.total() == 9
    assert [batch.name for batch in accepted(stream)] == ["a", "b", "c"]
    assert Ledger(Place(stream)).reasons == {"duplicate": 3, "changed_after_admission": 1, "bad_name": 1}


def _watch_for(inbox: Path, stream: Path, seconds: float) -> int:
    """Watches, deletes and merges until nothing has arrived for some seconds."""
    with mock.patch("beam_jobs.watch.cycle._SWEEP_S", 0.0):
        flags = ["--source", "svhn", "--input", str(inbox), "--output", str(stream), "--poll", "0.05", "--every", "0"]
        flags += ["--settle", "0.1", "--workers", "1", "--jitters", "0", "--examples-per-shard", "500"]
        flags += ["--keep-snapshots", "3", "--keep-days", "0", "--until-idle", str(seconds), "--pictures", "6"]
        return main("beam_jobs", "", COMMANDS, ["watch", *flags])


@pytest.mark.slow
def test_a_reader_sees_a_snapshot_whole_or_not_at_all_and_what_it_names_never_changes(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    drop(inbox, "b00")
    assert watch(inbox, stream, "--jitters", "0", "--examples-per-shard", "500") == 0
    writer, place = Forked(_watch_for, inbox, stream, 3.0), Place(stream)
    seen: dict[int, bytes] = {}
    files: dict[str, bytes] = {}
    last, held, dropped, stop = -1, 0, 0, time.monotonic() + 60
    while last < 9 and time.monotonic() < stop:
        if dropped < 40:
            dropped += 1
            drop(inbox, f"b{dropped:02d}")
        number = snapshot_numbers(place)[-1]
        assert number >= last
        last = number
        for each in snapshot_numbers(place)[-2:]:
            content = snapshot_place(place, each).read_bytes()
            assert seen.setdefault(each, content) == content
            for part in Snapshot.load(place, each).parts:
                data = (stream / part.directory / MANIFEST).read_bytes()
                assert files.setdefault(part.directory, data) == data
        keys = [example.key for example in records(stream)]  # what manifest.json names
        assert len(set(keys)) == len(keys) >= held
        held = len(keys)
        assert validate(stream) == 0
    code, output, errors = writer.wait()
    assert (code, errors) == (0, "") and "deleted " in output
    assert set(pictures(stream).values()) == {1} and pictures(stream).total() == 3 * (dropped + 1)
    assert len(seen) > 3 and last >= 9


def _watch_with_workers(inbox: Path, stream: Path) -> int:
    return watch(inbox, stream, "--workers", "2")


def _watch_on_beam(inbox: Path, stream: Path) -> int:
    return watch(inbox, stream, "--runner", "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner")


@pytest.mark.slow
def test_the_same_ledger_and_inbox_make_the_same_bytes_on_any_runner_with_any_number_of_workers(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    for name in "abc":
        drop(inbox, name, 9)
    assert watch(inbox, stream, "--pictures", "18") == 0
    compact(stream)
    drop(inbox, "d")
    assert watch(inbox, stream) == 0
    works = {"two": _watch_with_workers, "beam": _watch_on_beam}
    for name, work in works.items():
        other = tmp_path / name
        other.mkdir()
        shutil.copy(stream / "stream.json", other)
        shutil.copytree(stream / "log", other / "log")
        code, _, errors = Forked(work, inbox, other).wait()
        assert code == 0, errors
        assert contents(other) == contents(stream)


def test_compact_full_makes_the_shards_that_prepare_over_the_accepted_batches_makes(tmp_path: Path) -> None:
    inbox, folder = tmp_path / "inbox", tmp_path / "stream"
    for name in "abcd":
        drop(inbox, name, 7)
    shutil.copytree(inbox / "a", inbox / "e")
    assert watch(inbox, folder, "--pictures", "14", "--validation-fraction", "0.3") == 0
    compact(folder)
    (part,) = Snapshot.load(Place(folder), snapshot_numbers(Place(folder))[-1]).parts
    stream = replace(Stream.load(Place(folder)), place=Place(tmp_path))
    subsets = tuple(subset for batch in accepted(folder) for subset in batch.subsets)
    maker(1)(plan_subsets(stream, subsets, Place(tmp_path / "prepared")))
    made, prepared = contents(folder / part.directory), contents(tmp_path / "prepared")
    shards = {name for name in prepared if "tfrecord" in name}
    assert len(shards) > 2 and {name for name in made if "tfrecord" in name} == shards
    assert all(made[name] == prepared[name] for name in shards)


def test_a_half_written_batch_is_never_admitted_and_after_patience_it_is_refused_not_lost(tmp_path: Path) -> None:
    folder, source = tmp_path / "inbox", drop(tmp_path / "drawn", "a")
    folder.mkdir()
    clock = SimpleNamespace(now=0.0)
    ledger = Ledger(Place(tmp_path / "stream"))
    config = new_config({"source": "svhn"})
    inbox = FolderInbox(Place(folder), config, settle_s=5, patience_s=100, now=lambda: clock.now)

    def looks(seconds: float) -> tuple[list[str], list[str]]:
        """Looks every 4 seconds, as at a producer that stalls; returns what is ready and what is refused."""
        ready, refused, stop = [], [], clock.now + seconds
        while clock.now < stop:
            clock.now += 4
            found = inbox.poll(ledger, 100)
            ledger.append(Entry(ledger.next, found.ready, found.refused))
            ready += [batch.name for batch in found.ready]
            refused += [f"{refusal.name}: {refusal.reason}" for refusal in found.refused]
        return ready, refused

    for order in ("grows-1", "grows-2"):
        (folder / order).mkdir()
        files = sorted(path.name for path in source.iterdir())
        for name in files if order == "grows-1" else reversed(files):
            data = (source / name).read_bytes() + (b"" if order == "grows-1" else b"\0" * (name == "1.png"))
            for part in (data[: len(data) // 2], data[: len(source.joinpath(name).read_bytes()) - 1], data):
                assert looks(20) == ([], [])
                (folder / order / name).write_bytes(part)
        assert looks(20) == ([order], [])
    shutil.copytree(drop(tmp_path / "drawn", "b", missing=1), folder / "stalls")
    assert looks(90) == ([], [])
    assert looks(30) == ([], ["stalls: incomplete"])
    assert looks(200) == ([], []) and ledger.reasons == {"incomplete": 1}
    shutil.copytree(folder / "stalls", folder / "again")
    Image.new("RGB", (32, 24)).save(folder / "again" / "1.png")
    assert looks(30) == (["again"], [])


def _watch_on_a_mad_clock(inbox: Path, stream: Path, archive: Path) -> int:
    rng = random.Random(3)
    with mock.patch("time.time", lambda: rng.uniform(0, 4e9)):
        return watch(inbox, stream, "--after", f"archive:{archive}", "--keep-snapshots", "1", "--pictures", "6")


def test_no_decision_compares_a_files_mtime_with_a_clock(tmp_path: Path) -> None:
    rng = random.Random(1)
    for inbox in (tmp_path / "inbox", tmp_path / "other"):
        for name in "abcd":
            drop(inbox, name)
    assert watch(tmp_path / "inbox", tmp_path / "undisturbed", "--pictures", "6") == 0
    for path in sorted((tmp_path / "other").rglob("*")):
        changed = rng.choice([0, 10**9, 4 * 10**9]) + rng.random()
        os.utime(path, (changed, changed))
    code, _, errors = Forked(_watch_on_a_mad_clock, tmp_path / "other", tmp_path / "mad", tmp_path / "done").wait()
    assert (code, errors) == (0, "")
    assert len(list((tmp_path / "done").iterdir())) == 4
    for name in ("generations", "manifest.json", "snapshots"):
        if name == "manifest.json":
            assert (tmp_path / "mad" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
        else:
            assert contents(tmp_path / "mad" / name) == contents(tmp_path / "undisturbed" / name)


def _measure(inbox: Path, stream: Path, first: int, batches: int) -> int:
    """Makes a backlog, each time after the same first generation, and prints by how much the peak has grown, MB."""
    collector.collect_as_ever()
    for index in range(batches):
        if index == first:
            assert watch(inbox, stream, "--pictures", "20") == 0
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        folder = drop(inbox, f"b{index:03d}", 5)
        noise = np.random.default_rng(index)
        for path in folder.glob("*.png"):
            Image.fromarray(noise.integers(0, 256, (200, 300, 3), np.uint8)).save(path, compress_level=0)
    assert watch(inbox, stream, "--pictures", "20", "--every", "0") == 0
    print(f"grown {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}")
    return 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux states the peak in KB")
def test_memory_is_that_of_one_generation_not_of_the_backlog_or_the_history(tmp_path: Path) -> None:
    code, output, errors = Forked(_measure, tmp_path / "inbox", tmp_path / "stream", 8, 48).wait()
    assert code == 0, errors
    assert output.count("\nsnapshot ") >= 11
    # The pictures of the backlog have 36 MB.
    assert float(output.rpartition("grown ")[2]) < 12


@pytest.mark.parametrize("sentence", ELSEWHERE)
def test_the_guarantee_has_its_test_in_another_file(sentence: str) -> None:
    file, name = ELSEWHERE[sentence]
    source = (Path(__file__).parent / file).read_text()
    assert re.search(rf"^def {name}\(", source, re.M)


def test_no_file_is_deleted_that_a_kept_or_pinned_snapshot_names(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    place, keep = Place(stream), Keep(snapshots=2, days=0, grace_s=0)
    gone: list[str] = []
    for index, name in enumerate("abcdef"):
        drop(inbox, name)
        assert watch(inbox, stream, "--compact", "off") == 0
        if name == "c":
            pin(place, "run", snapshot_numbers(place)[-2])
        if index % 2:
            compact(stream)
        gone += sweep(place, keep, float(index)).directories
        kept = {*snapshot_numbers(place)[-2:], *pinned(place).values()}
        assert kept <= set(snapshot_numbers(place)) and len(snapshot_numbers(place)) <= 3
        for number in kept:
            assert validate(stream, "--snapshot", str(number)) == 0
            total = sum(info.examples for info in load_manifest(stream, number).splits.values())
            assert len(list(records(stream, number))) == total
    assert len(gone) > 3
    with pytest.raises(UserError):
        load_manifest(stream, 0)
