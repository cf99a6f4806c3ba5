"""Settings of `python -m trainer train`: read from a file and from flags, which win, and written back as TOML."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import defaults, from_flags, old_names, refuse_address, settings_of
from trainer.run.config import STREAM_SETTINGS, AugmentConfig, RunOptions, TrainConfig, present_names
from trainer.run.directory import CONFIG
from trainer.run.recipes import recipe

_PATHS = ("data", "run_dir")


@dataclass(frozen=True)
class Settings:
    """Everything a training run is started with.

    Attributes:
      data: Dataset directory, local or at an address.
      run_dir: Folder for everything that training writes, local or at an address.
      config: Configuration that determines the result.
      options: Options of the execution.
    """

    data: Place
    run_dir: Place
    config: TrainConfig
    options: RunOptions

    @classmethod
    def read(
        cls,
        file: Place | None,
        flags: Mapping[str, Any],
        model_of: Callable[[Place], str] = lambda _: TrainConfig.model,
    ) -> "Settings":
        """Returns the settings of a file, replaced by those of the flags.

        Settings that neither gives are the defaults of the model and its optimizer (`trainer.run.recipes`).

        Args:
          file: TOML file as `to_toml` writes it, or a run's config.json; None for the defaults.
          flags: Values by name of the setting, without those that were not given; other names are ignored.
          model_of: Function that returns the default model of a dataset directory.

        Raises:
          UserError: The file cannot be read, has an unknown key or a value of another type; a path is missing; a
            value is out of range.
        """
        given = {name: flags[name] for name in settings_of(cls) if name in flags}
        if file is None and given.get("replay") is not None:
            file = Place(given["replay"]) / CONFIG
        read = _read_file(file) if file else {}
        if any(name in given for name in STREAM_SETTINGS):
            # They exclude each other: the file of a run that followed has --follow.
            read = {name: value for name, value in read.items() if name not in STREAM_SETTINGS}
        values = {**read, **given}
        if "model" not in values and values.get("data") is not None:
            values["model"] = model_of(Place(str(values["data"])))
        values = {**recipe(values, TrainConfig.model, TrainConfig.optimizer), **values}
        for name in ("init", "replay"):
            if values.get(name) is not None:
                Place(values[name])  # an address with a slash too few would be a local folder
        if values.get("cache") is not None:
            refuse_address(values["cache"])
        for name in _PATHS:
            if name not in values:
                raise UserError(f"--{name.replace('_', '-')} is required, as a flag or in the file of --config.")
            values[name] = Place(str(values[name]))
        settings: Settings = from_flags(cls, values)
        return settings

    def to_toml(self) -> str:
        """Returns the text of a file that `--config` reads as these settings."""
        config = self.config.to_dict()
        augment = config.pop("augment")
        top = {"data": str(self.data), "run_dir": str(self.run_dir), **config, **asdict(self.options)}
        # TOML has no null; None is the default.
        lines = [f"{name} = {_toml(value)}" for name, value in top.items() if value is not None]
        lines += ["", "[augment]", *(f"{name} = {_toml(value)}" for name, value in augment.items())]
        return "\n".join(lines) + "\n"


def _read_file(path: Place) -> dict[str, Any]:
    """Returns the settings in a file by name, their types checked."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        # Windows' editors begin a file with a byte-order mark.
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        augment = _present(path, content.pop("augment", {}), AugmentConfig)
        content = _present(path, content, TrainConfig)
    except FileNotFoundError as error:
        raise UserError("--config must be a file.", path) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} must be TOML, or a run's config.json.", error) from error
    expected = {**defaults(Settings), **dict.fromkeys(_PATHS, "")}
    nested = set(settings_of(AugmentConfig))
    if path.suffix == ".json":
        # A run's config.json also holds facts of the run.
        content = {name: content[name] for name in expected if name in content and name != "run_dir"}
    misplaced = (set(augment) - nested) | (set(content) & nested)
    if unknown := (set(content) - set(expected)) | misplaced:
        known = f"{', '.join(sorted(set(expected) - nested))}, and in [augment] {', '.join(sorted(nested))}"
        raise UserError(f"{path}: the keys may be {known}.", ", ".join(sorted(unknown)))
    return {name: _typed(path, name, value, expected[name]) for name, value in {**content, **augment}.items()}


def _present(path: Place, values: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Returns a file's settings by their present names, with a warning for each old one."""
    for old, new in old_names(config).items():
        if old in values:
            print(f"warning: {path}: {old} is now {new}; the old key will go in the next version", file=sys.stderr)
    return present_names(values, config)


def _typed(path: Place, name: str, value: Any, default: Any) -> Any:
    """Returns a value of a file, of the same type as the setting's default."""
    kind = (int if name == "at" else str) if default is None else type(default)
    if default is None and value is None:
        return None
    if kind is float and type(value) is int:
        # Larger integers are no floating-point numbers, and no setting may be infinite.
        return float(value) if abs(value) <= sys.float_info.max else math.inf
    if type(value) is not kind:
        raise UserError(f"{path}: {name} must be of type {kind.__name__}.", repr(value))
    return value


def _toml(value: Any) -> str:
    # JSON's strings and booleans are valid TOML, and so are Python's numbers.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)
