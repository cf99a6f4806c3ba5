"""JSON that somebody else may have written, as dataclasses: the one place where its types are checked.

A field's type says what its JSON value must be; `Annotated[int, Rule(...)]` says more. (jsonschema takes 0.15 s to
import and checks thousands of shards slowly; pydantic and msgspec would each be a dependency for this alone.)
"""

import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from tfrecords.errors import UserError, printable

_T = TypeVar("_T")
_Read = Callable[[Any], Any]
_MAX_DEPTH = 50
"""Deepest nesting that is read. Files here have five levels; Python's own limit ends in a RecursionError."""
_MAX_CHARACTERS = 100
"""Longest value that an error quotes."""
_PLAIN_NAME = re.compile(r"[\w.#/ -]{1,80}")
_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Rule:
    """Rule for a value of the right type.

    Attributes:
      text: What the value must be: a noun phrase that continues "must be".
      holds: Function that returns whether a value is so.
    """

    text: str
    holds: Callable[[Any], bool]


def matching(pattern: str, text: str) -> Rule:
    """Returns the rule that a complete string matches a regular expression."""
    return Rule(text, lambda value: bool(re.fullmatch(pattern, value)))


def one_of(*values: object) -> Rule:
    """Returns the rule that a value is one of these."""
    return Rule(f"one of {', '.join(map(str, values))}", lambda value: value in values)


Count = Annotated[int, Rule("an integer of 0 to 2^53 - 1", lambda value: 0 <= value < 1 << 53)]


class _WrongValueError(Exception):
    """A value that breaks a rule; each level that it passes on its way up adds its step."""

    def __init__(self, rule: str, received: str | None) -> None:
        super().__init__(rule)
        self.rule, self.received = rule, received
        self.steps: list[str] = []


def parse_object(text: str | bytes, name: str, what: str = "a JSON object") -> dict[str, Any]:
    """Returns the JSON object in a text, whose levels are few and whose integers fit a floating-point number.

    Args:
      text: Content of the file, or of one line of it.
      name: Name of the file in error messages.
      what: What the text must be, in error messages.

    Raises:
      UserError: The text is no JSON object, is nested too deeply, or has an integer that most programs cannot read.
    """
    try:
        value = json.loads(text)
        _check_values(value, _MAX_DEPTH)
    except (ValueError, RecursionError, OverflowError) as error:
        raise UserError(f"{name} must be {what}.", shorten(repr(error))) from error
    if not isinstance(value, dict):
        raise UserError(f"{name} must be {what}.", shorten(repr(value)))
    return value


def _check_values(value: Any, depth: int) -> None:
    """Checks integers and nesting.

    Raises:
      ValueError: The nesting is too deep.
      OverflowError: An integer is larger than any floating-point number.
    """
    if isinstance(value, int):
        float(value)
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"more than {_MAX_DEPTH} levels of nesting")
        for item in value.values() if isinstance(value, dict) else value:
            _check_values(item, depth - 1)


def from_json(kind: type[_T], value: Any, name: str) -> _T:
    """Returns a JSON value as a dataclass whose fields it has, all of them and no other.

    Args:
      kind: Dataclass. Its fields are scalars, `X | None`, lists, tuples, dictionaries with strings as keys, and other
        dataclasses; `Annotated` adds rules.
      value: JSON value, as `json.loads` returns it.
      name: Name of the file in error messages.

    Raises:
      UserError: A field is missing, unknown, of another type, or breaks a rule. The message names the file, the
        position in it, the rule and the value.
    """
    hint: Any = kind
    try:
        read: _T = _reader(hint)(value)
    except _WrongValueError as error:
        position = "".join(reversed(error.steps)).lstrip(".")
        where = f"{name}: {position}" if position else name
        raise UserError(f"{where} {error.rule}", error.received) from error
    return read


def shorten(text: str) -> str:
    """Returns a text on one line, without its middle if it is long."""
    text = printable(text)
    half = _MAX_CHARACTERS // 2
    return text if len(text) <= 2 * half else f"{text[:half]} ... {text[-half:]}"


def step_name(step: str | int) -> str:
    """Returns a step to an inner value, as the position in an error shows it."""
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_NAME.fullmatch(step) else f"[{shorten(repr(step))}]"


def _wrong(rule: str, value: Any) -> _WrongValueError:
    return _WrongValueError(f"must be {rule}.", shorten(repr(value)))


def _read_inner(read: _Read, step: str | int, value: Any) -> Any:
    try:
        return read(value)
    except _WrongValueError as error:
        error.steps.append(step_name(step))
        raise


@cache
def _reader(hint: Any) -> _Read:
    """Returns the function that checks and converts a JSON value for a type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin is Annotated:
        return _with_rules(_reader(arguments[0]), arguments[1:])
    if origin in (types.UnionType, typing.Union):
        (inner,) = (_reader(each) for each in arguments if each is not type(None))
        return lambda value: None if value is None else inner(value)
    if origin is list:
        return _list_reader(_reader(arguments[0]))
    if origin is tuple:
        return _tuple_reader([_reader(each) for each in arguments])
    if origin is dict:
        return _dict_reader(*map(_reader, arguments))
    return _object_reader(hint) if is_dataclass(hint) else _scalar_reader(hint)


def _scalar_reader(kind: Any) -> _Read:
    # Not isinstance: true is no number. An integer is a number.
    allowed = (int, float) if kind is float else (kind,)

    def read(value: Any) -> Any:
        if type(value) not in allowed:
            raise _wrong(_NAMES[kind], value)
        if kind is str and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise _wrong("a string that UTF-8 can encode", value)
        return value

    return read


def _with_rules(read: _Read, rules: tuple[Rule, ...]) -> _Read:
    def check(value: Any) -> Any:
        result = read(value)
        for rule in rules:
            if not rule.holds(result):
                raise _wrong(rule.text, value)
        return result

    return check


def _list_reader(read: _Read) -> _Read:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong("a list", value)
        return [_read_inner(read, index, item) for index, item in enumerate(value)]

    return read_list


def _tuple_reader(reads: list[_Read]) -> _Read:
    def read_tuple(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(reads):
            raise _wrong(f"a list of {len(reads)}", value)
        return tuple(
            _read_inner(read, index, item) for index, (read, item) in enumerate(zip(reads, value, strict=True))
        )

    return read_tuple


def _dict_reader(read_key: _Read, read: _Read) -> _Read:
    def read_dict(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        return {_read_inner(read_key, key, key): _read_inner(read, key, item) for key, item in value.items()}

    return read_dict


def _object_reader(kind: Any) -> _Read:
    hints = typing.get_type_hints(kind, include_extras=True)
    reads = {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        if value.keys() != reads.keys():
            missing, unknown = sorted(reads.keys() - value.keys()), sorted(value.keys() - reads.keys())
            rule = f"must have exactly the fields {', '.join(reads)}."
            raise _WrongValueError(rule, shorten(f"missing {missing}, unknown {unknown}"))
        values = {name: _read_inner(read, name, value[name]) for name, read in reads.items()}
        try:
            return kind(**values)
        except UserError as error:
            # Ranges that the dataclass itself checks.
            raise _WrongValueError(f"is wrong: {shorten(str(error))}", None) from error

    return read_object


def parse_lines(data: bytes, name: str, parse: Callable[[Any], _T], rule: str) -> list[_T]:
    """Returns the objects of JSON lines that a command of ours wrote.

    Args:
      data: Content of the file.
      name: Its name, for the error.
      parse: Function of a line's value; it raises a ValueError, LookupError or TypeError for another one.
      rule: What a line must be, which continues "must be".

    Raises:
      UserError: A line is not as it must be.
    """
    found = []
    for count, line in enumerate(data.splitlines(), start=1):
        try:
            found.append(parse(json.loads(line)))
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{name}, line {count} must be {rule}", f"{type(error).__name__}: {error}") from error
    return found
