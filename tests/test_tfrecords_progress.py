"""Progress: lines in a log file, a bar on a terminal."""

import io
import sys

import pytest

from tfrecords.progress import print_line, progress, progress_of, silent


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "" and "\r" not in captured.err
    return captured.err.splitlines()


def test_a_log_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("prepare", 1234, "pictures") as shown:
        for _ in range(1234):
            shown.update()
    printed = lines(capsys)
    assert [line.split(",")[0] for line in printed] == [f"prepare: {10 * part} %" for part in range(1, 11)]
    assert printed[0] == "prepare: 10 %, 124 of 1,234 pictures, 0 s"
    assert printed[-1] == "prepare: 100 %, 1,234 of 1,234 pictures, 0 s"


@pytest.mark.parametrize(
    ("total", "steps", "expected"),
    [
        (3, [1, 2, 3], ["30 %", "60 %", "100 %"]),
        (100, [5, 95, 99], ["90 %"]),
        (100, [20, 5, 15, 25, 31], ["20 %", "30 %"]),
        (100, [100, 120], ["100 %"]),
        (0, [0, 1], []),
    ],
)
def test_a_log_never_gets_a_line_twice(
    total: int, steps: list[int], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("copy", total, "files") as shown:
        for done in steps:
            shown.move_to(done)
    assert [line.split(": ")[1].split(",")[0] for line in lines(capsys)] == expected


def test_bytes_are_scaled_and_a_resumed_start_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("download", 404_000_000, "B", done=200_000_000) as shown:
        shown.rename("download train")
        shown.update(4_000_000)
    assert lines(capsys) == ["download train: 50 %, 204.0 of 404.0 MB, 0 s"]


def test_items_are_counted_when_the_next_one_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_of(iter("ab"), "index", 2, "files")) == ["a", "b"]
    print_line("error: one")
    assert lines(capsys) == ["index: 50 %, 1 of 2 files, 0 s", "index: 100 %, 2 of 2 files, 0 s", "error: one"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("prepare", 8, "pictures") as shown:
        shown.move_to(2)
        shown.rename("writing")
        shown.update(6)
    assert "prepare:  25%|" in terminal.getvalue() and "writing: 100%|" in terminal.getvalue()
    assert "8/8 [" in terminal.getvalue() and "pictures/s" in terminal.getvalue()


def test_an_unknown_total_and_silence_print_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (progress("predict", None, "pictures"), silent()):
        with shown:
            shown.note("loss=1")
            shown.update(7)
    print_line("result", sys.stdout)
    assert capsys.readouterr() == ("result\n", "")
