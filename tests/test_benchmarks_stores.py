"""The benchmark of stores: a tiny run, and its targets."""

from pathlib import Path

import pytest

from benchmarks.stores import WAYS, Measured, main, table, targets
from tests.stores import use_store


def test_ways_read_every_example_from_a_server_of_its_own(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The benchmark names its own server; a connection to that of the tests before must not be used instead.
    use_store("", monkeypatch)
    options = ["--split", "test", "--repeats", "1", "--only", "local,bare,cache-shuffled", "--output", str(tmp_path)]
    assert main(["--data", str(records), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:5]] == ["20", "20", "20"]
    assert lines[4].startswith("| store with cache=, by index, shuffled, second pass |")
    assert list(tmp_path.iterdir()) == []


def test_targets_compare_with_the_local_way() -> None:
    rows = {name: Measured(10_000, 2.0, 1.0, 1_000_000) for name in WAYS}
    rows["store"] = Measured(10_000, 4.0, 4.0, 1_000_000)
    rows["bare"] = Measured(10_000, 2.5, 0.5, 1_000_000)
    assert targets(rows) == [
        "pass  store, by index, shuffled: 5,000 examples/s, at least 5,000",
        "pass  store with cache=, by index, shuffled, second pass: 5,000 examples/s, at least 5,000",
        "FAIL  store, in order: 0.50 of local, at least 0.8",
        "pass  store, in order, second pass: 1.00 of local, at least 0.8",
        "pass  store with cache=, in order, second pass: 1.00 of local, at least 0.8",
        "FAIL  store, in order: 0.62 of the slower of local and bare, at least 0.8",
    ]
    assert " 2,500 |     0.50 |   0.25 |       1 |" in table(rows)


@pytest.mark.parametrize("option", [["--repeats", "0"], ["--only", "nothing"]])
def test_wrong_options_are_refused(option: list[str], records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(records), *option])
    assert option[1] in capsys.readouterr().err
