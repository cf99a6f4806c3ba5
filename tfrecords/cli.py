"""The frame of the three command lines: subcommands, one-line errors, exit codes."""

import argparse
import codecs
import difflib
import importlib
import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn

from tfrecords._version import __version__
from tfrecords.errors import UserError, one_line
from tfrecords.flags import local_path
from tfrecords.interrupts import SIGNALS, describe, ending_at_once, interruptible

_CLOSED_PIPE = 141
"""Exit code: 128 plus the value of SIGPIPE, as shells report it for `git log | head`."""
_OURS = ("beam_jobs", "tfrecords", "trainer", "benchmarks", "streetdigits", "tests")
_MINUS = re.compile(r"-[\d.][\d.e+-]*,[\d.e+,-]*")
"""A list of numbers that begins with a negative one, as -1,17,63,25, which argparse takes for an option."""
_OF_CHARACTERS = "--alphabet"
"""Option whose value is no word, and may begin with a minus."""
_LONGEST_NAME = 7
"""Letters of the longest name of a value in `--help`; a longer one repeats the option and fills the line."""
_TENSORFLOW = ("train", "lite")
"""Extras of the commands that may run TensorFlow."""
_TOO_LARGE = 1 << 63
_LIKE_OURS = 0.8
"""Similarity from which an unknown option of a command that passes options through is a slip. Beam has none as near."""
_BEAMS = ("--num_workers",)
"""Options of Beam that are like some of ours."""


@dataclass(frozen=True)
class Command:
    """A subcommand, in a separate module that is imported only when the command is called.

    The module imports no heavy library: its `run` does, once the options are checked. So help and refusals are quick,
    and need no extra.

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


def main(prog: str, description: str, commands: Sequence[Command], argv: Sequence[str] | None = None) -> int:
    """Parses `argv`, runs the command and returns its exit code.

    A `UserError`, an `OSError` or a missing library becomes one line on standard error and exit code 1 (`--verbose`
    adds the traceback); any other exception is a bug and is raised. SIGINT and SIGTERM become one line and exit code
    130 or 143. If the reader of a pipe closes it, as `head` does, the program ends silently with exit code 141. Letters
    that standard output cannot encode are printed as escapes.

    Args:
      prog: Name of the program in usage lines.
      description: Text above the list of commands in `--help`.
      commands: Subcommands, in the order of `--help`.
      argv: Arguments after the program's name; None takes those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _escape_unknown_letters()
    try:
        try:
            with ending_at_once():
                args = _parse(prog, description, commands, argv)
            # TensorFlow keeps the main thread for minutes, in which nothing could be raised.
            with interruptible([signal.SIGINT] if args.command.extra in _TENSORFLOW else SIGNALS):
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
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _escape_unknown_letters() -> None:
    """Makes standard output escape letters that its encoding lacks (a code page, ASCII), as standard error does.

    Bytes of a file's name that are no letters in this locale are printed as they are: the name can be copied.
    """
    codecs.register_error("streetdigits", _escape)
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="streetdigits")


def _escape(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    # Python decodes a byte that is no letter to U+DC00 plus the byte.
    parts = [
        bytes([ord(letter) - 0xDC00]) if 0xDC80 <= ord(letter) <= 0xDCFF else letter.encode("ascii", "backslashreplace")
        for letter in letters
    ]
    return b"".join(parts), error.end


def _parse(prog: str, description: str, commands: Sequence[Command], argv: Sequence[str]) -> argparse.Namespace:
    """Returns the options of the named command, and in `unknown` the options that it passes through."""
    command = next((command for command in commands if argv and command.name == argv[0]), None)
    if command is None:
        _list_commands(prog, description, commands, argv)
    words = _join_minus(argv[1:])
    module = _load(command)
    parser = Parser(
        prog=f"{prog} {command.name}",
        description=command.help,
        epilog=getattr(module, "EPILOG", None),
        formatter_class=HelpFormatter,
        words=words,
    )
    parser.add_argument("--verbose", action="store_true", help="print a traceback with an error")
    module.add_arguments(parser)
    parser.set_defaults(command=command, run=module.run, unknown=[])
    parser.refuse_empty()
    if command.passes_through:
        args, unknown = parser.parse_known_args(words)
        args.unknown = unknown
        wrong = [word for word in unknown if parser.nearest(word, _LIKE_OURS) and word.partition("=")[0] not in _BEAMS]
    else:
        # Intermixed, so that options may stand between the files that they belong to. Python 3.11 loses a "--" there.
        args, wrong = (parser.parse_known_args if "--" in words else parser.parse_known_intermixed_args)(words)
    if wrong:
        parser.error(f"unknown arguments for {command.name}: {' '.join(wrong)}")
    return args


def _load(command: Command) -> ModuleType:
    """Returns the module of `command`.

    Raises:
      UserError: A library that it imports is not installed.
    """
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        raise missing_library(command.name, command.extra, error) from error


def missing_library(name: str, extra: str | None, error: ModuleNotFoundError) -> Exception:
    """Returns the error of one line for a library that is not installed; for a module of ours, the error itself.

    Args:
      name: Command or function that needs the library.
      extra: Extra of the distribution that installs it; None if the base has it.
      error: What the import raised.
    """
    missing = (error.name or "").partition(".")[0]
    if missing in ("", *_OURS):
        return error
    wanted = f"'streetdigits[{extra}]'" if extra else "streetdigits"
    return UserError(f"{name} needs {missing}, which is not installed: pip install {wanted}")


def _list_commands(prog: str, description: str, commands: Sequence[Command], argv: Sequence[str]) -> NoReturn:
    """Prints help, version or an error for arguments that name no command, and exits."""
    parser = Parser(prog=prog, description=description, words=[])
    parser.add_argument("--version", action="version", version=f"streetdigits {__version__}")
    listed = parser.add_subparsers(metavar="COMMAND", parser_class=argparse.ArgumentParser)
    for command in commands:
        listed.add_parser(command.name, help=command.help)
    if argv and argv[0].startswith("-"):
        parser.parse_args(argv[:1])
    names = [command.name for command in commands]
    near = difflib.get_close_matches(argv[0], names, 1) if argv else []
    meant = f"; did you mean {near[0]}?" if near else "."
    parser.error(f"COMMAND must be first, and one of {', '.join(names)}{meant} Received: {' '.join(argv) or 'nothing'}")


def _join_minus(words: Sequence[str]) -> list[str]:
    """Returns the words with each value that begins with a minus, and would be an option, joined to its option."""
    joined: list[str] = []
    for word in words:
        is_text = joined[-1:] == [_OF_CHARACTERS] and re.match("-[^-]", word)
        if is_text or (_MINUS.fullmatch(word) and joined and re.fullmatch("--[^=]+", joined[-1])):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _run(args: argparse.Namespace) -> int:
    """Runs the command, prints its error, and returns its exit code."""
    try:
        code: int = args.run(args, args.unknown) if args.command.passes_through else args.run(args)
        return code
    except ModuleNotFoundError as error:
        needed = missing_library(args.command.name, args.command.extra, error)
        if needed is error:
            raise
        return _refuse(str(needed), args.verbose)
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding().lower().startswith("utf"):
            raise
        rule = "This locale cannot express a file's name: set LC_ALL=C.UTF-8."
        return _refuse(str(UserError(rule, ascii(error.object)[:80])), args.verbose)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _discard_closed_pipes():
            return _CLOSED_PIPE
        return _refuse(one_line(error), args.verbose)


def _refuse(message: str, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
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


def _integer(text: str) -> int:
    """Returns the integer of an option; none has a use for more than NumPy and TensorFlow can hold."""
    value = int(text)
    if abs(value) >= _TOO_LARGE:
        raise argparse.ArgumentTypeError(f"it must be below 2^63. Received: {text[:40]}")
    return value


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the option that was probably meant."""

    def __init__(self, *, words: Sequence[str], **options: object) -> None:
        """Creates a parser of `words`, with the other arguments of `argparse.ArgumentParser`."""
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]
        self.register("type", int, _integer)
        self._words = words

    def nearest(self, word: str, cutoff: float = 0.7) -> str | None:
        """Returns the option that a word begins or is most like; None for options, and where nothing is like it."""
        given = word.partition("=")[0]
        if not given.startswith("--") or given == "--" or given in self._option_string_actions:
            return None
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [option for action in shown for option in action.option_strings]
        begun = [option for option in known if option.startswith(given)]
        return next(iter(begun or difflib.get_close_matches(given, known, 1, cutoff)), None)

    def refuse_empty(self) -> None:
        """Ends with an error at an empty argument: as a path it would be the present folder."""
        for before, word in zip(["", *self._words], self._words, strict=False):
            named = before if not word else word.removesuffix("=")
            is_option = named in self._option_string_actions
            if not word or (is_option and word.endswith("=")):
                self.error(f"{named if is_option else 'An argument'} must not be empty; is a shell variable unset?")

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with code 2."""
        meant = {near: word.partition("=")[0] for word in self._words if (near := self.nearest(word))}
        hint = "".join(f"; did you mean {near} (not {word})?" for near, word in meant.items())
        self.exit(2, f"error: {message}{hint or f' (see {self.prog} --help)'}\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Prints defaults, short names of values, and the line breaks of examples."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        nothing = action.default is None or action.default is False or action.default == ""
        return action.help if nothing else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type in (int, float):
            return "N" if action.type is int else "X"
        # The other one, which reads files, is not for a module of the frame.
        if action.type is local_path or getattr(action.type, "__name__", "") == "place":
            return "PATH"
        name = super()._get_default_metavar_for_optional(action)
        return name if len(name) <= _LONGEST_NAME else "TEXT"
