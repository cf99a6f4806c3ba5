"""A run goes on exactly where it stopped: killed, asked to stop, or with a damaged checkpoint."""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from tests import tiny
from tests.forgetful import ForgetfulDisk
from tests.forked import Forked
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.fit import loop as training
from trainer.fit.checkpoint import Checkpoints, Progress
from trainer.fit.optimizer import make_optimizer, make_schedule
from trainer.fit.resume import describe_run, open_run, prepare_directory
from trainer.fit.signals import StopRequest
from trainer.fit.step import StepTotals, make_masks_stateless, read_totals
from trainer.input.records import Records
from trainer.models import MODELS
from trainer.run import weights
from trainer.run.config import TrainConfig
from trainer.run.directory import CHECKPOINTS, CONFIG, HISTORY, WEIGHTS, Run, write_json
from trainer.run.weights import load_model

PARTIAL = f".partial.{'0' * 32}"
OPTIONS = [
    "--model",
    "tiny",
    "--epochs",
    "2",
    "--global-batch-size",
    "36",
    "--learning-rate",
    "0.02",
    "--ema-decay",
    "0.9",
]


def _command(records: Path, run_dir: Path, *options: str) -> list[str]:
    return ["train", "--data", str(records), "--run-dir", str(run_dir), *OPTIONS, *options]


def _run(records: Path, run_dir: Path, kill: str, *options: str) -> tuple[int, str, str]:
    """Trains in a process of its own; returns its exit code, output and errors."""
    return Forked(tiny.run, _command(records, run_dir, "--deterministic", *options), kill).wait()


def saved_state(run_dir: Path) -> dict[str, bytes]:
    """Returns the bytes of every variable: of the last checkpoint and of the best weights."""
    with np.load(sorted((run_dir / CHECKPOINTS).iterdir())[-1]) as file:
        state = {name: file[name].tobytes() for name in file.files if name != "progress"}
    with h5py.File(run_dir / WEIGHTS) as weights:
        weights.visititems(
            lambda name, item: state.update({f"best/{name}": item[()].tobytes()} if hasattr(item, "dtype") else {})
        )
    return state


def saved_history(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the lines of the history, without the times."""
    lines = [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, of seven steps an epoch."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    code, _, errors = _run(records, run_dir, "")
    assert code == 0, errors
    # Neither oneDNN's complaint nor a bar, where there is no terminal.
    assert "oneDNN supports" not in errors and "steps/s" not in errors
    return run_dir


@pytest.mark.slow
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(records: Path, tmp_path: Path, whole: Path) -> None:
    run_dir = tmp_path / "run"
    often = ["--checkpoint-steps", "3", "--keep-checkpoints", "2"]
    # Before the first checkpoint; when the first epoch's weights are saved, but the checkpoint that knows of them is
    # not; in the midst of an epoch; and to the end.
    left = [run_dir / f"{PARTIAL}.history.jsonl", run_dir / CHECKPOINTS / f"{PARTIAL}.step-0000000003.npz"]
    for kill in ("steps:2", "weights", "steps:6", ""):
        for path in left if kill == "" else ():
            path.write_bytes(b"half")
        code, output, errors = _run(records, run_dir, kill, *often)
        assert code == (-signal.SIGKILL if kill else 0), errors
    assert "Resuming after step " in output and not any(path.exists() for path in left)
    assert saved_state(run_dir) == saved_state(whole)
    assert saved_history(run_dir) == saved_history(whole)
    assert len(list((run_dir / CHECKPOINTS).iterdir())) == 2
    assert len(list((run_dir / "tensorboard").iterdir())) == 1


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    yield


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_a_signal_saves_at_once_and_the_same_command_goes_on(
    records: Path,
    tmp_path: Path,
    own: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    def read(result: Any) -> StepTotals:
        monkeypatch.setattr(training, "read_totals", read_totals)
        os.kill(os.getpid(), number)
        return read_totals(result)

    monkeypatch.setattr(training, "read_totals", read)
    handler = signal.getsignal(number)
    assert main("trainer", "", COMMANDS, _command(records, tmp_path / "run")) == code
    # Step 1 was read while step 2 ran; step 3 carried the wish, step 4 ran when it was read.
    assert capsys.readouterr().err.endswith("stopped after step 4 and saved; run the same command again to resume\n")
    assert [path.name for path in (tmp_path / "run" / CHECKPOINTS).iterdir()] == ["step-0000000004.npz"]
    assert signal.getsignal(number) == handler


def test_a_second_interrupt_stops_at_once() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_another_configuration_refused(
    records: Path, whole: Path, own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    replicas = len(tf.config.list_logical_devices("CPU"))
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert main("trainer", "", COMMANDS, _command(records, whole, "--seed", "1")) == 1
    message = capsys.readouterr().err
    assert "already contains a run: use --overwrite to replace it, another --run-dir" in message
    differs = "deterministic False instead of True; " + (f"replicas {replicas} instead of 1; " if replicas > 1 else "")
    assert message.endswith(f"Received: {differs}seed 1 instead of 0\n")
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_a_run_in_one_process_goes_on_too_and_then_says_that_it_is_finished(
    records: Path, tmp_path: Path, own: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    save = training.save_weights

    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_weights", fail)
    assert main("trainer", "", COMMANDS, _command(records, run_dir, "--checkpoint-steps", "2")) == 130
    monkeypatch.setattr(training, "save_weights", save)
    assert main("trainer", "", COMMANDS, _command(records, run_dir)) == 0
    assert "Resuming after step 6, in epoch 1." in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.is_file()}
    assert main("trainer", "", COMMANDS, _command(records, run_dir)) == 0
    assert "is already complete; use --overwrite to retrain." in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.is_file()} == before
    for path in (run_dir / CHECKPOINTS).iterdir():
        path.unlink()
    assert main("trainer", "", COMMANDS, _command(records, run_dir)) == 1
    assert "no complete checkpoint to resume from: use --overwrite" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_a_run_that_goes_on_needs_no_more_what_it_started_from(
    records: Path,
    whole: Path,
    tmp_path: Path,
    own: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    def command(name: str) -> list[str]:
        options = ["--init", str(tmp_path / "source"), "--epochs", "1", "--checkpoint-steps", "2"]
        return _command(records, tmp_path / name, *options)

    save = training.save_weights
    shutil.copytree(whole, tmp_path / "source")
    monkeypatch.setattr(training, "save_weights", fail)
    assert main("trainer", "", COMMANDS, command("killed")) == 130
    monkeypatch.setattr(training, "save_weights", save)
    # Where no checkpoint is whole, it starts as it did at first.
    shutil.copytree(tmp_path / "killed", tmp_path / "damaged")
    for path in (tmp_path / "damaged" / CHECKPOINTS).iterdir():
        path.write_bytes(b"damaged")
    assert main("trainer", "", COMMANDS, [*command("damaged"), "--profile"]) == 0
    told = "--profile recorded nothing: it begins at step 11 of a start, which had 7 steps.\n"
    assert told in capsys.readouterr().out
    assert not (tmp_path / "damaged" / "tensorboard" / "plugins").exists()
    shutil.rmtree(tmp_path / "source")
    assert main("trainer", "", COMMANDS, command("killed")) == 0
    assert "Resuming after step 6, in epoch 1." in capsys.readouterr().out
    for found, expected in zip(_best(tmp_path / "killed"), _best(tmp_path / "damaged"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # What starts anew needs it, and says so before it deletes anything.
    before = saved_state(tmp_path / "killed")
    assert main("trainer", "", COMMANDS, [*command("killed"), "--overwrite"]) == 1
    assert main("trainer", "", COMMANDS, command("new")) == 1
    assert capsys.readouterr().err.count(f"error: {tmp_path / 'source'} is not a run directory: it does not exist") == 2
    assert saved_state(tmp_path / "killed") == before and not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_a_start_reads_the_manifest_and_the_weights_to_start_from_once(
    records: Path, whole: Path, tmp_path: Path, own: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    loaded: list[Path] = []

    def load(run: Run) -> keras.Model:
        loaded.append(run.directory)
        return load_model(run)

    monkeypatch.setattr(weights, "load_model", load)
    with _opened_files(opened):
        command = _command(records, tmp_path / "run", "--epochs", "1", "--init", str(whole))
        assert main("trainer", "", COMMANDS, command) == 0
    for path in (records / MANIFEST, tmp_path / "run" / CONFIG, whole / CONFIG):
        assert opened.count(str(path)) == 1
    assert loaded == [whole]


@contextlib.contextmanager
def _opened_files(opened: list[str]) -> Iterator[None]:
    """Adds the path of each file that Python opens in the block to `opened`."""
    is_on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on and event == "open":
            opened.append(str(arguments[0]))

    # A hook can never be removed.
    sys.addaudithook(hook)
    try:
        yield
    finally:
        is_on = False


def _best(run_dir: Path) -> list[np.ndarray]:
    return [weights for weights in load_model(Run.load(run_dir)).get_weights() if weights.dtype == np.float32]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_numbers_that_blow_up_stop_the_run_with_step_and_keys(
    records: Path, tmp_path: Path, own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    options = ["--learning-rate", "1e30", "--warmup-epochs", "0"]
    assert main("trainer", "", COMMANDS, _command(records, run_dir, *options)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: Step 2 gave a loss or gradients that are not finite: it changed no weight")
    assert "train/" in line and "and 31 more" in line and line.endswith("Received: loss nan")
    assert not (run_dir / WEIGHTS).exists()


@pytest.mark.usefixtures("quick_steps")
def test_a_damaged_shard_is_named(records: Path, tmp_path: Path, own: None, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in records.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    shard = sorted(data.glob("*-train.tfrecord-*"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert main("trainer", "", COMMANDS, _command(data, tmp_path / "run")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"The split train cannot be read: `python -m tfrecords validate {data}` lists all errors." in line
    assert f"Received: {shard}" in line


def _built(seed: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    keras.utils.set_random_seed(seed)
    model = tiny.build((54, 54, 3))
    optimizer = make_optimizer(TrainConfig(), make_schedule(TrainConfig(), 10))
    optimizer.build(model.trainable_variables)
    return model, optimizer


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, fresh = (_built(seed) for seed in range(3))
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(5, Progress(step=5), *first)
    checkpoints.save(7, Progress(step=7, best={"epoch": 1}), *second)
    newest = tmp_path / "step-0000000007.npz"
    whole = newest.read_bytes()
    assert checkpoints.restore(*fresh) == Progress(step=7, best={"epoch": 1})
    for found, saved in zip(fresh[0].weights, second[0].weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), saved.numpy())
    for damaged in (b"", whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        newest.write_bytes(damaged)
        caplog.clear()
        assert checkpoints.restore(*fresh) == Progress(step=5)
        assert caplog.messages == [f"{newest} is damaged and skipped."]
    for found, saved in zip(fresh[0].weights, first[0].weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), saved.numpy())


def test_no_power_cut_leaves_a_run_without_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor with half of the best weights."""
    model, optimizer = _built(0)
    checkpoints = Checkpoints(tmp_path / CHECKPOINTS, keep=1)
    seen: list[dict[str, bytes]] = []
    disk = ForgetfulDisk(tmp_path, monkeypatch, lambda: seen.append(disk.files()))
    for step in (1, 2):
        weights.save_weights(model, tmp_path / WEIGHTS)
        kept = (tmp_path / WEIGHTS).read_bytes()
        assert disk.files()[WEIGHTS] == kept
        checkpoints.save(step, Progress(step=step), model, optimizer)
    for index, files in enumerate(seen):
        for name, data in files.items():
            (tmp_path / "after" / str(index) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "after" / str(index) / name).write_bytes(data)
    restored = [
        Checkpoints(tmp_path / "after" / str(index) / CHECKPOINTS, keep=1).restore(model, optimizer)
        for index in range(len(seen))
    ]
    steps = [progress.step if progress else 0 for progress in restored]
    assert steps == sorted(steps) and set(steps) == {0, 1, 2}


def test_checkpoints_of_a_run_that_nobody_knows_are_not_gone_on_from(tmp_path: Path) -> None:
    content = {**TrainConfig().to_dict(), "image_shape": [54, 54, 3], "dataset": {"crop": asdict(CropSpec())}}
    (tmp_path / CHECKPOINTS).mkdir()
    (tmp_path / CHECKPOINTS / "step-0000000039.npz").touch()
    with pytest.raises(UserError, match=r"has checkpoints but no config\.json: .* Received: step-0000000039\.npz$"):
        prepare_directory(tmp_path, content, overwrite=False)
    assert not (tmp_path / CONFIG).exists()
    prepare_directory(tmp_path, content, overwrite=True)
    assert (tmp_path / CONFIG).is_file() and not (tmp_path / CHECKPOINTS).exists()


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    model, optimizer = _built(0)
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 9, 10):
        checkpoints.save(step, Progress(step=step), model, optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000009.npz", "step-0000000010.npz"]


def test_what_killed_runs_left_of_checkpoints_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"step-0000000009.npz", f"{PARTIAL}.notes.txt", f"{PARTIAL[1:]}.step-0000000009.npz"}
    for name in (*kept, f"{PARTIAL}.step-0000000009.npz", f"{PARTIAL}.step-0000000010.npz"):
        (tmp_path / name).touch()
    Checkpoints(tmp_path, keep=2).remove_partial()
    assert {path.name for path in tmp_path.iterdir()} == kept
    Checkpoints(tmp_path / "new", keep=2).remove_partial()


def _opened(directory: Path, before: dict[str, Any], now: dict[str, Any]) -> Run:
    """Opens a run that the last version started with one configuration and that is resumed with another."""
    facts: dict[str, Any] = {"image_shape": [54, 54, 3], "dataset": {"crop": asdict(CropSpec())}}
    directory.mkdir()
    write_json(directory / CONFIG, {**TrainConfig().to_dict(), **facts, **before})
    # The last version stated no labels, and all its models read the length.
    dataset = {**facts["dataset"], **asdict(Labels())}
    content = {**TrainConfig().to_dict(), **facts, "dataset": dataset, "reads_length": True}
    return open_run(directory, {**content, **now})


def test_more_epochs_are_answered_with_what_to_type(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    rule = (
        rf"^{folder} cannot be extended: its learning rate falls to 0 over 1 epoch\. To train on from its weights, "
        rf"type `python -m trainer train --config '{folder}/config\.json' --run-dir '{folder}-more' --init '{folder}' "
        r"--epochs 2`\. Received: epochs 3$"
    )
    with pytest.raises(UserError, match=rule):
        _opened(folder, {"epochs": 1}, {"epochs": 3})
    constant = {"epochs": 2, "schedule": "constant"}
    with pytest.raises(UserError, match=r"cannot be extended: it has 2 epochs\. To train on from its weights, type "):
        _opened(tmp_path / "constant", constant, {**constant, "epochs": 3})


@pytest.mark.parametrize(
    ("now", "received"),
    [
        ({"epochs": 1}, "epochs 1 instead of 2"),
        ({"epochs": 3, "seed": 1}, "epochs 3 instead of 2; seed 1 instead of 0"),
        ({"precision": "mixed_bfloat16", "init": "/a"}, "init /a instead of None; precision mixed_bfloat16 instead .*"),
    ],
)
def test_other_differences_are_listed(tmp_path: Path, now: dict[str, Any], received: str) -> None:
    with pytest.raises(UserError, match=rf"use --overwrite to replace it, .* Received: {received}$"):
        _opened(tmp_path / "run", {"epochs": 2}, {"epochs": 2, **now})


def test_a_source_recorded_as_a_relative_path_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _opened(tmp_path / "run", {"init": "runs/a"}, {"init": str(tmp_path / "runs" / "a")}).config.init == "runs/a"
    assert _opened(tmp_path / "other", {"init": "pretrained"}, {"init": "pretrained"})


def test_what_is_saved_holds_in_every_directory(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(records)
    for init, saved in (("runs/a", str(tmp_path / "runs" / "a")), ("pretrained", "pretrained"), (None, None)):
        content = describe_run(TrainConfig(init=init), Records.open(Path("data")))
        assert content["data"] == str(records.resolve()) and content["init"] == saved


def test_masks_follow_from_seed_and_step_alone() -> None:
    step = keras.Variable(3, dtype="int64")

    def mask(seed: int) -> np.ndarray:
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5)])
        make_masks_stateless(model, seed, step)
        return np.asarray(model(np.ones((2, 64), np.float32), training=True))

    first = mask(1)
    np.testing.assert_array_equal(mask(1), first)
    assert (mask(2) != first).any()
    step.assign(4)
    assert (mask(1) != first).any()
