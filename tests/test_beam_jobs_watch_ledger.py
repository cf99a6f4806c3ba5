"""The ledger: entries that are created once, and what follows from them after any number of starts."""

from pathlib import Path

import pytest

from beam_jobs.watch.batch import CHANGED, DUPLICATE, Batch, Positions, Refusal
from beam_jobs.watch.ledger import Entry, Ledger, LostStreamError, Merge
from tests.stores import Bucket
from tests.test_beam_jobs_watch_admission import batch
from tfrecords.dataset.snapshots import Snapshot, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def add_snapshot(stream: Place, number: int) -> None:
    assert snapshot_place(stream, number).create(Snapshot(number, [], {}, {}, 0).to_json())


def test_what_one_process_appends_the_next_one_reads(tmp_path: Path) -> None:
    ledger = Ledger(Place(tmp_path))
    refusal = Refusal("copy", "digest of a", "stamp", DUPLICATE, "It is a.")
    ledger.append(Entry(0, [batch("a"), batch("b")], [refusal]))
    ledger.append(Entry(1, merges=[Merge("generations/00000000-00000001", ["generations/00000000"])]))
    again = Ledger(Place(tmp_path))
    for each in (ledger, again):
        assert each.next == 2 and [entry.entry for entry in each.open] == [0, 1]
        assert each.names == {"digest of a": "a", "digest of b": "b"}
        assert each.refused == {"copy": {"stamp"}} and each.reasons == {DUPLICATE: 1}
        assert each.accepted["a"].entry == 0
    assert again.entry(0) == ledger.entry(0) == ledger.open[0]


def test_two_processes_that_append_the_same_number_are_told_apart(tmp_path: Path) -> None:
    first, second = Ledger(Place(tmp_path)), Ledger(Place(tmp_path))
    first.append(Entry(0, [batch("a")]))
    with pytest.raises(LostStreamError, match="another one has written it"):
        second.append(Entry(0, [batch("b")]))
    assert Ledger(Place(tmp_path)).accepted.keys() == {"a"}


def test_entries_are_open_until_a_snapshot_is_as_new_although_older_snapshots_are_deleted(tmp_path: Path) -> None:
    stream = Place(tmp_path)
    ledger = Ledger(stream)
    for number in range(4):
        ledger.append(Entry(number, [batch(f"b{number}")]))
    add_snapshot(stream, 0)
    assert [entry.entry for entry in Ledger(stream).open] == [1, 2, 3]
    add_snapshot(stream, 2)
    snapshot_place(stream, 0).delete()
    assert [entry.entry for entry in Ledger(stream).open] == [3]


def test_a_missing_or_damaged_entry_is_an_error_that_names_it(tmp_path: Path) -> None:
    ledger = Ledger(Place(tmp_path))
    for number in range(3):
        ledger.append(Entry(number, [batch(f"b{number}")]))
    log = tmp_path / "log"
    whole = (log / "00000001.json").read_bytes()
    for content in (
        b"{",
        whole.replace(b'"entry": 1', b'"entry": 2', 1),
        whole.replace(b'"version": 1', b'"version": 9'),
    ):
        (log / "00000001.json").write_bytes(content)
        with pytest.raises(UserError, match=r"00000001\.json"):
            Ledger(Place(tmp_path))
    (log / "00000001.json").unlink()
    with pytest.raises(UserError, match="Received: no entry 1"):
        Ledger(Place(tmp_path))


def test_a_dropped_batch_leaves_its_entry_and_its_name_and_content_are_free(tmp_path: Path) -> None:
    ledger = Ledger(Place(tmp_path))
    ledger.append(Entry(0, [batch("a"), batch("b")]))
    ledger.append(Entry(1, refusals=[Refusal("a", "digest of a", "stamp of a", CHANGED, "It is gone.", 0)]))
    for each in (ledger, Ledger(Place(tmp_path))):
        assert [kept.name for kept in each.effective(each.entry(0)).batches] == ["b"]
        assert each.accepted.keys() == {"b"} and each.names == {"digest of b": "b"}


def test_the_positions_of_a_log_are_those_after_the_last_accepted_message(tmp_path: Path) -> None:
    ledger = Ledger(Place(tmp_path))
    for number, (start, stop) in enumerate([(0, 10), (10, 25)]):
        positions = [Positions("numbers/0", start, stop), Positions("numbers/1", 0, 5)]
        ledger.append(Entry(number, [Batch(f"k{number}", f"d{number}", "s", [], positions)]))
    assert Ledger(Place(tmp_path)).positions == {"numbers/0": 25, "numbers/1": 5}


def test_names_of_other_files_in_the_log_are_passed_over(tmp_path: Path) -> None:
    Ledger(Place(tmp_path)).append(Entry(0, [batch("a")]))
    for name in (".partial.x.00000001.json", "00000001.json.bak", "README"):
        (tmp_path / "log" / name).write_bytes(b"{")
    assert Ledger(Place(tmp_path)).next == 1


def test_a_store_has_one_winner_for_each_entry(bucket: Bucket) -> None:
    stream = Place(f"{bucket.address}/stream")
    first, second = Ledger(stream), Ledger(stream)
    first.append(Entry(0, [batch("a")]))
    with pytest.raises(LostStreamError):
        second.append(Entry(0, [batch("b")]))
    assert Ledger(stream).accepted.keys() == {"a"}
