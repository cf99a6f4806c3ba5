"""Admission: what of the arrivals becomes the next entry of the ledger."""

from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.sources.base import Subset
from beam_jobs.watch.admission import admit, changed
from beam_jobs.watch.batch import INCOMPLETE, Batch, Correction, Positions, Refusal
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Entry, Ledger
from tfrecords.files.place import Place


def batch(name: str, entries: int = 10, digest: str = "", corrects: bool = False) -> Batch:
    subsets = [Subset(name, f"in/{name}", entries, "0" * 64)] if entries else []
    corrections = [Correction("a/1.png", "delete")] if corrects else []
    return Batch(name, digest or f"digest of {name}", f"stamp of {name}", subsets, corrections=corrections)


def names(entry: Entry | None) -> list[str]:
    return [each.name for each in entry.batches] if entry else []


def reasons(entry: Entry | None) -> dict[str, str]:
    return {each.name: each.reason for each in entry.refusals} if entry else {}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Place(tmp_path))


def test_nothing_ready_and_nothing_refused_is_no_entry(ledger: Ledger) -> None:
    assert admit(Arrivals(waiting=3, waiting_s=9.0), ledger, 100) is None


def test_batches_are_taken_by_name_until_the_next_would_be_too_many_pictures(ledger: Ledger) -> None:
    arrivals = Arrivals([batch("c"), batch("a"), batch("b", 15), batch("d", 1)])
    assert names(admit(arrivals, ledger, 25)) == ["a", "b"]
    assert names(admit(arrivals, ledger, 36)) == ["a", "b", "c", "d"]


def test_a_batch_larger_than_a_generation_is_one_alone(ledger: Ledger) -> None:
    assert names(admit(Arrivals([batch("a", 500), batch("b", 1)]), ledger, 100)) == ["a"]
    assert names(admit(Arrivals([batch("a", 1), batch("b", 500)]), ledger, 100)) == ["a"]


def test_the_content_of_an_accepted_batch_is_refused_under_any_name(ledger: Ledger) -> None:
    ledger.append(Entry(0, [batch("first", digest="x")]))
    entry = admit(Arrivals([batch("copy", digest="x"), batch("new")]), ledger, 100)
    assert (names(entry), reasons(entry)) == (["new"], {"copy": "duplicate"})
    assert entry and entry.entry == 1 and "that of first" in entry.refusals[0].detail


def test_of_two_ready_batches_with_one_content_the_first_name_is_accepted(ledger: Ledger) -> None:
    entry = admit(Arrivals([batch("b", digest="x"), batch("a", digest="x")]), ledger, 100)
    assert (names(entry), reasons(entry)) == (["a"], {"b": "duplicate"})


def test_an_accepted_name_with_another_content_is_refused_and_the_accepted_one_stays(ledger: Ledger) -> None:
    ledger.append(Entry(0, [batch("a")]))
    entry = admit(Arrivals([batch("a", digest="other")]), ledger, 100)
    assert (names(entry), reasons(entry)) == ([], {"a": "changed_after_admission"})
    assert entry and not entry.makes_snapshot
    ledger.append(entry)
    assert names(ledger.effective(ledger.entry(0))) == ["a"]


def test_two_batches_of_one_name_are_not_both_accepted(ledger: Ledger) -> None:
    entry = admit(Arrivals([batch("a", digest="x"), batch("a", digest="y")]), ledger, 100)
    assert (names(entry), reasons(entry)) == (["a"], {"a": "bad_name"})


def test_refusals_of_the_inbox_are_in_the_same_entry_and_alone_make_one(ledger: Ledger) -> None:
    refusal = Refusal("cut", "", "stamp", INCOMPLETE, "1.png is missing.")
    assert reasons(admit(Arrivals([batch("a")], [refusal]), ledger, 100)) == {"cut": "incomplete"}
    entry = admit(Arrivals([], [refusal]), ledger, 100)
    assert entry and reasons(entry) == {"cut": "incomplete"} and not entry.makes_snapshot


def test_corrections_are_taken_however_many_pictures_are_ready_before_them(ledger: Ledger) -> None:
    fix, more = batch("c-fix", 0, corrects=True), batch("z-fix", 0, corrects=True)
    ready = [batch("a"), batch("b"), fix, batch("d"), more]
    assert names(admit(Arrivals(ready), ledger, 10)) == ["a", "c-fix", "z-fix"]
    assert names(admit(Arrivals([fix, batch("d", 500)]), ledger, 100)) == ["c-fix", "d"]


def test_messages_of_a_log_are_taken_in_its_order_whether_pictures_or_corrections(ledger: Ledger) -> None:
    fix = replace(batch("log-10-12", 0, corrects=True), positions=[Positions("log", 10, 12)])
    ready = [batch("a"), replace(batch("log-0-10"), positions=[Positions("log", 0, 10)]), fix]
    assert names(admit(Arrivals(ready), ledger, 10)) == ["a"]
    assert names(admit(Arrivals(ready[1:]), ledger, 10)) == ["log-0-10", "log-10-12"]


def test_the_same_arrivals_in_any_order_make_the_same_entry(ledger: Ledger) -> None:
    ready = [batch(name, digest=digest) for name, digest in zip("abcdef", "xyxzzw", strict=True)]
    assert admit(Arrivals(ready), ledger, 35) == admit(Arrivals(ready[::-1]), ledger, 35)


def test_a_batch_that_changed_after_admission_is_dropped_from_its_entry_and_its_content_is_new_again(
    ledger: Ledger,
) -> None:
    first = batch("a", digest="x")
    ledger.append(Entry(0, [first, batch("b")]))
    ledger.append(Entry(1, refusals=[changed(first, 0, "1.png is gone.")]))
    assert names(ledger.effective(ledger.entry(0))) == ["b"]
    assert names(admit(Arrivals([batch("again", digest="x")]), ledger, 100)) == ["again"]
