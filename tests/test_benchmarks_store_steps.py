"""The benchmark of steps on a dataset in a store: turns, table and targets, and a tiny run."""

from pathlib import Path

import pytest

from benchmarks.store_steps import Epoch, main, measure, report
from tfrecords.errors import UserError


def test_both_kinds_take_turns_and_the_other_begins_each_time() -> None:
    seen: list[str] = []

    def batches(name: str) -> list[str]:
        return [f"{name}{index}" for index in range(3)]

    epochs = list(measure(seen.append, lambda epoch: batches(f"l{epoch}-"), lambda epoch: batches(f"s{epoch}-"), 2, 2))
    assert seen == ["s0-0", "l0-0", "l0-1", "s0-1", "s1-0", "l1-0", "l1-1", "s1-1"]
    assert [(len(epoch.local), len(epoch.store)) for epoch in epochs] == [(2, 2)] * 2
    assert min(epochs[0].local + epochs[0].store) > 0


def test_datasets_of_different_sizes_are_refused() -> None:
    with pytest.raises(UserError, match=r"^Both datasets must have equally many batches. Received: \[2, 1\]$"):
        list(measure(lambda _: None, lambda _: [1, 2], lambda _: [1], 1, None))


def test_the_table_has_the_rates_of_each_epoch_with_the_first_step() -> None:
    table, _, *targets = report([Epoch([1.0, 1.0], [3.0, 1.0]), Epoch([0.5, 0.5], [0.5, 0.5])])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert cells == [
        ["epoch 0, empty cache", "2", "1.00", "0.50", "0.500", "1.00", "3.00"],
        ["epoch 1, copies on the disk", "2", "2.00", "2.00", "1.000", "0.50", "0.50"],
    ]
    assert targets == [
        "FAIL  epoch 0, empty cache: 0.500 of the local step rate, at least 0.95",
        "pass  epoch 1, copies on the disk: 1.000 of the local step rate, at least 0.95",
    ]


@pytest.mark.parametrize("option", [["--epochs", "0"], ["--batch-size", "0"], ["--steps", "-1"]])
def test_wrong_options_are_refused(option: list[str], records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(records), *option])
    assert "--epochs and --batch-size must be at least 1, --steps 0 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_steps_are_made_from_a_server_of_its_own(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "no_proxy"):
        monkeypatch.setenv(name, "")
    options = ["--epochs", "2", "--steps", "2", "--batch-size", "4", "--output", str(tmp_path)]
    assert main(["--data", str(records), *options]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| epoch ")]
    assert [(row[1].strip(), row[2].strip()) for row in rows] == [
        ("epoch", "steps"),
        ("epoch 0, empty cache", "2"),
        ("epoch 1, copies on the disk", "2"),
    ]
    assert list(tmp_path.iterdir()) == []
