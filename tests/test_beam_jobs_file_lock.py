"""The lock of a folder: one process at a time, nothing left afterwards."""

import fcntl
import shutil
from pathlib import Path

import pytest

from beam_jobs.file_lock import lock_folder
from tfrecords.errors import UserError


def test_a_second_lock_is_refused_with_the_given_error_until_the_first_is_released(tmp_path: Path) -> None:
    folder, error = tmp_path / "output", UserError("Another run is writing there.")
    with lock_folder(folder, error):
        assert (folder / "lock").is_file()
        with pytest.raises(UserError) as caught, lock_folder(folder, error):
            raise AssertionError("locked twice")
        assert caught.value is error
        assert (folder / "lock").is_file()
        with lock_folder(folder, error, "another"):
            assert (folder / "another").is_file()
    assert not list(folder.iterdir())
    with lock_folder(folder, error):
        pass


def test_the_lock_file_of_a_killed_process_neither_hinders_nor_goes(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with lock_folder(tmp_path, UserError("busy")):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_block_may_delete_the_folder_and_errors_pass_through(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "output", UserError("busy")):
        shutil.rmtree(tmp_path / "output")
    with pytest.raises(KeyError), lock_folder(tmp_path, UserError("busy")):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_cannot_lock_runs_unprotected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_folder(tmp_path, UserError("busy")):
        pass
    assert not list(tmp_path.iterdir())
