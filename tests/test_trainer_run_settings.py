"""Settings: from a file, from flags, and back to a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import settings_of
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.models import FINDERS, MODELS
from trainer.run.config import AugmentConfig, RunOptions, TrainConfig
from trainer.run.directory import CONFIG, Run
from trainer.run.settings import Settings

PATHS = {"data": "records", "run_dir": "run"}


def _file(folder: Path, text: str, name: str = "train.toml") -> Place:
    path = folder / name
    path.write_text(text)
    return Place(path)


def test_without_a_file_the_defaults_hold_below_the_flags() -> None:
    settings = Settings.read(None, {**PATHS, "epochs": 7, "contrast": 0.25, "device": "cpu", "verbose": False})
    assert settings.config == TrainConfig(epochs=7, augment=AugmentConfig(contrast=0.25))
    assert settings.options == RunOptions(device="cpu")
    assert (settings.data, settings.run_dir) == (Place("records"), Place("run"))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, 'data = "a"\nrun_dir = "b"\nepochs = 5\nlearning_rate = 1\n[augment]\nbrightness = 3.5\n')
    settings = Settings.read(path, {"run_dir": "c", "epochs": 6})
    assert (settings.data, settings.run_dir) == (Place("a"), Place("c"))
    assert settings.config == TrainConfig(epochs=6, learning_rate=1.0, augment=AugmentConfig(brightness=3.5))


def test_the_settings_come_back_from_their_toml(tmp_path: Path) -> None:
    flags: dict[str, Any] = {**PATHS, "data": 'a "quoted" folder\\x', "learning_rate": 1e-05, "deterministic": True}
    settings = Settings.read(None, {**flags, "invert": 0.0, "profile": True, "checkpoint_minutes": 0.5})
    assert Settings.read(_file(tmp_path, settings.to_toml()), {}) == settings


def test_print_config_prints_what_config_reads_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "records", "--run-dir", str(tmp_path / "run"), "--epochs", "4", "--no-deterministic"]
    assert main("trainer", "", COMMANDS, ["train", *options, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "epochs = 4\n" in printed and "\n[augment]\n" in printed
    path = _file(tmp_path, printed)
    assert main("trainer", "", COMMANDS, ["train", "--config", str(path), "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert not (tmp_path / "run").exists()


def test_a_run_s_own_configuration_is_read(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, seed=9, augment=AugmentConfig(contrast=0.1))
    content = {**config.to_dict(), "data": "records", "parameters": 5, "hosts": 1, "options": {"device": "gpu"}}
    settings = Settings.read(_file(tmp_path, json.dumps(content), "config.json"), {"run_dir": "again"})
    assert settings.config == config
    assert settings.options == RunOptions()
    assert (settings.data, settings.run_dir) == (Place("records"), Place("again"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rte = 1", r"train\.toml: the keys may be .*checkpoint_minutes, .*\. Received: learning_rte$"),
        ("invert = 0.5", r"and in \[augment\] brightness, contrast, .*\. Received: invert$"),
        ("[augment]\nepochs = 1", r"the keys may be .*\. Received: epochs$"),
        ('epochs = "3"', r"train\.toml: epochs must be of type int\. Received: '3'$"),
        ("epochs = true", r"epochs must be of type int\. Received: True$"),
        ("seed = 1.0", r"seed must be of type int\. Received: 1\.0$"),
        ("epochs = ", r"train\.toml must be TOML, or a run's config\.json\. Received: "),
        ("augment = 3", r"train\.toml must be TOML, or a run's config\.json\. Received: "),
        ("epochs = 0", r"epochs must be at least 1\. Received: 0$"),
        ('precision = "mixed_float16"', r"precision must be one of float32, mixed_bfloat16\. Received: mixed_float16$"),
        ('keep = "first"', r"keep must be one of best, last\. Received: first$"),
        ('device = "tpu"', r"device must be one of auto, cpu, gpu\. Received: tpu$"),
        ("keep_checkpoints = 0", r"keep_checkpoints must be at least 1\. Received: 0$"),
        ("host_minutes = inf", r"host_minutes must be at most 35000\. Received: inf$"),
        ("epochs = 1000001", r"epochs must be at most 1000000\. Received: 1000001$"),
        ("global_batch_size = 1048577", r"global_batch_size must be at most 1048576\. Received: 1048577$"),
        ("learning_rate = inf", r"learning_rate must be finite\. Received: inf$"),
        ("learning_rate = 1" + 400 * "0", r"learning_rate must be finite\. Received: inf$"),
        ("warmup_epochs = inf", r"warmup_epochs must be finite\. Received: inf$"),
        ("weight_decay = nan", r"weight_decay must be .*\. Received: nan$"),
        ("seed = -1", r"seed must be 0\.\.4294967295\. Received: -1$"),
        ("[augment]\ncontrast = inf", r"contrast must be at least 0 and finite\. Received: inf$"),
        ("host_minutes = 0", r"host_minutes must be above 0\. Received: 0\.0$"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings.read(_file(tmp_path, text), PATHS)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--run-dir is required, as a flag or in the file of --config\."):
        Settings.read(_file(tmp_path, 'data = "a"'), {})
    with pytest.raises(UserError, match=r"--config must be a file\. Received: .*gone\.toml"):
        Settings.read(Place(tmp_path / "gone.toml"), PATHS)


def test_each_setting_has_a_flag_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main("trainer", "", COMMANDS, ["train", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, each in settings_of(Settings).items():
        assert f"--{name.replace('_', '-')} " in text
        assert name in PATHS or each.metadata["help"] in text
    names = ", ".join(sorted([*MODELS, *FINDERS]))
    assert f"--model NAME architecture, which other defaults depend on (default: compact): {names}" in text
    assert not [old for old in OLD if f"--{old} " in text]


OLD = {"average": "ema_decay", "gain": "contrast", "shift": "brightness"}
"""Settings that were renamed, with their present names."""


def test_old_spellings_of_flags_are_understood_and_warn(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["train", "--data", "records", "--run-dir", "run", "--print-config"]
    old = ["--average", "0.9", "--gain", "0.25", "--shift", "3"]
    assert main("trainer", "", COMMANDS, [*options, *old]) == 0
    printed, warnings = capsys.readouterr()
    assert "ema_decay = 0.9\n" in printed and "contrast = 0.25\nbrightness = 3.0\n" in printed
    assert warnings.splitlines() == [
        f"warning: --{old} is now --{new.replace('_', '-')}; the old spelling will go in the next version"
        for old, new in OLD.items()
    ]


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_old_keys_of_a_file_are_understood_and_warn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    text = "average = 0.9\n[augment]\ngain = 0.25\nshift = 3\n"
    if suffix == "json":
        text = json.dumps({"average": 0.9, "augment": {"gain": 0.25, "shift": 3}})
    path = _file(tmp_path, text, f"train.{suffix}")
    settings = Settings.read(path, PATHS)
    assert settings.config == TrainConfig(ema_decay=0.9, augment=AugmentConfig(contrast=0.25, brightness=3.0))
    warnings = [
        f"warning: {path}: {old} is now {new}; the old key will go in the next version" for old, new in OLD.items()
    ]
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(warnings)


def test_a_run_of_the_last_version_is_loaded_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(ema_decay=0.9, augment=AugmentConfig(contrast=0.25, brightness=3.0))
    crop = {"growth": 0.3, "crop_size": 64, "record_size": 54, "jitters": 5}
    now = {**config.to_dict(), "image_shape": [54, 54, 3], "dataset": {"crop": crop}}
    present = {new: old for old, new in OLD.items()}
    before = {present.get(name, name): value for name, value in now.items()}
    before["augment"] = {present.get(name, name): value for name, value in now["augment"].items()}
    _file(tmp_path, json.dumps(before), CONFIG)
    run = Run.load(tmp_path)
    # Its records held up to five digits, which it did not state.
    dataset = {**now["dataset"], "max_length": 5, "alphabet": "0123456789"}
    assert run.config == config and run.labels == Labels() and run.reads_length
    assert run.content == {**now, "dataset": dataset, "reads_length": True}
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["settings.toml", "config.json"])
def test_a_file_as_windows_writes_it_is_read(tmp_path: Path, name: str) -> None:
    text = 'data = "records"\r\nepochs = 3\r\n' if name.endswith("toml") else '{"data": "records",\r\n"epochs": 3}'
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    settings = Settings.read(Place(tmp_path / name), {"run_dir": tmp_path / "run"})
    assert (settings.data, settings.config.epochs) == (Place("records"), 3)
