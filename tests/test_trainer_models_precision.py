"""Steps that XLA compiles, and layers that compute in bfloat16: the same losses, float32 weights, exact runs."""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecords
from tests import host_losses, tiny
from tests.test_trainer_fit_resume import OPTIONS, saved_state
from tfrecords.cli import main
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.distribute.cluster import Cluster
from trainer.distribute.strategy import make_strategy
from trainer.fit import loop as training
from trainer.fit.resume import describe_run, open_run
from trainer.input.records import Records
from trainer.models import MODELS, build_model, computing_in
from trainer.models.layers import Standardise, TrainingStandardise
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, HISTORY, WEIGHTS, Run, write_json


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.slow
def test_a_compiled_step_has_the_losses_of_one_that_is_not(several: bool) -> None:
    strategy = make_strategy(Cluster(), "cpu", 1.0) if several else tf.distribute.OneDeviceStrategy("/cpu:0")
    plain, compiled = (host_losses.losses(Cluster(), strategy, jit_compile=jit) for jit in (False, True))
    np.testing.assert_allclose(compiled, plain, rtol=1e-4)
    assert plain[3] < plain[0]


def test_losses_fall_in_mixed_precision_too_but_are_not_quite_the_same() -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    plain, mixed = (host_losses.losses(Cluster(), strategy, precision=name) for name in ("float32", "mixed_bfloat16"))
    assert mixed != plain and mixed[3] < mixed[0]
    np.testing.assert_allclose(mixed, plain, rtol=0.02)


def test_a_model_in_mixed_precision_has_float32_weights_and_answers() -> None:
    with computing_in("mixed_bfloat16"):
        mixed = build_model("compact", (54, 54, 3))
    assert keras.config.dtype_policy().name == "float32"
    plain = build_model("compact", (54, 54, 3))
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    assert "bfloat16" in {layer.compute_dtype for layer in mixed.layers}
    mixed.set_weights(plain.get_weights())
    images = np.random.default_rng(0).random((4, 54, 54, 3), np.float32) * 255
    for output, expected in zip(mixed(images).values(), plain(images).values(), strict=True):
        assert output.dtype == tf.float32
        np.testing.assert_allclose(output, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_pictures_are_standardised_in_float32_in_mixed_precision_too(name: str) -> None:
    images = np.random.default_rng(0).random((2, 24, 24, 3), np.float32) * 4 + 127.3
    with computing_in("mixed_bfloat16"):
        model = build_model(name, (24, 24, 3))
        first = model.layers[1]
        if isinstance(first, TrainingStandardise):
            first.mean.assign(np.full(first.mean.shape, 129.1))
            first.deviation.assign(np.full(first.deviation.shape, 1.3))
        found = keras.Model(model.input, first.output)(images)
    assert found.dtype == tf.float32
    if isinstance(first, TrainingStandardise):
        expected = (images - np.float32(129.1)) / np.float32(1.3)
    else:
        expected = Standardise(first.scale)(images) if isinstance(first, Standardise) else images / 255
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _train(records: Path, run_dir: Path, *options: str) -> int:
    return main(
        "trainer", "", COMMANDS, ["train", "--data", str(records), "--run-dir", str(run_dir), *OPTIONS, *options]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_a_run_with_both_goes_on_exactly_and_leaves_a_model_like_any_other(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    # XLA compiles a step for each size of batch: there is one.
    assert len(tfrecords.open(records, "train")) % 40 == 0
    both = ["--precision", "mixed_bfloat16", "--jit-compile", "--global-batch-size", "40"]
    assert _train(records, tmp_path / "whole", *both) == 0

    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_weights", fail)
        assert _train(records, tmp_path / "run", *both, "--checkpoint-steps", "2") == 130
    assert _train(records, tmp_path / "run") == 1
    assert "jit_compile False instead of True; precision float32 instead of mixed_bfloat16" in capsys.readouterr().err
    assert _train(records, tmp_path / "run", *both) == 0
    assert "Resuming after step 6, in epoch 1." in capsys.readouterr().out
    assert saved_state(tmp_path / "run") == saved_state(tmp_path / "whole")
    content = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert content["precision"] == "mixed_bfloat16" and content["jit_compile"] is True
    kinds = set()
    with h5py.File(tmp_path / "run" / WEIGHTS) as file:
        file.visititems(lambda _, item: kinds.add(str(item.dtype)) if hasattr(item, "dtype") else None)
    # Random states of layers are integers.
    assert "float32" in kinds and kinds <= {"float32", "uint32", "int64"}
    first, last = map(json.loads, (tmp_path / "run" / HISTORY).read_text().splitlines())
    assert last["train_loss"] < first["train_loss"]
    evaluate = ["evaluate", "--run-dir", str(tmp_path / "run"), "--data", str(records)]
    assert main("trainer", "", COMMANDS, evaluate) == 0


def test_a_run_from_before_a_setting_stood_at_its_default(records: Path, tmp_path: Path) -> None:
    now = describe_run(TrainConfig(seed=3), Records.open(records))
    before = {name: value for name, value in now.items() if name not in ("precision", "jit_compile")}
    write_json(tmp_path / CONFIG, before)
    assert Run.load(tmp_path).config == TrainConfig(seed=3)
    assert open_run(tmp_path, now).content == now
    with pytest.raises(UserError, match=r"Received: jit_compile True instead of False$"):
        open_run(tmp_path, describe_run(TrainConfig(seed=3, jit_compile=True), Records.open(records)))
