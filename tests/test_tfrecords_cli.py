"""The command line's frame: what becomes of a pipe that nobody reads any more."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tfrecords.cli import Command, main

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("joined", [False, True])
def test_a_pipe_without_a_reader_ends_a_program_quietly(records: Path, unbuffered: str, joined: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tfrecords", "inspect", str(records)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=writer if joined else subprocess.PIPE,
    )
    os.close(writer)
    # As `git log | head` ends: 128 and SIGPIPE's number.
    assert done.returncode == 141 and not done.stderr


def test_help_goes_quietly_too() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tfrecords", "inspect", "--help"]
    # Unbuffered, argparse itself passes over it.
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == 141 and not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
def test_a_full_disk_is_told_in_one_line(records: Path) -> None:
    command = [sys.executable, "-m", "tfrecords", "inspect", str(records)]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: standard output cannot be written: No space left on device\n")


def test_a_pipe_that_is_not_the_output_s_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise BrokenPipeError(32, "Broken pipe", "server")

    module = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "tests.broken", module)
    assert main("tests", "", [Command("send", "", "tests.broken")], ["send"]) == 1
    assert capsys.readouterr().err == "error: server: Broken pipe\n"
