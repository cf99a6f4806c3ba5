"""One shape for the three command lines: subcommands, one-line errors, exit codes."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfrecords._version import __version__
from tfrecords.errors import UserError


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
      name: what the user types after the package.
      help: one line, shown in the list of commands.
      epilog: examples, shown at the end of the command's own help.
      add_arguments: adds the command's options to its parser.
      run: does the work and returns the exit code.
      passes_through: True when `run` takes, as a second argument, the list of
        options that the parser does not know (Beam's own).
    """

    name: str
    help: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[..., int]
    passes_through: bool = False


def main(prog: str, description: str, commands: Sequence[Command], argv: Sequence[str] | None = None) -> int:
    """Parses `argv`, runs the named command and returns its exit code.

    A `UserError` or an `OSError` becomes one line on standard error and exit code
    1 (`--verbose` adds the traceback); any other exception is a bug and is raised.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"streetdigits {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    by_name = {command.name: command for command in commands}
    for command in commands:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            epilog=command.epilog,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("--verbose", action="store_true", help="show a traceback with an error")
        command.add_arguments(sub)
    args, unknown = parser.parse_known_args(argv)
    command = by_name[args.command]
    if unknown and not command.passes_through:
        parser.error(f"{command.name} does not know these arguments: {' '.join(unknown)}")
    try:
        return command.run(args, unknown) if command.passes_through else command.run(args)
    except (UserError, OSError) as error:
        if args.verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: interrupted", file=sys.stderr)
        return 130


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and examples as they were written."""
