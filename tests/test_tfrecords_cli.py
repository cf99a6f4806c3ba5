"""The command line's frame: what becomes of a pipe that nobody reads any more."""

import io
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrecords.cli import Command, main
from tfrecords.errors import one_line

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


def _call(run: Callable[[object], int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs a command of one function."""
    module = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "tests.called", module)
    return main("tests", "", [Command("call", "", "tests.called")], ["call"])


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"\\xe9 \\u2116 \\U0001f3e0 \xff\n"),
        ("cp1252", b"\xe9 \\u2116 \\U0001f3e0 \xff\n"),
        ("utf-8", "\u00e9 \u2116 \U0001f3e0 ".encode() + b"\xff\n"),
    ],
)
def test_letters_that_standard_output_lacks_are_escaped_and_bytes_of_names_are_kept(
    encoding: str, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert _call(lambda _: print("\u00e9 \u2116 \U0001f3e0 \udcff") or 0, monkeypatch) == 0
    assert shown.getvalue() == expected


def test_a_name_that_the_locale_lacks_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        "caf\u00e9".encode("ascii")
        return 0

    with pytest.raises(UnicodeEncodeError):
        _call(run, monkeypatch)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert _call(run, monkeypatch) == 1
    rule = "error: This locale cannot express a file's name: set LC_ALL=C.UTF-8. Received: 'caf\\xe9'\n"
    assert capsys.readouterr().err == rule


def test_an_error_of_the_operating_system_names_its_files() -> None:
    assert one_line(FileNotFoundError(2, "No such file", b"a.png")) == "a.png: No such file"
    assert one_line(OSError(18, "Invalid cross-device link", "a", None, "b")) == "a -> b: Invalid cross-device link"
    assert one_line(OSError(28, "No space left on device")) == (
        "a file cannot be read or written: No space left on device"
    )
    assert one_line(OSError("disk full")) == "disk full"
