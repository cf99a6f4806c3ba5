"""Pins of snapshots: what they keep, what is refused, and what is no pin."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stores import Bucket
from tfrecords.dataset.pins import PINS, pin, pinned, unpin
from tfrecords.dataset.snapshots import Part, Snapshot, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def _stream(place: Place, *numbers: int) -> Place:
    for number in numbers:
        part = Part("generations/00000000", "0" * 64)
        snapshot_place(place, number).create(Snapshot(number, [part], {}, {}, 1).to_json())
    return place


@pytest.fixture(params=["local", "s3"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A stream with the snapshots 3 and 7."""
    if request.param == "local":
        return _stream(Place(tmp_path / "stream"), 3, 7)
    bucket: Bucket = request.getfixturevalue("bucket")
    return _stream(Place(bucket.address) / "stream", 3, 7)


def test_a_pin_is_there_until_it_is_taken_out_and_moves(stream: Place) -> None:
    assert pinned(stream) == {}
    pin(stream, "run-1", 3)
    pin(stream, "best.of_all", 7)
    assert pinned(stream) == {"best.of_all": 7, "run-1": 3}
    assert (stream / PINS / "run-1.json").read_bytes() == b'{"snapshot": 3}\n'
    pin(stream, "run-1", 7)
    assert pinned(stream)["run-1"] == 7
    assert unpin(stream, "run-1") and not unpin(stream, "run-1")
    assert pinned(stream) == {"best.of_all": 7}


def test_a_snapshot_that_does_not_exist_is_not_pinned(stream: Place) -> None:
    with pytest.raises(UserError, match=r"has the snapshots 3 to 7, and not every number is one. Received: snapshot 4"):
        pin(stream, "run", 4)
    assert pinned(stream) == {}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 81, ".."])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    stream = _stream(Place(tmp_path), 3)
    for work in (lambda: pin(stream, name, 3), lambda: unpin(stream, name)):
        with pytest.raises(UserError, match="The name of a pin must be of 1 to 80"):
            work()


def test_what_a_kill_left_is_no_pin_and_a_damaged_pin_is_named(tmp_path: Path) -> None:
    stream = _stream(Place(tmp_path), 3)
    pin(stream, "run", 3)
    (stream / PINS / ".partial.0123.run.json").write([b"{"])
    (stream / PINS / "notes.txt").write([b"mine"])
    assert pinned(stream) == {"run": 3}
    (stream / PINS / "run.json").write([b'{"snapshot": -1}'])
    with pytest.raises(UserError, match=r"pins/run.json: snapshot must be"):
        pinned(stream)


def _after_write(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Does work when the pin is written, and before `pin` looks for the snapshot again."""
    real = Place.write

    def write(place: Place, chunks: list[bytes]) -> None:
        real(place, chunks)
        monkeypatch.setattr(Place, "write", real)
        work()

    monkeypatch.setattr(Place, "write", write)


def test_a_snapshot_that_is_deleted_meanwhile_is_not_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _stream(Place(tmp_path), 3, 7)
    _after_write(monkeypatch, snapshot_place(stream, 3).delete)
    with pytest.raises(UserError, match=r"has just deleted it. Received: snapshot 3"):
        pin(stream, "run", 3)
    assert pinned(stream) == {}
    pin(stream, "run", 7)
    _stream(stream, 3)
    _after_write(monkeypatch, snapshot_place(stream, 3).delete)
    with pytest.raises(UserError, match="has just deleted it"):
        pin(stream, "run", 3)
    assert pinned(stream) == {"run": 7}
