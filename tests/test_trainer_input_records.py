"""A folder of pictures that is given for a dataset: the command that prepares it is named."""

import shlex
from pathlib import Path

import pytest

from tfrecords.cli import main
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.input.records import Records


@pytest.mark.parametrize("place", ["digitStruct.mat", "train/digitStruct.mat", "extra/digitStruct.mat"])
def test_pictures_are_answered_with_the_command_that_prepares_them(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "my pictures"
    (folder / place).parent.mkdir(parents=True)
    (folder / place).touch()
    with pytest.raises(
        UserError, match=rf"^{folder} holds pictures with their digitStruct.mat, not records: "
    ) as error:
        Records.open(folder)
    command = shlex.split(str(error.value).split("`")[1])
    options = ["--source", "svhn", "--input", str(folder), "--output", f"{folder}-records"]
    assert command == ["python", "-m", "beam_jobs", "prepare", *options]


def test_every_command_says_so_before_it_writes(
    drawn: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["train", "--run-dir", str(tmp_path / "run")], ["evaluate", "--run-dir", str(untrained)]):
        assert main("trainer", "", COMMANDS, [*options, "--data", str(drawn)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {drawn} holds pictures") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_no_dataset(untrained: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^--data must be a dataset directory, not a run directory\. Received: {untrained}"
    ):
        Records.open(untrained)


def test_other_folders_are_answered_as_before(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="is not a dataset directory: it has no manifest"):
        Records.open(tmp_path)
