"""A run that follows a stream: a snapshot an epoch, resumed and repeated to the bit, on one host and two."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests import tiny
from tests.conftest import Shared
from tests.growing import Growing
from tests.stores import Bucket
from tests.test_trainer_fit_resume import saved_state
from tfrecords.cli import main
from tfrecords.dataset.pins import pinned
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.__main__ import COMMANDS
from trainer.distribute.cluster import Cluster
from trainer.fit import follow, loop
from trainer.fit.optimizer import EpochSchedule, make_schedule
from trainer.input.records import Records
from trainer.models import MODELS
from trainer.run import stream as choices
from trainer.run.config import TrainConfig
from trainer.run.directory import CHECKPOINTS, HISTORY

OPTIONS = ["--model", "tiny", "--global-batch-size", "8", "--learning-rate", "0.02", "--ema-decay", "0.9"]
OPTIONS += ["--epochs", "3", "--deterministic"]


@pytest.fixture(scope="session")
def dealt(drawn: Path, shared: Shared) -> Path:
    """A dataset of shards of eight examples, to deal to generations."""

    def fill(folder: Path) -> None:
        options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder / "svhn"), "--jitters", "2"]
        options += ["--validation-fraction", "0.3", "--examples-per-shard", "8", "--seed", "3"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0

    return shared("dealt", fill) / "svhn"


@pytest.fixture
def stream(dealt: Path, tmp_path: Path) -> Growing:
    """A stream with one snapshot, of two training shards."""
    found = Growing(tmp_path / "stream", dealt)
    found.grow(0, train=2, validation=1)
    return found


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch, quick_steps: None) -> None:
    """The model `tiny` in this process."""
    monkeypatch.setitem(MODELS, "tiny", tiny.build)


def _train(stream: Growing | Path, run_dir: Path, *options: str) -> int:
    data = stream.path if isinstance(stream, Growing) else stream
    return main("trainer", "", COMMANDS, command_of(data, run_dir, *options))


def command_of(data: Path, run_dir: Path, *options: str) -> list[str]:
    return ["train", "--data", str(data), "--run-dir", str(run_dir), *OPTIONS, *options]


def history_of(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def snapshots_of(run_dir: Path) -> list[int]:
    return [line["snapshot"] for line in history_of(run_dir)]


def _at_each_epoch(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Calls a function whenever the chief looks for the newest snapshot, with the number of the call from 1."""
    newest, calls = choices.newest, iter(range(1, 1000))

    def look(place: Place) -> int:
        act(next(calls))
        return newest(place)

    monkeypatch.setattr(follow, "newest", look)


def test_each_epoch_has_the_newest_snapshot_and_a_replay_ends_with_the_same_bits(
    stream: Growing,
    tmp_path: Path,
    tiny_model: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        _at_each_epoch(patch, lambda call: stream.grow(3 * call, 2, validation=int(call == 2)))
        assert _train(stream, tmp_path / "run", "--follow") == 0
    output = capsys.readouterr().out
    assert f"Training on snapshot 0 of {stream.path}, and on the newest one in each later epoch; pinned in " in output
    lines = history_of(tmp_path / "run")
    assert [line["snapshot"] for line in lines] == [0, 3, 6]
    steps = np.diff([0, *(line["step"] for line in lines)])
    assert (np.diff(steps) > 0).all()
    assert "  snapshot 6\n" in output and max(map(len, output.splitlines()[1:4])) <= 80
    # Validation stays that of the first snapshot, and the newest one is scored where it differs.
    assert ["validation_newest_loss" in line for line in lines] == [False, False, True]
    assert all("validation_loss" in line and "validation_confidence" in line for line in lines)
    pins = pinned(Place(stream.path))
    assert sorted(pins.values()) == [0, 3, 6] and all(name.startswith("run-run-") for name in pins)

    stream.grow(20)
    assert (
        main("trainer", "", COMMANDS, ["train", "--replay", f"{tmp_path}/run", "--run-dir", f"{tmp_path}/again"]) == 0
    )
    assert history_of(tmp_path / "again") == lines
    assert sorted(pinned(Place(stream.path)).values()) == [0, 0, 3, 3, 6, 6]
    # Once more, resumed in the end: nothing to do, and the run that it repeats is not needed any more.
    (tmp_path / "run" / HISTORY).rename(tmp_path / "gone")
    assert (
        main(
            "trainer",
            "",
            COMMANDS,
            ["train", "--config", f"{tmp_path}/again/config.json", "--run-dir", f"{tmp_path}/again"],
        )
        == 0
    )
    assert "is already complete" in capsys.readouterr().out


def _stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    count = iter(range(steps))
    read = loop.read_totals

    def reading(result: Any) -> Any:
        if next(count, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(result)

    monkeypatch.setattr(loop, "read_totals", reading)


def test_a_pinned_run_is_the_same_whether_or_not_fifty_snapshots_arrive(
    stream: Growing,
    tmp_path: Path,
    tiny_model: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        _stop_after(patch, 2)
        assert _train(stream, tmp_path / "busy") == 128 + signal.SIGTERM
    stream.grow(1)
    for number in range(2, 51):
        stream.commit(number, stream.parts)
    capsys.readouterr()
    assert _train(stream, tmp_path / "busy") == 0
    output = capsys.readouterr().out
    assert "Resuming after step " in output and f"Training on snapshot 0 of {stream.path}; pinned in " in output
    assert "snapshot" not in history_of(tmp_path / "busy")[0]
    # A new run has the newest one, and --at any.
    for options, number in (((), 50), (("--at", "0"), 0)):
        assert _train(stream, tmp_path / f"at-{number}", *options) == 0
        config = json.loads((tmp_path / f"at-{number}" / "config.json").read_text())
        assert config["dataset"]["snapshot"] == number
    # One run had its first steps before all arrived, the other one has seen nothing else.
    assert saved_state(tmp_path / "busy") == saved_state(tmp_path / "at-0") != saved_state(tmp_path / "at-50")
    assert history_of(tmp_path / "busy") == history_of(tmp_path / "at-0")
    capsys.readouterr()
    for changed, received in ((["--at", "0"], "at 0 instead of None"), (["--follow"], "follow True instead of False")):
        assert _train(stream, tmp_path / "busy", *changed) == 1
        assert received in capsys.readouterr().err


def _grow_twice(stream: Growing, before: int, call: int) -> None:
    if call < 3:
        stream.grow(before + call)


def test_a_run_without_an_end_follows_until_it_is_stopped(
    stream: Growing,
    tmp_path: Path,
    tiny_model: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--follow", "--epochs", "0", "--patience", "1", "--warmup-epochs", "1"]
    for start in range(2):
        with monkeypatch.context() as patch:
            _at_each_epoch(patch, partial(_grow_twice, stream, 10 * start))
            _stop_after(patch, 15)
            assert _train(stream, tmp_path / "run", *options) == 128 + signal.SIGTERM
        captured = capsys.readouterr()
        assert "stopped after step " in captured.err
    assert re.search(r"^epoch 6  .* snapshot 11$", captured.out, re.MULTILINE) and "Resuming" in captured.out
    rates = [line["learning_rate"] for line in history_of(tmp_path / "run")]
    assert rates[0] < rates[1] and len(rates) > 5 and rates[1:] == pytest.approx([0.02] * (len(rates) - 1))
    # A replay has the epochs that were finished.
    assert (
        main("trainer", "", COMMANDS, ["train", "--replay", f"{tmp_path}/run", "--run-dir", f"{tmp_path}/again"]) == 0
    )
    assert history_of(tmp_path / "again") == history_of(tmp_path / "run")


def test_a_stream_that_cannot_be_read_or_written_for_a_while_stops_no_run(
    stream: Growing,
    tmp_path: Path,
    tiny_model: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def act(call: int) -> None:
        stream.grow(call)
        if call == 1:
            raise OSError(5, "Input/output error", "snapshots")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", "pins")

    _at_each_epoch(monkeypatch, act)
    monkeypatch.setattr(follow, "pin", refuse)
    assert _train(stream, tmp_path / "run", "--follow") == 0
    errors = capsys.readouterr().err
    assert snapshots_of(tmp_path / "run") == [0, 0, 2]
    assert errors.count("cannot be pinned") == 1 and "pins: Read-only file system" in errors
    assert "warning: snapshot 0 is used again: snapshots: Input/output error" in errors
    assert pinned(Place(stream.path)) == {}


def test_a_run_that_replaces_another_one_takes_over_its_pins(stream: Growing, tmp_path: Path, tiny_model: None) -> None:
    once = ["--epochs", "1"]
    assert _train(stream, tmp_path / "run", *once) == 0
    stream.grow(5)
    assert _train(stream, tmp_path / "run", *once, "--overwrite") == 0
    assert list(pinned(Place(stream.path)).values()) == [5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "7"], r"has the snapshots 0 to 0\. Received: snapshot 7$"),
        (["--follow", "--at", "0"], r"--follow, --at and --replay exclude each other\. Received: --follow, --at$"),
        (["--at", "-1"], r"at must be at least 0\. Received: -1$"),
        (["--epochs", "0"], r"epochs must be at least 1\. Received: 0$"),
        (
            ["--replay", "nowhere"],
            r"--replay must be a run that has finished an epoch: nowhere has no history\.jsonl\.$",
        ),
    ],
)
def test_wrong_choices_are_one_line(
    stream: Growing,
    tmp_path: Path,
    tiny_model: None,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options += ["--config", str(tmp_path / "empty.toml")]
    (tmp_path / "empty.toml").touch()
    assert _train(stream, tmp_path / "run", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


def test_settings_of_streams_need_a_stream(
    dealt: Path, tmp_path: Path, tiny_model: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--follow"], ["--at", "0"]):
        assert _train(dealt, tmp_path / "run", *options) == 1
        line = f"error: {options[0]} needs a stream: {dealt} has no stream.json. Received: {options[0]}\n"
        assert capsys.readouterr().err == line


def test_a_stream_without_a_snapshot_and_a_run_that_did_not_follow_are_one_line(
    dealt: Path, stream: Growing, tmp_path: Path, tiny_model: None, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Growing(tmp_path / "empty", dealt)
    assert _train(empty, tmp_path / "run") == 1
    assert capsys.readouterr().err == f"error: {empty.path} has no snapshot yet: the first batch makes one.\n"
    assert _train(stream, tmp_path / "run", "--epochs", "1", "--no-pin") == 0
    assert pinned(Place(stream.path)) == {}
    capsys.readouterr()
    assert _train(stream, tmp_path / "again", "--replay", str(tmp_path / "run")) == 1
    assert "error: --replay must be a run that has followed a stream" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_with_equal_epochs_the_rate_is_that_of_an_ordinary_run(schedule: str) -> None:
    config = TrainConfig(epochs=5, warmup_epochs=2.0, schedule=schedule, learning_rate=0.5)
    ordinary, followed = make_schedule(config, 10), EpochSchedule(config)
    for step in range(50):
        followed.begin(step // 10 * 10, step // 10, 10)
        np.testing.assert_allclose(followed(step), ordinary(step), rtol=1e-5, atol=1e-6)


def test_the_rate_goes_by_the_share_of_epochs_whatever_their_steps() -> None:
    schedule = EpochSchedule(TrainConfig(epochs=4, warmup_epochs=1.0, learning_rate=1.0))
    schedule.begin(0, 0, 10)
    assert [float(schedule(step)) for step in (0, 5)] == pytest.approx([0.0, 0.5])
    schedule.begin(10, 1, 1000)
    assert float(schedule(10)) == pytest.approx(1.0)
    schedule.begin(1010, 3, 4)
    step = keras.Variable(1012, dtype="int64")
    assert float(schedule(step)) == pytest.approx(0.5 * (1 + np.cos(np.pi * 2.5 / 3)))
    alone = EpochSchedule(TrainConfig(epochs=1, warmup_epochs=2.0, learning_rate=1.0))
    alone.begin(0, 0, 4)
    assert float(alone(2)) == pytest.approx(0.5)


class _Hosts:
    """Two hosts, of which this one is the second."""

    cluster = Cluster(("a:1", "b:2"), 1)

    def __init__(self, other: float) -> None:
        self.other = other

    def gather(self, value: float) -> list[float]:
        """Returns the values of both."""
        return [self.other, value]


def test_a_host_waits_for_a_snapshot_and_all_end_with_one_error_if_it_does_not_come(
    stream: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records.open(Place(stream.path), snapshot=0)
    monkeypatch.setattr(follow, "_POLL_S", 0.01)
    monkeypatch.setattr(follow, "WAIT_S", 0.05)
    here: Any = _Hosts(1.0)
    rule = (
        rf"^All hosts must see snapshot 4 of {stream.path} within 0 s\. Received: not host 2 of 2: .*has the snapshots"
    )
    with pytest.raises(UserError, match=rule):
        follow.moved(records, 4, here)
    with pytest.raises(UserError, match=r"Received: not host 1 of 2$"):
        follow.moved(records, 0, _Hosts(0.0))  # type: ignore[arg-type]
    monkeypatch.setattr(follow, "WAIT_S", 20)
    timer = threading.Timer(0.1, stream.grow, [4])
    timer.start()
    assert follow.moved(records, 4, here).snapshot == 4
    timer.join()


def test_evaluation_export_and_prediction_of_a_followed_run_are_as_ever(
    stream: Growing, tmp_path: Path, tiny_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at_each_epoch(monkeypatch, lambda call: stream.grow(call))
    run, data = str(tmp_path / "run"), str(stream.path)
    assert _train(stream, tmp_path / "run", "--follow", "--epochs", "2") == 0
    for command in (
        ["evaluate", "--run-dir", run, "--data", data, "--split", "validation"],
        ["predict", "--run-dir", run, "--data", data, "--split", "validation", "--output", f"{tmp_path}/found.csv"],
        ["report", "--run-dir", run],
    ):
        assert main("trainer", "", COMMANDS, command) == 0
    assert (tmp_path / "found.csv").read_text().count("\n") > 2
    assert len(list((tmp_path / "run" / CHECKPOINTS).iterdir())) == 2


def test_a_stream_and_a_run_in_a_bucket_are_followed_as_local_ones(
    stream: Growing, bucket: Bucket, tmp_path: Path, tiny_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(call: int) -> None:
        stream.grow(call, 2)
        bucket.put_folder(stream.path, "stream")

    bucket.put_folder(stream.path, "stream")
    address, cache = Place(f"{bucket.address}/stream"), ["--cache", str(tmp_path / "cache")]
    with monkeypatch.context() as patch:
        _at_each_epoch(patch, grow)
        command = ["--data", address.text, "--run-dir", f"{bucket.address}/run", *OPTIONS, "--follow", *cache]
        assert main("trainer", "", COMMANDS, ["train", *command]) == 0
    assert sorted(pinned(address).values()) == [0, 1, 2]
    again = ["train", "--replay", f"{bucket.address}/run", "--data", str(stream.path), "--run-dir", f"{tmp_path}/again"]
    assert main("trainer", "", COMMANDS, again) == 0
    there = Place(f"{bucket.address}/run") / HISTORY
    (tmp_path / HISTORY).write_bytes(there.read_bytes())
    assert history_of(tmp_path) == history_of(tmp_path / "again")
    assert snapshots_of(tmp_path) == [0, 1, 2]
