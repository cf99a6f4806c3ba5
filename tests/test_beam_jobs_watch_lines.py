"""Growing files of JSON lines as an inbox."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources.base import SourceOptions
from beam_jobs.watch.batch import CHANGED, INCOMPLETE, Positions, Refusal
from beam_jobs.watch.inboxes import lines
from beam_jobs.watch.inboxes.lines import LinesInbox
from beam_jobs.watch.inboxes.logs import is_log, open_log
from beam_jobs.watch.inboxes.spool import batch_name
from beam_jobs.watch.ledger import Entry, Ledger
from tests.messages import accepted, cycle, line, settle, texts
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place


@pytest.fixture
def stream(tmp_path: Path) -> Place:
    return Place(tmp_path / "stream")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def append(path: Path, *parts: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(parts)


def all_texts(inbox: LinesInbox, stream: Place, most: int = 1000) -> list[str]:
    """Numbers of all batches that are accepted, one cycle each, until nothing is ready."""
    found = []
    while True:
        ledger = Ledger(stream)
        arrivals = inbox.poll(ledger, most)
        found += [text for batch in arrivals.ready for text in texts(batch)]
        if not arrivals.ready:
            return found
        entry = Entry(ledger.next, arrivals.ready)
        ledger.append(entry)
        settle(inbox, stream, ledger, entry)


def test_lines_that_end_are_read_and_each_once(folder: Path, stream: Place) -> None:
    inbox, file = LinesInbox(Place(folder), stream), folder / "a.jsonl"
    append(file, line(1), b"\n", line(2), line(3)[:-10])
    arrivals, (batch,) = cycle(inbox, stream)
    assert (batch.positions, arrivals.waiting) == ([Positions("a.jsonl", 0, len(line(1)) + 1 + len(line(2)))], 0)
    arrivals, batches = cycle(inbox, stream)
    assert (batches, arrivals.waiting) == ([], 1)
    append(file, line(3)[-10:], line(4))
    assert all_texts(inbox, stream) == ["3", "4"]
    assert set(accepted(stream).values()) == {1}
    assert not (stream / "spool").entries()


def test_a_new_process_goes_on_where_the_ledger_says(folder: Path, stream: Place) -> None:
    append(folder / "a.jsonl", line(1))
    cycle(LinesInbox(Place(folder), stream), stream)
    append(folder / "a.jsonl", line(2))
    append(folder / "b.jsonl", line(3))
    append(folder / "_c.jsonl", line(4))
    append(folder / "notes.txt", line(5))
    assert all_texts(LinesInbox(Place(folder), stream), stream) == ["2", "3"]
    assert all_texts(LinesInbox(Place(folder / "a.jsonl"), Place(folder / "other")), Place(folder / "other")) == [
        "1",
        "2",
    ]


def test_batches_are_at_most_as_large_as_asked_and_wait_until_they_are_accepted(folder: Path, stream: Place) -> None:
    inbox = LinesInbox(Place(folder), stream)
    append(folder / "a.jsonl", *map(line, range(10)))
    first = inbox.poll(Ledger(stream), 4).ready
    assert [batch.entries for batch in first] == [4]
    assert inbox.poll(Ledger(stream), 4).ready == first
    second = inbox.poll(Ledger(stream), 6).ready
    assert [batch.entries for batch in second] == [4, 2]
    assert second[:1] == first
    # A process that was killed had spooled them, and nobody has accepted them.
    assert LinesInbox(Place(folder), stream).poll(Ledger(stream), 6).ready == second
    _, batches = cycle(LinesInbox(Place(folder), stream), stream, accept=1)
    assert batches == first
    assert all_texts(LinesInbox(Place(folder), stream), stream, 3) == [str(i) for i in range(4, 10)]


@pytest.mark.parametrize("content", ["shorter", "other"])
def test_a_file_that_is_not_what_was_read_is_refused_once_and_others_go_on(
    folder: Path, stream: Place, content: str
) -> None:
    file = folder / "a.jsonl"
    append(file, line(1), line(2))
    cycle(LinesInbox(Place(folder), stream), stream)
    file.write_bytes(line(1) if content == "shorter" else line(1) + line(3) + line(4))
    append(folder / "b.jsonl", line(5))
    inbox = LinesInbox(Place(folder), stream)
    arrivals, batches = cycle(inbox, stream)
    assert [batch.positions[0].partition for batch in batches] == ["b.jsonl"]
    (refusal,) = arrivals.refused
    assert (refusal.reason, refusal.entry) == (CHANGED, None)
    assert "must only grow" in refusal.detail
    assert str(file) in refusal.detail
    append(file, line(6))
    for each in (inbox, LinesInbox(Place(folder), stream)):
        arrivals, batches = cycle(each, stream)
        assert (arrivals.refused, batches) == ([], [])


def test_a_refusal_is_said_again_until_the_ledger_has_it(folder: Path, stream: Place) -> None:
    append(folder / "a.jsonl", line(1), line(2))
    inbox = LinesInbox(Place(folder), stream)
    cycle(inbox, stream)
    (folder / "a.jsonl").write_bytes(b"")
    ledger = Ledger(stream)
    first = inbox.poll(ledger, 10).refused
    assert inbox.poll(ledger, 10).refused == first
    ledger.append(Entry(ledger.next, refusals=first))
    assert inbox.poll(ledger, 10).refused == []


def test_a_new_file_goes_on_where_the_old_one_ended(folder: Path, stream: Place) -> None:
    inbox = LinesInbox(Place(folder), stream)
    append(folder / "2026-11-27.jsonl", line(1))
    append(folder / "2026-11-28.jsonl", line(2))
    assert all_texts(inbox, stream) == ["1", "2"]
    (folder / "2026-11-27.jsonl").unlink()
    append(folder / "2026-11-29.jsonl", line(3))
    assert all_texts(inbox, stream) == ["3"]


def test_a_line_that_is_too_long_is_one_dead_letter(
    folder: Path, stream: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_CHUNK", 4000)
    monkeypatch.setattr(lines, "LONGEST_MESSAGE", 4000)
    monkeypatch.setattr("beam_jobs.watch.inboxes.messages.LONGEST_MESSAGE", 4000)
    file, said = folder / "a.jsonl", list[str]()
    inbox = LinesInbox(Place(folder), stream, say=said.append)
    append(file, line(1), b"x" * 9000)
    assert all_texts(inbox, stream) == ["1"]
    assert inbox.poll(Ledger(stream), 10).waiting == 1
    append(file, b"x" * 9000, b"\n", line(2), line(3))
    assert all_texts(inbox, stream) == ["2", "3"]
    assert "too_large" in said[0]
    assert f"a.jsonl, offset {len(line(1))}" in said[0]
    assert "18,000 bytes" in said[0]


def test_files_in_a_store_are_read_in_ranges_as_they_are_replaced_by_longer_ones(bucket: Bucket, stream: Place) -> None:
    inbox = LinesInbox(Place(f"{bucket.address}/log"), stream)
    bucket.put("log/a.jsonl", line(1))
    assert all_texts(inbox, stream) == ["1"]
    bucket.put("log/a.jsonl", line(1) + line(2))
    bucket.put("log/b.jsonl", line(3))
    assert all_texts(LinesInbox(Place(f"{bucket.address}/log"), stream), stream) == ["2", "3"]


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path, stream: Place) -> None:
    with pytest.raises(UserError, match=r"must be a file of JSON lines, or a folder of \*.jsonl, that exists"):
        LinesInbox(Place(tmp_path / "none"), stream).poll(Ledger(stream), 10)


def test_a_spool_that_was_lost_after_the_intent_is_read_from_the_log_again(folder: Path, stream: Place) -> None:
    inbox = LinesInbox(Place(folder), stream)
    append(folder / "a.jsonl", *map(line, range(6)))
    (batch,) = inbox.poll(Ledger(stream), 6).ready
    Ledger(stream).append(Entry(0, [batch]))
    (stream / "spool").delete_folder()
    again = LinesInbox(Place(folder), stream)
    assert again.difference(batch) == ""
    assert texts(batch) == [str(i) for i in range(6)]
    (stream / "spool").delete_folder()
    (folder / "a.jsonl").write_bytes(line(7))
    assert "no longer has the same messages (a.jsonl 0 to" in again.difference(batch)


def test_what_a_killed_process_left_of_committed_batches_is_removed(folder: Path, stream: Place) -> None:
    inbox = LinesInbox(Place(folder), stream)
    append(folder / "a.jsonl", line(1))
    (batch,) = inbox.poll(Ledger(stream), 6).ready
    Ledger(stream).append(Entry(0, [batch]))
    (stream / "snapshots" / "00000000.json").create(b"{}")
    (stream / "spool" / "half" / "labels.parquet").write([b"PAR1"])
    LinesInbox(Place(folder), stream).poll(Ledger(stream), 6)
    assert not (stream / "spool").entries()
    inbox.finish(batch)


def test_a_picture_whose_place_is_away_holds_its_file_back_until_patience_ends(folder: Path, stream: Place) -> None:
    clock, said = [0.0], list[str]()
    inbox = LinesInbox(Place(folder), stream, patience_s=60, now=lambda: clock[0], say=said.append)
    append(folder / "a.jsonl", line(1, image=None, url="abfs://nowhere/1.png"))
    append(folder / "b.jsonl", line(2))
    _, batches = cycle(inbox, stream)
    assert [batch.positions[0].partition for batch in batches] == ["b.jsonl"]
    clock[0] = 59
    arrivals, batches = cycle(inbox, stream)
    assert (batches, arrivals.waiting, arrivals.waiting_s) == ([], 1, 59)
    assert len(said) == 1
    clock[0] = 60
    _, (batch,) = cycle(inbox, stream)
    assert batch.positions[0].partition == "a.jsonl"
    assert "unreachable" in said[1]


def _reader(folder: Path, stream: Place, seed: int) -> None:
    """A watcher that accepts what comes, a random part of it at a time, until it is killed."""
    inbox, rng = LinesInbox(Place(folder), stream), random.Random(seed)
    while True:
        cycle(inbox, stream, rng.randrange(1, 20), rng.choice((1, 2, None)))


def test_readers_that_are_killed_at_any_time_take_each_line_once(folder: Path, stream: Place) -> None:
    rng, written = random.Random(1), 0
    for seed in range(15):
        child = os.fork()
        if not child:
            try:
                _reader(folder, stream, seed)
            finally:
                os._exit(1)
        end = time.monotonic() + rng.uniform(0.02, 0.25)
        while time.monotonic() < end:
            data = line(written)
            cut = rng.randrange(len(data))
            file = folder / f"{written // 40}.jsonl"
            append(file, data[:cut])
            time.sleep(0.002)
            append(file, data[cut:])
            written += 1
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the reader has failed"
    inbox = LinesInbox(Place(folder), stream)
    while cycle(inbox, stream)[1]:
        pass
    found = accepted(stream)
    assert set(found.values()) == {1}
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sum(sizes.values()) == len(found)
    assert not (stream / "spool").entries()
    assert (
        sum(batch.entries for i in range(Ledger(stream).next) for batch in Ledger(stream).entry(i).batches) == written
    )


def test_a_batch_that_was_refused_is_neither_given_nor_read_again(folder: Path, stream: Place) -> None:
    append(folder / "a.jsonl", line(1))
    inbox = LinesInbox(Place(folder), stream)
    (batch,) = inbox.poll(Ledger(stream), 10).ready
    refusal = Refusal(batch.name, batch.digest, batch.stamp, INCOMPLETE, "It cannot be read.")
    Ledger(stream).append(Entry(0, refusals=[refusal]))
    append(folder / "a.jsonl", line(2))
    for each in (inbox, LinesInbox(Place(folder), stream)):
        assert [texts(other) for other in each.poll(Ledger(stream), 10).ready] == [["2"]]


def test_an_input_names_a_log_or_a_folder(tmp_path: Path) -> None:
    stream, config = Place(tmp_path), PrepareConfig(source="table", max_length=5)
    assert [is_log(text) for text in ("kafka://a:1/b", "lines://a", "lines://s3://b/c", "a.jsonl", "s3://a/b")] == [
        True, True, True, False, False
    ]  # fmt: skip
    append(tmp_path / "a.jsonl", line(1))
    (batch,) = open_log(f"lines://{tmp_path}", stream, config, patience_s=60).poll(Ledger(stream), 5).ready
    assert texts(batch) == ["1"]
    with pytest.raises(UserError, match=r"--source must be table where --input is a log.*Received: svhn"):
        open_log("lines://a", stream, PrepareConfig(source="svhn", max_length=5), patience_s=60)
    named = PrepareConfig(source="table", max_length=5, options=SourceOptions(text_column="number"))
    with pytest.raises(UserError, match=r"flags of columns do not apply. Received: --text-column"):
        open_log("lines://a", stream, named, patience_s=60)


def test_what_is_missing_in_the_spool_before_a_batch_is_read_from_the_log_again(folder: Path, stream: Place) -> None:
    append(folder / "a.jsonl", *map(line, range(10)))
    cycle(LinesInbox(Place(folder), stream), stream, most=2)
    for most in (2, 4, 6):
        inbox = LinesInbox(Place(folder), stream)
        ready = inbox.poll(Ledger(stream), most).ready
    assert len(ready) == 3
    (stream / "spool" / ready[1].name).delete_folder()
    assert all_texts(LinesInbox(Place(folder), stream), stream) == [str(number) for number in range(2, 10)]
    assert set(accepted(stream).values()) == {1}


def test_what_was_lost_is_not_mistaken_for_what_is_still_in_the_spool(folder: Path, stream: Place) -> None:
    append(folder / "a.jsonl", *map(line, range(6)))
    cycle(LinesInbox(Place(folder), stream), stream, most=2)
    ready = LinesInbox(Place(folder), stream).poll(Ledger(stream), 2).ready
    end = ready[0].positions[0].stop
    lost = Refusal(batch_name("a.jsonl", end, end + len(line(4))), "x", "x", INCOMPLETE, "Deleted.")
    Ledger(stream).append(Entry(1, refusals=[lost]))
    assert all_texts(LinesInbox(Place(folder), stream), stream) == ["2", "3", "5"]


@pytest.mark.parametrize("piece", [1, 7, 1000, 5000])
def test_lines_come_the_same_in_pieces_of_any_size(
    folder: Path, stream: Place, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(lines, "_PIECE", piece)
    append(folder / "a.jsonl", b"\n" * 3000, line(1), b"  \n", line(2), b"\n" * 2000, line(3), line(4)[:-1])
    assert all_texts(LinesInbox(Place(folder), stream), stream, 2) == ["1", "2", "3"]
    monkeypatch.setattr(lines, "_CHUNK", 1500)
    other = Place(folder / "other")
    assert all_texts(LinesInbox(Place(folder), other), other) == ["1", "2", "3"]
