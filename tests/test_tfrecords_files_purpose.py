"""Folders that are not what a command needs, and folders of another purpose that it must not write into."""

from pathlib import Path

import pytest

import streetdigits
from tests.stores import Bucket
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.purpose import check_purpose, check_writable, why_not


def test_the_reason_is_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert why_not(tmp_path, "manifest.json") == "it has no manifest.json"
    assert why_not(tmp_path / "file", "manifest.json") == "it is a file"
    assert why_not(str(tmp_path / "none"), "manifest.json") == "it does not exist"
    assert why_not("memory://bucket/none", "manifest.json") == "it has no manifest.json"


@pytest.mark.parametrize(
    ("mark", "purpose"),
    [
        ("manifest.json", "a dataset"),
        (".prepare", "a dataset"),
        ("config.json", "a run"),
        ("train/digitStruct.mat", "pictures"),
        ("saved_model.pb", "a SavedModel"),
    ],
)
def test_a_folder_keeps_its_purpose(tmp_path: Path, mark: str, purpose: str) -> None:
    (tmp_path / "own" / mark).parent.mkdir(parents=True)
    (tmp_path / "own" / mark).touch()
    check_purpose("--output", tmp_path / "own", purpose)
    for other in {"a dataset", "a run", "pictures", "a SavedModel"} - {purpose}:
        with pytest.raises(UserError, match=rf"^--output must be another folder than one of {purpose}\. Received: "):
            check_purpose("--output", tmp_path / "own", other)
    check_purpose("--output", tmp_path, "a run")
    check_purpose("--output", tmp_path / "new" / "folder", "a run")
    with pytest.raises(UserError, match=rf"^--output must be a folder, or a place for a new one\. .*/own/{mark}$"):
        check_purpose("--output", tmp_path / "own" / mark / "new", purpose)


def test_a_file_needs_a_folder_that_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    check_writable("--output", tmp_path / "new" / "folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"^--output needs a folder that can be written to\. Received: .*/file$"):
            check_writable("--output", folder)
    # Whoever is root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match=rf"^--png needs a folder that can be written to\. Received: {tmp_path}$"):
        check_writable("--png", tmp_path / "new")


def test_a_store_is_asked_with_an_empty_file_whether_it_takes_files(bucket: Bucket) -> None:
    folder = Place(bucket.address) / "new #1"
    check_writable("--output", folder)
    assert not folder.exists()
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(UserError, match=rf"^{bucket.address}: there is no such bucket"):
        check_writable("--output", folder)


@pytest.mark.parametrize(
    ("argv", "purpose"),
    [
        (["sample", "--count", "2", "--output", "{records}"], "a dataset"),
        (["sample", "--count", "2", "--output", "{untrained}"], "a run"),
        (["download", "--output", "{records}"], "a dataset"),
        (["train", "--data", "{records}", "--run-dir", "{records}"], "a dataset"),
        (["train", "--data", "{records}", "--run-dir", "{drawn}"], "pictures"),
    ],
)
def test_no_command_writes_into_another_s_folder(
    argv: list[str], purpose: str, records: Path, drawn: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"records": records, "drawn": drawn, "untrained": untrained}
    before = [sorted(folder.rglob("*")) for folder in folders.values()]
    assert main("streetdigits", "", streetdigits.COMMANDS, [word.format(**folders) for word in argv]) == 1
    error = capsys.readouterr().err
    assert f"must be another folder than one of {purpose}. Received: " in error and error.count("\n") == 1
    assert before == [sorted(folder.rglob("*")) for folder in folders.values()]
