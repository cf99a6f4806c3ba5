"""The benchmark of steps: every way is timed, and the ratios are right."""

import pytest

from benchmarks.steps import WAYS, Cost, main, report


@pytest.mark.slow
def test_the_command_prints_a_row_a_way_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "one-device,bare", "--steps", "1", "--batch-size", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [WAYS["bare"], WAYS["one-device"]]
    assert rows[0][3] == rows[0][5] == "1.000" and float(rows[1][2]) > 0


def test_ratios_and_the_verdict_are_those_of_the_numbers() -> None:
    rows = {"bare": Cost(5.0, 0.2, 0.1), "mirrored": Cost(6.0, 0.1, 0.102)}
    lines = report(rows)
    (cells,) = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[3:]]
    assert cells == [WAYS["mirrored"], "6.0", "102.0", "1.020", "100.0", "0.500"]
    assert lines[-1] == "pass  MirroredStrategy over one device against a bare step: 1.020, at most 1.03"
    assert report({**rows, "mirrored": Cost(6.0, 0.1, 0.104)})[-1].startswith("FAIL")
    assert "-" in report({"jit": rows["mirrored"]})[0].splitlines()[2].split("|")[4]


@pytest.mark.parametrize(
    ("options", "said"), [(["--only", "nothing"], "Received: nothing"), (["--steps", "0"], "Received: 0 and 16")]
)
def test_wrong_options_are_refused(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert said in capsys.readouterr().err
