"""JSON lines: one object a line, or a list of objects. Numbers keep the text that they have in the file.

`{"text": 0012}` is no JSON, so a number with leading zeros is always a string; `12.50` stays `12.50`, because numbers
are never parsed. (https://jsonlines.org)
"""

import json
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from beam_jobs.sources.table.columns import Fault, Rows
from beam_jobs.sources.table.delimited import Choose, decode
from tfrecords.errors import UserError

_AS_TEXT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)


def read_json_lines(table: str, data: bytes, choose: Choose) -> Rows:
    """Returns the rows of a file of JSON lines, or of a JSON list.

    Args:
      table: Path or address of the file, for errors.
      data: Content of the file.
      choose: Function that returns the columns to read, by the keys of all objects.

    Raises:
      UserError: The file is not text, or no line of it is an object.
    """
    text = decode(table, data)
    is_list = text.lstrip()[:1] == "["
    records, lines, faults = _listed(table, text) if is_list else _lines(text)
    if len(faults) == len(records):
        _, rule, received = next(iter(faults.values()), ("", "there is none.", "no object"))
        raise UserError(f"{table} must hold a JSON object a line; the first: {rule}", received)
    names: dict[str, None] = {}
    seen: Any = None
    for record in records:
        if (keys := record.keys()) != seen:
            names.update(dict.fromkeys(keys))
            seen = keys
    found = list(names)
    columns = choose(found)
    read = [found[index] for index in columns.read]
    try:
        values: list[Sequence[Any]] = list(zip(*map(itemgetter(*read), records), strict=True))
    except KeyError:
        values = [[record.get(name) for record in records] for name in read]
    return Rows(columns, values, lines, "record" if is_list else "line", faults)


def _lines(text: str) -> tuple[list[dict[str, Any]], list[int], dict[int, Fault]]:
    """Returns the object of each line, empty for a damaged one; the lines' numbers; and the faults."""
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]
    lines = [number for number, _ in numbered]
    if (parsed := _at_once([line for _, line in numbered])) is not None:
        return parsed, lines, {}
    records: list[dict[str, Any]] = []
    faults: dict[int, Fault] = {}
    for _, line in numbered:
        try:
            record = _AS_TEXT.decode(line)
        except (json.JSONDecodeError, RecursionError) as error:
            faults[len(records)] = ("damaged", f"a line must be JSON ({error}).", repr(line[:80]))
            record = {}
        if not isinstance(record, dict):
            faults[len(records)] = ("damaged", "a line must be a JSON object.", repr(line[:80]))
            record = {}
        records.append(record)
    return records, lines, faults


def _at_once(lines: list[str]) -> list[dict[str, Any]] | None:
    """Returns the objects of lines that are all good, in half the time; None if one is damaged, or no object."""
    if not all(line[0] == "{" and line.rstrip()[-1] == "}" for line in lines):
        return None
    try:
        records: list[dict[str, Any]] = _AS_TEXT.decode(f"[{','.join(lines)}]")
    except (json.JSONDecodeError, RecursionError):
        return None
    return records if len(records) == len(lines) and all(type(each) is dict for each in records) else None


def _listed(table: str, text: str) -> tuple[list[dict[str, Any]], Sequence[int], dict[int, Fault]]:
    """Returns the objects of a JSON list, empty for what is none; their numbers; and the faults."""
    try:
        given = _AS_TEXT.decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{table} must be JSON.", error) from error
    faults: dict[int, Fault] = {
        index: ("damaged", "an item of the list must be a JSON object.", repr(each)[:80])
        for index, each in enumerate(given)
        if not isinstance(each, dict)
    }
    return [{} if index in faults else each for index, each in enumerate(given)], range(1, len(given) + 1), faults
