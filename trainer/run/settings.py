"""What a training is told: from a file and from flags, flags winning; and back to a file."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from trainer.run.config import AugmentConfig, RunOptions, TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PATHS = ("data", "run_dir")


@dataclass(frozen=True)
class Settings:
    """Everything `trainer train` is told.

    Attributes:
      data: dataset directory.
      run_dir: folder for everything that training makes.
      config: what decides the run.
      options: how it is carried out.
    """

    data: Path
    run_dir: Path
    config: TrainConfig
    options: RunOptions

    @classmethod
    def read(cls, file: Path | None, flags: Mapping[str, Any]) -> "Settings":
        """Returns the settings of a file with those of the flags in their place.

        Args:
          file: .toml as `to_toml` writes it, or a run's config.json; None for the defaults.
          flags: name → value; those that were not given are None.

        Raises:
          UserError: the file is none, knows a key or type that is not ours, or a value cannot be.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        values = {**(_read_file(file) if file else {}), **given}
        for name in _PATHS:
            if name not in values:
                raise UserError(f"--{name.replace('_', '-')} must be given, as a flag or in the file of --config.")
        augment = AugmentConfig(**_of(AugmentConfig, values))
        config = TrainConfig(**{**_of(TrainConfig, values), "augment": augment})
        return cls(Path(values["data"]), Path(values["run_dir"]), config, RunOptions(**_of(RunOptions, values)))

    def to_toml(self) -> str:
        """Returns the file that `--config` reads as these settings."""
        config = self.config.to_dict()
        augment = config.pop("augment")
        top = {"data": str(self.data), "run_dir": str(self.run_dir), **config, **asdict(self.options)}
        # What is None has no form in TOML, and is the default.
        lines = [f"{name} = {_toml(value)}" for name, value in top.items() if value is not None]
        lines += ["", "[augment]", *(f"{name} = {_toml(value)}" for name, value in augment.items())]
        return "\n".join(lines) + "\n"


def defaults() -> dict[str, Any]:
    """Returns the default of every setting but the paths, by the name of its flag."""
    every = {**asdict(TrainConfig()), **asdict(AugmentConfig()), **asdict(RunOptions())}
    return {name: value for name, value in every.items() if name != "augment"}


def add_flags(parser: argparse.ArgumentParser, helps: Mapping[str, str], choices: Mapping[str, list[str]]) -> None:
    """Adds a flag for each setting, unset unless given: a file's settings stand below them.

    Args:
      parser: to add to.
      helps: name → its line of help; each setting has one.
      choices: name → what may be given.
    """
    for name, default in defaults().items():
        flag, text = f"--{name.replace('_', '-')}", helps[name]
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
            continue
        kind = str if default is None else type(default)
        shown = "" if default is None else f" (default: {default})"
        parser.add_argument(flag, type=kind, choices=choices.get(name), help=text + shown)


def _read_file(path: Path) -> dict[str, Any]:
    """Returns the settings in a file by the names of their flags, types checked."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        augment = content.pop("augment", {})
        if path.suffix == ".json":
            # A run's config.json tells facts of the run too.
            content = {name: content[name] for name in ({*defaults(), "data"} & set(content))}
        found = {**content, **augment}
    except FileNotFoundError as error:
        raise UserError("--config must be a file.", path) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} must be TOML, or a run's config.json.", error) from error
    expected = {**defaults(), **dict.fromkeys(_PATHS, "")}
    names = {field.name for field in fields(AugmentConfig)}
    misplaced = (set(augment) - names) | (set(content) & names)
    if unknown := (set(found) - set(expected)) | misplaced:
        known = f"{', '.join(sorted(set(expected) - names))}, and in [augment] {', '.join(sorted(names))}"
        raise UserError(f"{path}: the keys may be {known}.", ", ".join(sorted(unknown)))
    return {name: _typed(path, name, value, expected[name]) for name, value in found.items()}


def _typed(path: Path, name: str, value: Any, default: Any) -> Any:
    kind = str if default is None else type(default)
    if default is None and value is None:
        return None
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"{path}: {name} must be of type {kind.__name__}.", repr(value))
    return value


def _of(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def _toml(value: Any) -> str:
    # JSON's strings and booleans are TOML's too; its numbers are, as Python writes them.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)
