"""Command-line flags generated from the fields of frozen configuration dataclasses.

A configuration states each option once: name, type, default, help, choices. `add_flags` turns the fields into flags,
`from_flags` turns what a user gave back into the dataclass. Nested dataclasses are flattened. A flag that was not given
has no attribute, so that a configuration file can stand between flags and defaults. (tyro and simple-parsing generate
flags too, but own the parser: subcommands imported on demand, options passed through to Beam, one-line errors and
renamed flags would each need a way around them.)
"""

import argparse
import re
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError

_SCHEME = re.compile(
    r"\s*(s3[an]?|gs|gcs|hdfs|webhdfs|abfss?|adl?|az|wasbs?|https?|ftp|file|memory):(?!//)", re.IGNORECASE
)
"""Begin of an address of a store with a slash too few, by its scheme. A name of one letter and a colon may be a drive
or anything else."""


_LONGEST_CHOICES = 40
"""Characters of a flag's choices that a line of help has room for; more are listed in the text."""


def setting(default: Any, help: str, *, choices: Sequence[str] = (), group: str = "", old: str = "") -> Any:
    """Returns a dataclass field that is also a flag.

    Args:
      default: Default value.
      help: Line of help: a noun phrase, without the default, which is appended.
      choices: Allowed values; any where empty.
      group: Title of the flag's group in `--help`.
      old: Name of the field until the last version: still understood, with a warning.
    """
    return field(default=default, metadata={"help": help, "choices": tuple(choices), "group": group, "old": old})


def refuse_address(name: str) -> None:
    """Checks that a name is that of a file or folder on this machine: as a path, `gs://bucket` is a folder `gs:`.

    Raises:
      UserError: The name is an address, as gs://bucket/run, also with a slash too few; or empty: as a path, that is
        the present folder.
    """
    if not name:
        raise UserError("A path must not be empty.")
    if "://" in name:
        raise UserError("The path must be local, not an address.", name)
    refuse_mistyped_address(name)


def refuse_mistyped_address(name: str) -> None:
    """Checks that a name is not an address with a slash too few: `gs:/bucket` would be a folder `gs:`.

    Raises:
      UserError: It begins with the scheme of a store and a colon, without two slashes.
    """
    if _SCHEME.match(name):
        raise UserError("An address needs :// after its scheme; a local path that begins so needs ./ before it.", name)


def local_path(text: str) -> Path:
    """Returns the path of a file or folder on this machine: the `type` of a flag that takes no address.

    Raises:
      ArgumentTypeError: The text is an address, as gs://bucket/run, or empty.
    """
    try:
        refuse_address(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def settings_of(config: type) -> dict[str, "Field[Any]"]:
    """Returns the fields of a configuration by name, those of nested configurations in their place."""
    found: dict[str, Field[Any]] = {}
    hints = typing.get_type_hints(config)
    for each in fields(config):
        found |= settings_of(hints[each.name]) if is_dataclass(hints[each.name]) else {each.name: each}
    return found


def defaults(*configs: type) -> dict[str, Any]:
    """Returns the default of every setting that has one, by name."""
    every = (each for config in configs for each in settings_of(config).values())
    return {each.name: each.default for each in every if each.default is not MISSING}


def old_names(*configs: type) -> dict[str, str]:
    """Returns the present name of every renamed setting, by its old name."""
    every = (each for config in configs for each in settings_of(config).values())
    return {each.metadata["old"]: each.name for each in every if each.metadata.get("old")}


def add_flags(
    parser: argparse.ArgumentParser,
    *configs: type,
    choices: Mapping[str, Sequence[str]] | None = None,
    without: Collection[str] = (),
    hidden: bool = False,
) -> None:
    """Adds a flag for each setting that has a help line; `from_flags` reads them.

    Args:
      parser: Parser to add the flags to.
      *configs: Configurations whose settings become flags.
      choices: Allowed values, by setting, that only the command knows; they replace the setting's own.
      without: Names of settings that the command does not offer.
      hidden: Whether the flags are understood, so that they can be refused in words, and not in `--help`; none is
        required then.
    """
    groups: dict[str, Any] = {"": parser}
    for config in configs:
        for each in settings_of(config).values():
            if "help" in each.metadata and each.name not in without:
                title = each.metadata["group"]
                if title not in groups:
                    groups[title] = parser.add_argument_group(title)
                allowed = (choices or {}).get(each.name, each.metadata["choices"])
                _add(groups[title], each, _kind(config, each.name), allowed, hidden)


def add_renamed(parser: argparse.ArgumentParser, old: str, new: str, **options: Any) -> None:
    """Adds the old spelling of a flag, which is hidden from `--help` and warns when it is used.

    Args:
      parser: Parser or group that has the new flag.
      old: Old spelling: `--faults`.
      new: Present spelling: `--max-errors`.
      **options: `type`, `choices` and the like, as the new flag has them.
    """

    class Renamed(argparse.Action):
        """Stores the value for the new flag, with a warning."""

        def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: Any = None) -> None:
            """Prints the warning and stores the value."""
            print(f"warning: {old} is now {new}; the old spelling will go in the next version", file=sys.stderr)
            setattr(namespace, self.dest, values)

    dest = new.removeprefix("--").replace("-", "_")
    parser.add_argument(old, dest=dest, action=Renamed, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **options)


def add_snapshot(parser: argparse.ArgumentParser) -> None:
    """Adds the option `--snapshot` of a command that reads a dataset directory."""
    text = "number of a snapshot, if the dataset is a stream (default: its newest)"
    parser.add_argument("--snapshot", type=_number, metavar="N", help=text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,8}", text):
        raise argparse.ArgumentTypeError(f"must be a number of up to 8 digits, not {text!r}")
    return int(text)


def from_flags(config: type, values: Mapping[str, Any]) -> Any:
    """Returns a configuration of the values by name, with its defaults for those that are missing.

    Raises:
      UserError: A value breaks a rule of the configuration.
    """
    hints = typing.get_type_hints(config)
    arguments: dict[str, Any] = {}
    for each in fields(config):
        if is_dataclass(hints[each.name]):
            arguments[each.name] = from_flags(typing.cast(type, hints[each.name]), values)
        elif each.name in values:
            arguments[each.name] = values[each.name]
    return config(**arguments)


def _add(group: Any, each: "Field[Any]", kind: type, choices: Sequence[str], hidden: bool) -> None:
    flag, text = _flag(each.name), each.metadata["help"].replace("%", "%%")
    if each.default is not None and each.default is not MISSING and kind is not bool:
        text += f" (default: {each.default})"
    options: dict[str, Any] = {}
    if hidden:
        text = argparse.SUPPRESS
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    else:
        options = {"type": local_path if kind is Path else kind, "choices": choices or None}
        if len(",".join(choices)) > _LONGEST_CHOICES:
            options["metavar"] = "NAME"
            text = text if hidden else f"{text}: {', '.join(choices)}"
        required = each.default is MISSING and not hidden
        group.add_argument(flag, default=argparse.SUPPRESS, required=required, help=text, **options)
    if old := each.metadata["old"]:
        add_renamed(group, _flag(old), flag, **options)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _kind(config: type, name: str) -> type:
    """Returns the type of a setting's value: int for `int | None`."""
    hints = typing.get_type_hints(config)
    if name not in hints:
        nested = (typing.cast(type, hint) for hint in hints.values() if is_dataclass(hint))
        return next(_kind(inner, name) for inner in nested if name in settings_of(inner))
    hint = hints[name]
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return typing.cast(type, hint)
