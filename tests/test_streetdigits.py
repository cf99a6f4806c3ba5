"""The `streetdigits` script: every command of the three packages under one name, light until one is called."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import streetdigits
from beam_jobs.__main__ import COMMANDS as BEAM_JOBS
from tfrecords.__main__ import COMMANDS as TFRECORDS
from tfrecords.cli import Command, main
from trainer.__main__ import COMMANDS as TRAINER

ROOT = Path(__file__).parents[1]
HEAVY = ("apache_beam", "h5py", "keras", "matplotlib", "pyarrow", "tensorflow")


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _help(prog: str, commands: Sequence[Command], name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(prog, "", commands, [name, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_every_command_of_the_three_packages_is_there_once() -> None:
    assert {command.module for command in streetdigits.COMMANDS} == {
        command.module for command in (*BEAM_JOBS, *TFRECORDS, *TRAINER)
    }
    names = [command.name for command in streetdigits.COMMANDS]
    assert len(set(names)) == len(names)


def test_export_writes_a_model_and_export_records_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    modules = {command.name: command.module for command in streetdigits.COMMANDS}
    assert modules["export"] == "trainer.commands.export"
    assert modules["export-records"] == "tfrecords.commands.export"
    with pytest.raises(SystemExit):
        main("streetdigits", "", streetdigits.COMMANDS, ["--help"])
    assert "export-records" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prog", "commands", "name", "ours"),
    [
        ("python -m beam_jobs", BEAM_JOBS, "download", "download"),
        ("python -m tfrecords", TFRECORDS, "inspect", "inspect"),
        ("python -m tfrecords", TFRECORDS, "export", "export-records"),
        ("python -m trainer", TRAINER, "report", "report"),
    ],
)
def test_flags_and_help_are_those_of_the_package(
    prog: str, commands: Sequence[Command], name: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = _help(prog, commands, name, capsys)
    expected = theirs.replace(f"usage: {prog} {name} ", f"usage: streetdigits {ours} ", 1)
    # Usage lines wrap elsewhere below a program name of another length.
    assert _help("streetdigits", streetdigits.COMMANDS, ours, capsys).split() == expected.split()


def test_help_comes_without_the_heavy_libraries() -> None:
    done = _python(f"""
import sys
import streetdigits
sys.argv = ["streetdigits", "--help"]
try:
    streetdigits.run()
except SystemExit as end:
    assert end.code == 0
heavy = set({HEAVY!r}) & set(sys.modules)
assert not heavy, heavy
""")
    assert done.returncode == 0, done.stderr
    assert all(command.name in done.stdout for command in streetdigits.COMMANDS)


def test_the_module_runs_as_a_program_too() -> None:
    command = [sys.executable, "-m", "streetdigits", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"streetdigits {streetdigits.__version__}\n"


def test_a_missing_module_of_ours_is_a_bug_and_is_raised() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"trainer\.commands\.nothing"):
        main("trainer", "", [Command("lost", "", "trainer.commands.nothing", extra="train")], ["lost"])
