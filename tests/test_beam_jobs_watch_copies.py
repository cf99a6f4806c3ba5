"""Copies of shards of a store: enough room, nothing left behind, also by a process that was killed."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from beam_jobs.watch.upkeep.copies import copy_shard, remove_old, temporary_folder
from tests.forked import Forked
from tfrecords.errors import UserError
from tfrecords.files.place import Place

STREAM, OTHER = Place("s3://bucket/stream"), Place("s3://bucket/other")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of temporary files of this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_copies_are_gone_after_the_block_whatever_ends_it(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_folder(STREAM, 10) as folder:
        assert folder.parent == temporary
        (folder / "copy").write_bytes(b"1")
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def _be_killed(stream: Place, temporary: Path) -> int:
    tempfile.tempdir = str(temporary)
    with temporary_folder(stream, 10) as folder:
        (folder / "copy").write_bytes(b"1")
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_what_a_killed_process_has_left_is_deleted_for_its_stream_alone(temporary: Path) -> None:
    def left() -> list[Path]:
        return list(temporary.glob("streetdigits-merge-*"))

    for stream in (STREAM, OTHER):
        assert Forked(_be_killed, stream, temporary).wait()[0] == -signal.SIGKILL
    assert len(left()) == 2
    remove_old(STREAM)
    (other,) = left()
    (temporary / "linked").mkdir()
    link = temporary / f"{other.name[:-3]}xyz"
    link.symlink_to(temporary / "linked")
    remove_old(OTHER)
    assert left() == [link] and (temporary / "linked").is_dir()


def test_without_room_nothing_is_copied(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    rule = f"{temporary} must have room for .* TMPDIR to another folder. Received: 2.0 GB free of 3.5 GB"
    with pytest.raises(UserError, match=rule), temporary_folder(STREAM, 3_500_000_000):
        pass
    assert list(temporary.iterdir()) == []


def test_a_shard_without_its_index_is_named(tmp_path: Path) -> None:
    shard = tmp_path / "svhn-train.tfrecord-00000-of-00001"
    shard.write_bytes(b"")
    with pytest.raises(UserError, match="idx-00000-of-00001 must be there: the manifest next to it says so"):
        copy_shard(Place(shard), tmp_path / "copies")
