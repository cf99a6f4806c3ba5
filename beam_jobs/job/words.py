"""What the words of a command line say of Beam's runner, before Beam, whose import takes seconds, is imported."""

import argparse
import sys
from collections.abc import Sequence

from tfrecords.errors import UserError
from tfrecords.files.place import Place

_WORKERS_OF_SERVICES = ("--num_workers", "--max_num_workers", "--parallelism")
_NO = ("0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Adds `--dry-run`, and Beam's spelling of it, which has a value and which Beam's own runners but one ignore."""
    help = "print what would be done with which input, output and runner, and write nothing"
    parser.add_argument("--dry-run", action="store_true", help=help)
    options = {"nargs": "?", "const": True, "default": False, "type": _truth, "help": argparse.SUPPRESS}
    parser.add_argument("--dry_run", dest="dry_run", **options)  # type: ignore[arg-type]


def runner_name(words: Sequence[str]) -> str:
    """Returns the runner that the options name, the last one if there are several; empty without one."""
    return _value("--runner", words) or ""


def _value(flag: str, words: Sequence[str]) -> str | None:
    """Returns the last value of a flag; None without one."""
    found = None
    for before, word in zip(["", *words], words, strict=False):
        if before == flag:
            found = word
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def refuse_local_on_dataflow(words: Sequence[str], places: dict[str, str | None]) -> None:
    """Checks that no place of a job on Dataflow is on this machine, of which Dataflow's workers see nothing.

    Args:
      words: Beam's options.
      places: Path or address by its flag; None where the flag was not given.

    Raises:
      UserError: One is a local path.
    """
    if "dataflow" not in runner_name(words).lower():
        return
    own = {flag: _value(flag, words) for flag in ("--temp_location", "--staging_location")}
    for flag, place in {**places, **own}.items():
        if place is not None and not Place(place).is_remote:
            raise UserError(f"Dataflow's workers see no local path: {flag} must be at an address, as gs://.", place)


def unused_on_this_machine(words: Sequence[str]) -> list[str]:
    """Returns the flags for a number of workers that only services heed: on this machine they start none.

    Args:
      words: Beam's options, without those of another runner than the default one.
    """
    return [flag for flag in _WORKERS_OF_SERVICES if _value(flag, words) is not None]


def _truth(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise argparse.ArgumentTypeError("must be true or false")
    return text.lower() in _YES


def print_dry_run(lines: Sequence[str]) -> None:
    """Prints what a job would do.

    Args:
      lines: Lines, each of which is something of the job.
    """
    sys.stdout.writelines(f"{line}\n" for line in [*lines, "Nothing was written (--dry-run)."])
