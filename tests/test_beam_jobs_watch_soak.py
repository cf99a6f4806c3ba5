"""The soak in short: every promise of a stream holds under kills, and one that is broken is found."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.watch.batches import Dropped
from benchmarks.watch.promises import check_soak
from benchmarks.watch.soak import Soak, run_soak
from tfrecords.dataset.manifest import DEAD_LETTERS, MANIFEST
from tfrecords.dataset.snapshots import Snapshot, flatten, snapshot_numbers, snapshot_place
from tfrecords.files.place import Place

pytestmark = pytest.mark.slow
DECIDED, PICTURES, KEYS, AGAIN = (
    "every batch is accepted once, or refused with one reason",
    "every picture of an accepted batch is there once, as corrected",
    "no key is in two records",
    "ledger and inbox make the same bytes again",
)


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    return run_soak(tmp_path_factory.mktemp("soak") / "soak", kills=30, drops=100, seed=1)


@pytest.fixture
def own(soak: Soak, tmp_path: Path) -> Soak:
    """A copy whose stream may be changed; the ledger names the batches where they are."""
    shutil.copytree(soak.stream, tmp_path / "own" / "stream")
    return replace(soak, folder=tmp_path / "own", dropped=dict(soak.dropped))


def broken(soak: Soak) -> set[str]:
    """The promises that are broken, of those that need no compaction."""
    checks = check_soak(soak)
    return {promise.text for promise in (next(checks) for _ in range(7)) if promise.faults}


def test_every_promise_holds_under_kills(own: Soak) -> None:
    promises = list(check_soak(own))
    assert len(promises) == 8 and [str(promise) for promise in promises if promise.faults] == []
    assert own.opened > 50 and {each.kind for each in own.dropped.values()} >= {"copy", "cut", "corrections"}


def test_a_lost_batch_is_found(own: Soak) -> None:
    own.dropped["b99999-renamed"] = Dropped("b99999-renamed", "renamed", {"1.png": "7"}, "b99999-renamed")
    assert broken(own) == {DECIDED}


def test_a_generation_that_is_twice_or_not_in_a_snapshot_is_found(own: Soak) -> None:
    place = Place(own.stream)
    snapshots = [Snapshot.load(place, number) for number in snapshot_numbers(place)]
    # The watcher leaves a small stream in one directory.
    newest, several = snapshots[-1], next(each for each in reversed(snapshots) if len(each.parts) > 1)
    for parts, expected in (([*newest.parts, newest.parts[-1]], {PICTURES, KEYS}), (several.parts[:-1], {PICTURES})):
        changed = replace(newest, parts=parts)
        snapshot_place(place, newest.snapshot).write([changed.to_json()])
        (place / MANIFEST).write([flatten(place, changed).to_json().encode()])
        assert broken(own) == expected


def test_a_file_of_other_bytes_is_found(own: Soak) -> None:
    with next(own.stream.glob(f"generations/????????/{DEAD_LETTERS}")).open("a") as stream:
        stream.write("\n")
    assert broken(own) == {AGAIN}
