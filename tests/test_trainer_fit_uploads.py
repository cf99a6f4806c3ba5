"""Uploads in the background: in order, retried, and none after one that failed."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.fit import uploads
from trainer.fit.uploads import Change, TakenOverError, Uploads, snapshot


def _change(folder: Path, name: str, **options: Any) -> Change:
    copy = folder / name
    copy.write_text(name)
    return Change(name, copy, **options)


def _keys(bucket: Bucket) -> list[str]:
    listed = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
    return sorted(one["Key"] for one in listed)


def test_changes_are_made_in_order_and_waited_for(bucket: Bucket, tmp_path: Path) -> None:
    own = Uploads(Place(f"{bucket.address}/run"))
    own.add([_change(tmp_path, "a"), _change(tmp_path, "b")])
    own.add([Change("a", None), Change("gone", None)])
    own.wait()
    assert _keys(bucket) == ["run/b"] and not list(tmp_path.iterdir())


def test_a_failure_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failures, made = [UserError("The store is away."), OSError(5, "Input/output error", "x")], []

    def write(copy: Path, place: Place) -> None:
        if failures:
            raise failures.pop(0)
        made.append(place.name)

    monkeypatch.setattr(uploads, "upload", write)
    monkeypatch.setattr(uploads, "_PAUSE_S", 0.01)
    own = Uploads(Place("s3://bucket/run"))
    own.add([_change(tmp_path, "a"), _change(tmp_path, "b")])
    own.wait()
    assert made == ["a", "b"]
    assert capsys.readouterr().err == "warning: The store is away. The upload is tried again.\n"


def test_nothing_is_uploaded_after_what_could_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def write(copy: Path, place: Place) -> None:
        if place.name == "a":
            raise UserError("The store is away.")
        made.append(place.name)

    monkeypatch.setattr(uploads, "upload", write)
    monkeypatch.setattr(uploads, "_PATIENCE_S", 0.0)
    own = Uploads(Place("s3://bucket/run"))
    own.add([_change(tmp_path, "a"), _change(tmp_path, "b")])
    with pytest.raises(UserError, match=r"s3://bucket/run/a could not be written for 0 minutes\. Received: The"):
        own.wait()
    with pytest.raises(UserError, match="could not be written"):
        own.add([_change(tmp_path, "c")])
    assert not made


def test_a_process_that_was_replaced_does_not_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        raise TakenOverError("Another one.")

    monkeypatch.setattr(uploads, "upload", lambda *_: pytest.fail("uploaded"))
    own = Uploads(Place("s3://bucket/run"))
    own.add([_change(tmp_path, "a", check=check)])
    with pytest.raises(TakenOverError):
        own.wait()


def test_training_waits_where_uploads_are_slower_than_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    may = threading.Event()
    monkeypatch.setattr(uploads, "upload", lambda *_: may.wait(20))
    monkeypatch.setattr(uploads, "_SHORT_WAIT_S", 0.1)
    own = Uploads(Place("s3://bucket/run"))
    threading.Timer(0.5, may.set).start()
    for name in ("a", "b", "c", "d"):
        own.add([_change(tmp_path, name)])
    assert may.is_set()
    own.wait()
    assert "note: waiting for uploads to s3://bucket/run\n" in capsys.readouterr().err


def test_a_snapshot_stays_as_it_was(tmp_path: Path) -> None:
    for name in ("step-0000000001.npz", "history.jsonl"):
        path = tmp_path / name
        path.write_text("before")
        snapshot(path, tmp_path / f"{name}.copy")
        (tmp_path / "new").write_text("after")
        (tmp_path / "new").replace(path)
        assert (tmp_path / f"{name}.copy").read_text() == "before"
