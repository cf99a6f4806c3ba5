"""The benchmark of input: every way gives each training example once in equal batches, and the ratios are right."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import tfrecords
from benchmarks.input.__main__ import main, report, steps_line
from benchmarks.input.pipelines import write_arrays
from benchmarks.input.steps import Steps, compare_steps
from benchmarks.input.ways import WAYS
from benchmarks.readers.job import Job
from benchmarks.readers.ways import Measured, missing

OWN = ("memory-map", "training", "as-usual")
"""The others come from `benchmarks.readers` and are tested there."""


@pytest.mark.parametrize("name", OWN)
def test_every_way_gives_every_training_example_once(name: str, records: Path, tmp_path: Path) -> None:
    if said := missing(name, WAYS):
        pytest.skip(said)
    examples = tfrecords.open(records, "train")
    job = Job.of(records, "train", len(examples))
    if WAYS[name].files:
        job = job.on(str(write_arrays(job, tmp_path / "arrays")))
    module, function = WAYS[name].function.split(":")
    start_pass = getattr(import_module(module), function)(job)
    stored = {example.key: example for example in examples}
    for _ in range(2):
        found = {
            key.decode(): (image, length, digits)
            for batch in start_pass()
            for key, image, length, digits in zip(
                *(np.asarray(batch[name]) for name in ("key", "image", "length", "digits")), strict=True
            )
        }
        assert found.keys() == stored.keys() and list(found) != list(stored)
        for key, (image, length, digits) in found.items():
            np.testing.assert_array_equal(image, stored[key].image)
            assert image.dtype == np.uint8 and length == stored[key].length
            np.testing.assert_array_equal(digits, stored[key].digits)


@pytest.mark.slow
def test_the_command_prints_a_row_a_way_and_leaves_nothing(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--only", "training,memory-map", "--repeats", "1", "--output", str(tmp_path)]
    assert main(["--data", str(records), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [WAYS[name].title for name in ("memory-map", "training")]
    assert {row[2] for row in rows} == {str(len(tfrecords.open(records, "train")))}
    assert rows[0][5] == rows[1][6] == "1.00"
    assert lines[-2].startswith(("pass  training_dataset: ", "FAIL  training_dataset: "))
    assert not any(tmp_path.iterdir())


def test_ratios_and_verdicts_are_those_of_the_numbers() -> None:
    rows = {"memory-map": Measured(1000, 0.001), "training": Measured(1000, 0.01), "grain": Measured(900, 0.05)}
    lines = report(rows)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()][2:]
    assert [row[4:] for row in cells] == [
        ["1,000,000", "1.00", "10.00"],
        ["100,000", "0.10", "1.00"],
        ["18,000", "0.02", "0.18"],
    ]
    assert lines[-2] == "WRONG: not all ways gave the same number of examples."
    assert lines[-1] == "pass  training_dataset: 100,000 examples/s, at least 90,000"
    assert steps_line(Steps(10.0, 9.6)).startswith("pass  steps on real input against steps in memory: 0.960")
    assert steps_line(Steps(10.0, 9.4)).startswith("FAIL")


@pytest.mark.slow
def test_steps_are_timed_on_both_kinds_of_batches(records: Path) -> None:
    steps = compare_steps(records, "compact", steps=1, batch_size=4)
    assert 0 < steps.in_memory < 1000 and 0 < steps.real < 1000
    assert steps.ratio == steps.real / steps.in_memory


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "nothing"], "Received: nothing"),
        (["--repeats", "0"], "Received: 0 and 0"),
        (["--data", "nowhere"], "nowhere is not a dataset directory"),
    ],
)
def test_wrong_options_are_refused(
    records: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(records), *options])
    assert said in capsys.readouterr().err
