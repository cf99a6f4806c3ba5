"""benchmarks.sources: a row for each way, of every entry."""

import pytest

from benchmarks.sources.__main__ import SOURCES, main


def test_the_command_prints_a_row_a_way_and_the_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "optdigits", "--entries", "40", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed if line.startswith("| optdigits")]
    assert [row[:3] for row in rows] == [["optdigits", "pandas.read_csv", "40"], ["optdigits", "ours", "40"]]
    assert sum(line.startswith(("pass  optdigits: ", "FAIL  optdigits: ")) for line in printed) == 2


def test_an_unknown_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "wordpress"])
    assert f"--only takes names out of {', '.join(SOURCES)}." in capsys.readouterr().err
