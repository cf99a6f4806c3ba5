"""The frame of the three command lines: subcommands, one-line errors, exit codes."""

import argparse
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from tfrecords._version import __version__
from tfrecords.errors import UserError
from tfrecords.interrupts import SIGNALS, describe, ending_at_once, interruptible

_CLOSED_PIPE = 141
"""Exit code: 128 plus the value of SIGPIPE, as shells report it for `git log | head`."""


@dataclass(frozen=True)
class Command:
    """A subcommand, in a separate module that is imported only when the command is called.

    Attributes:
      name: Name of the command on the command line.
      help: Description of one line for the list of commands.
      module: Name of the module with `add_arguments(parser)`, `run(args) -> exit code` and, optionally, `EPILOG`, which
        is printed below the help.
      passes_through: Whether `run` has a second argument, for the options that the parser does not know (Beam's own).
      extra: Extra of the distribution that installs the command's libraries; None if the base has them.
    """

    name: str
    help: str
    module: str
    passes_through: bool = False
    extra: str | None = None


def main(
    prog: str,
    description: str,
    commands: Sequence[Command],
    argv: Sequence[str] | None = None,
    start: Callable[[Command], None] | None = None,
) -> int:
    """Parses `argv`, runs the command and returns its exit code.

    A `UserError` or an `OSError` becomes one line on standard error and exit code 1 (`--verbose` adds the traceback);
    any other exception is a bug and is raised. SIGINT and SIGTERM become one line and exit code 130 or 143. If the
    reader of a pipe closes it, as `head` does, the program ends silently with exit code 141.

    Args:
      prog: Name of the program in usage lines.
      description: Text above the list of commands in `--help`.
      commands: Subcommands, in the order of `--help`.
      argv: Arguments after the program's name; None takes those of the process.
      start: Function to call with the named command before its module is imported.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            with ending_at_once():
                args = _parse(prog, description, commands, argv, start)
            # TensorFlow keeps the main thread for minutes, in which nothing could be raised.
            with interruptible(SIGNALS if args.command.extra != "train" else [signal.SIGINT]):
                return _run(args)
        finally:
            # Flushed here, because Python would print a traceback for a closed pipe or a full disk at exit.
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        line, code = describe(interrupt)
        print(line, file=sys.stderr)
        return code
    except BrokenPipeError:
        _discard_closed_pipes()
        return _CLOSED_PIPE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        _redirect_to_null(1)
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parse(
    prog: str,
    description: str,
    commands: Sequence[Command],
    argv: Sequence[str],
    start: Callable[[Command], None] | None,
) -> argparse.Namespace:
    """Returns the options of the named command, and in `unknown` the options that it passes through."""
    named = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"streetdigits {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("--verbose", action="store_true", help="print a traceback with an error")
        if command.name == named:
            module = _load(command, start)
            sub.epilog = getattr(module, "EPILOG", None)
            module.add_arguments(sub)
            sub.set_defaults(command=command, run=module.run)
    args, unknown = parser.parse_known_args(argv)
    if unknown and not args.command.passes_through:
        parser.error(f"unknown arguments for {named}: {' '.join(unknown)}")
    args.unknown = unknown
    return args


def _load(command: Command, start: Callable[[Command], None] | None) -> ModuleType:
    """Returns the module of `command`, imported after `start`.

    Raises:
      UserError: A library of the command's extra is not installed.
    """
    try:
        if start:
            start(command)
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if command.extra is None or missing in ("", command.module.partition(".")[0], __package__):
            raise
        rule = f"{command.name} needs {missing}, which is not installed: pip install 'streetdigits[{command.extra}]'."
        raise UserError(rule) from error


def _run(args: argparse.Namespace) -> int:
    """Runs the command, prints its error, and returns its exit code."""
    try:
        code: int = args.run(args, args.unknown) if args.command.passes_through else args.run(args)
        return code
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _discard_closed_pipes():
            return _CLOSED_PIPE
        if args.verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 1


def _discard_closed_pipes() -> bool:
    """Discards all further output to closed pipes; returns whether standard output or standard error is one."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    closed = [descriptor for descriptor, event in poll.poll(0) if event & (select.POLLERR | select.POLLHUP)]
    for descriptor in closed:
        _redirect_to_null(descriptor)
    return bool(closed)


def _redirect_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Prints defaults, and keeps the line breaks of examples."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        nothing = action.default is None or action.default is False or action.default == ""
        return action.help if nothing else super()._get_help_string(action)
