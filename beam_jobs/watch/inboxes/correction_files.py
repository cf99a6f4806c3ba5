"""Corrections as they arrive: `corrections.jsonl` or `corrections.csv` in the folder of a batch.

    {"key": "2026-11-03/5.png", "action": "relabel", "text": "1907"}
    {"key": "2026-11-03/6.png", "action": "delete"}

A file is taken complete or not at all: one bad row refuses the batch, so that no half of a file takes effect.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from beam_jobs.watch.batch import DELETE, RELABEL, Correction
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import from_json, parse_object, shorten

JSON_LINES, CSV = "corrections.jsonl", "corrections.csv"
FILES = (JSON_LINES, CSV)
"""Names of the files of corrections; a batch may have each."""
_COLUMNS = ("key", "action", "text")
_Row = tuple[str, dict[str, Any]]
"""File and line of a row, as errors name them, and its values."""


def read_corrections(place: Place) -> list[Correction]:
    """Returns the corrections in the folder of a batch, in the files' order; none where there is no file of any.

    Args:
      place: Folder of the batch.

    Raises:
      UserError: A row breaks a rule, two rows contradict each other, or a file does not end with its last line's end,
        since it is still being written.
      OSError: A file cannot be read.
    """
    found: dict[str, tuple[str, Correction]] = {}
    for name, rows in ((JSON_LINES, _json_rows), (CSV, _csv_rows)):
        path = place / name
        data = read_bytes(path)
        if data is None:
            continue
        for where, values in rows(_text(data, path), str(path)):
            correction = _correction(values, where)
            before = found.setdefault(correction.key, (where, correction))
            if before[1] != correction:
                rule = f"{where}: A number must be corrected in one way, and {before[0]} corrects {correction.key} too."
                raise UserError(rule, f"{_shown(before[1])} and {_shown(correction)}")
    return [correction for _, correction in found.values()]


def _text(data: bytes, path: Place) -> str:
    """Returns the content of a file.

    Raises:
      UserError: It is not UTF-8, or its last line has no end: `12` may be the beginning of `123`.
    """
    if data and not data.endswith(b"\n"):
        last = data[data.rfind(b"\n") + 1 :].decode(errors="replace")
        raise UserError(f"{path}: The last line must end with a line feed, or it may be incomplete.", shorten(last))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8.", shorten(str(error))) from error


def _json_rows(text: str, path: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}: line {number}"
            yield where, parse_object(line, where)


def _csv_rows(text: str, path: str) -> Iterator[_Row]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if sorted(header) not in (sorted(_COLUMNS), sorted(_COLUMNS[:2])):
            rule = f"{path}: line 1: The columns must be {', '.join(_COLUMNS)}; without text, all are deletions."
            raise UserError(rule, shorten(",".join(header)))
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            if row and len(row) != len(header):
                raise UserError(
                    f"{where}: A row must have {len(header)} values, as the header.", shorten(",".join(row))
                )
            if row:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num}: must be a row of CSV.", error) from error


def _correction(values: dict[str, Any], where: str) -> Correction:
    """Returns the correction of a row.

    Raises:
      UserError: It breaks a rule.
    """
    found = from_json(Correction, {"text": "", **values}, where)
    batch, slash, picture = found.key.partition("/")
    if not (batch and slash and picture):
        raise UserError(f"{where}: key must be that of a number, BATCH/PICTURE.", shorten(repr(found.key)))
    if found.action == RELABEL and not found.text:
        raise UserError(f"{where}: A {RELABEL} must have the new text; {DELETE} removes a number.", "no text")
    if found.action == DELETE and found.text:
        raise UserError(f"{where}: A {DELETE} has no text.", shorten(repr(found.text)))
    return found


def _shown(correction: Correction) -> str:
    return shorten(f"{correction.action} {correction.text!r}" if correction.text else correction.action)
