"""Flags from dataclasses: types, defaults, nesting, groups and renamed spellings."""

import argparse
from dataclasses import dataclass, field

import pytest

from tfrecords.flags import add_flags, defaults, from_flags, old_names, setting


@dataclass(frozen=True)
class Inner:
    """A nested configuration."""

    size: int = setting(54, "size of the window, pixels", group="pictures")
    contrast: float = setting(0.5, "contrast range", old="gain")


@dataclass(frozen=True)
class Config:
    """A configuration of every type."""

    source: str = setting("svhn", "source format", choices=("svhn", "mnist"))
    shards: int | None = setting(None, "number of shards")
    overwrite: bool = setting(False, "replace the output")
    inner: Inner = field(default_factory=Inner)
    internal: int = 7


def _parse(*argv: str) -> Config:
    parser = argparse.ArgumentParser()
    add_flags(parser, Config)
    config: Config = from_flags(Config, vars(parser.parse_args(argv)))
    return config


def test_flags_that_are_not_given_leave_the_defaults() -> None:
    assert _parse() == Config()


def test_every_type_is_parsed_and_nested_settings_reach_their_place() -> None:
    given = _parse("--source", "mnist", "--shards", "3", "--overwrite", "--size", "28", "--contrast", "0.25")
    assert given == Config("mnist", 3, True, Inner(28, 0.25))
    assert _parse("--no-overwrite") == Config()


@pytest.mark.parametrize("argv", [["--source", "other"], ["--shards", "x"], ["--internal", "1"]])
def test_what_is_no_choice_of_another_type_or_no_setting_is_refused(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        _parse(*argv)
    assert end.value.code == 2


def test_an_old_spelling_is_hidden_still_works_and_warns(capsys: pytest.CaptureFixture[str]) -> None:
    assert _parse("--gain", "0.1").inner.contrast == 0.1
    assert capsys.readouterr().err == (
        "warning: --gain is now --contrast; the old spelling will go in the next version\n"
    )
    assert old_names(Config) == {"gain": "contrast"}


def test_help_shows_defaults_and_groups_but_no_old_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parse("--help")
    text = capsys.readouterr().out
    assert "size of the window, pixels (default: 54)" in text
    assert "pictures:" in text
    assert "--gain" not in text
    assert "--internal" not in text


def test_defaults_are_by_name() -> None:
    assert defaults(Config)["size"] == 54
    assert "inner" not in defaults(Config)
