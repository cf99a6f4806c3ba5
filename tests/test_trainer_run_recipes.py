"""Settings that models were published with: the defaults below files and flags."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import defaults
from trainer.__main__ import COMMANDS
from trainer.models import MODELS
from trainer.run.config import AugmentConfig, TrainConfig
from trainer.run.directory import CONFIG
from trainer.run.settings import Settings

PATHS = {"data": Place("records"), "run_dir": Place("run")}
STILL = AugmentConfig(contrast=0.0, brightness=0.0, invert=0.0)
# Columns of the table: optimizer, batch, epochs; and what all have in common.
PUBLISHED: dict[str, dict[str, Any]] = {
    "mnist_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 12, "learning_rate": 1.0},
    "optdigits_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 25, "learning_rate": 1.0},
    "mnist_vgg": {
        "optimizer": "sgd",
        "global_batch_size": 32,
        "epochs": 3,
        "learning_rate": 0.03,
        "schedule": "cosine",
        "momentum": 0.9,
        "nesterov": True,
    },
    "barcode": {
        "optimizer": "adam",
        "global_batch_size": 256,
        "epochs": 80,
        "learning_rate": 0.003,
        "schedule": "cosine",
        "epsilon": 1e-4,
        "augment": AugmentConfig(contrast=0.0, brightness=0.0, invert=0.0, rotate=36.0, translate=0.1),
    },
    "conv2": {
        "optimizer": "sgd",
        "global_batch_size": 200,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": True,
        "decay": 1e-6,
    },
}
COMMON = {
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "keep": "last",
    "augment": STILL,
}


def _config(**flags: Any) -> TrainConfig:
    return Settings.read(None, {**PATHS, **flags}).config


# Our networks for one digit have recipes of our own.
@pytest.mark.parametrize("name", sorted(set(MODELS) - {"digits", "barcode_residual"}))
def test_a_model_alone_gives_the_settings_that_it_was_published_with(name: str) -> None:
    expected = TrainConfig(model=name, **({**COMMON, **PUBLISHED[name]} if name in PUBLISHED else {}))
    assert _config(model=name) == expected


def test_flags_and_files_win_over_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text('model = "barcode"\nlearning_rate = 0.002\nepochs = 7\n[augment]\nrotate = 5.0\n')
    config = Settings.read(Place(path), {**PATHS, "epochs": 9, "translate": 0.2}).config
    assert (config.optimizer, config.epsilon, config.global_batch_size) == ("adam", 1e-4, 256)
    assert (config.learning_rate, config.epochs) == (0.002, 9)
    assert (config.augment.rotate, config.augment.translate, config.augment.invert) == (5.0, 0.2, 0.0)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"model": "mnist_cnn", "optimizer": "sgd"}, {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.0}),
        ({"model": "mnist_cnn", "optimizer": "adamw"}, {"learning_rate": 1.5e-3, "weight_decay": 0.05}),
        ({"model": "barcode", "optimizer": "sgd"}, {"epsilon": 1e-7, "learning_rate": 0.01}),
        ({"model": "conv2", "optimizer": "adam"}, {"momentum": 0.0, "nesterov": False, "decay": 0.0}),
        ({"model": "conv2", "schedule": "cosine"}, {"momentum": 0.9, "nesterov": True, "decay": 0.0}),
        ({"model": "conv2", "momentum": 0.0}, {"nesterov": False, "decay": 1e-6}),
        ({"model": "compact", "optimizer": "adadelta"}, {"learning_rate": 1.0, "schedule": "cosine"}),
        ({"optimizer": "adam"}, {"model": "compact", "learning_rate": 0.001, "epochs": 30}),
    ],
)
def test_another_choice_drops_what_the_recipe_chose_for_its_own(
    flags: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = _config(**flags)
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"optimizer": "sgd", "weight_decay": 0.1}, "weight_decay must be 0 .* than adamw. Received: 0.1 for sgd"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum must be 0, .* than sgd. Received: momentum 0.9 for adam"),
        ({"momentum": 0.5}, "momentum must be 0, and nesterov off, .* Received: momentum 0.5 for adamw"),
        ({"nesterov": True}, r"momentum must be 0, and nesterov off, .* Received: momentum 0\.0, nesterov for adamw"),
        ({"optimizer": "sgd", "nesterov": True}, r"nesterov needs a momentum above 0\. Received: 0.0"),
        ({"optimizer": "sgd", "epsilon": 1e-3}, "epsilon must be 1e-07 for sgd, which has none. Received: 0.001"),
        ({"decay": 0.1}, "decay must be 0 unless the schedule is constant. Received: 0.1 for cosine"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, adadelta, adam, sgd. Received: lion"),
        ({"epsilon": 0.0}, "epsilon must be above 0. Received: 0.0"),
        ({"momentum": 1.0}, "momentum must be 0 to below 1. Received: 1.0"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _config(**flags)


def test_a_finished_run_s_configuration_gives_the_same_settings(tmp_path: Path) -> None:
    config = _config(model="conv2", momentum=0.5)
    path = tmp_path / CONFIG
    path.write_text(json.dumps({**config.to_dict(), "reads_length": True, "image_shape": [54, 54, 3]}))
    assert Settings.read(Place(path), PATHS).config == config
    # A run of before there were other optimizers.
    old = TrainConfig(model="vgg", learning_rate=0.01).to_dict()
    for name in ("optimizer", "schedule", "decay", "momentum", "nesterov", "epsilon", "clip_norm"):
        del old[name]
    path.write_text(json.dumps(old))
    assert Settings.read(Place(path), PATHS).config == TrainConfig(model="vgg", learning_rate=0.01)


def test_help_says_that_defaults_depend_on_the_model_and_print_config_shows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main("trainer", "", COMMANDS, ["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Defaults depend on the model and the optimizer. Those shown above are of compact" in text
    assert all(name in text for name in PUBLISHED)
    assert f"peak learning rate (default: {defaults(TrainConfig)['learning_rate']})" in text
    options = ["train", "--data", "records", "--run-dir", "run", "--model", "mnist_cnn", "--print-config"]
    assert main("trainer", "", COMMANDS, options) == 0
    printed = capsys.readouterr().out
    assert 'optimizer = "adadelta"\nlearning_rate = 1.0\nschedule = "constant"\n' in printed
