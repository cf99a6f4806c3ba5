"""Text files whose rows are pictures: integers for the pixels and, most often, one for the label.

Rows are separated by line breaks of either kind, values by commas, semicolons, tabs or spaces. Blank lines and lines
that begin with # or % are no rows. Blocks whose rows are sound are converted as arrays of characters; the others are
read line by line to find their faults.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import NO_ANNOTATION
from beam_jobs.sources.marks import Fault
from beam_jobs.sources.pixels.parts import CLASSES, unpacked
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

_HEAD_BYTES = 1 << 20
_HEAD_LINES = 100
_BLOCK_BYTES = 1 << 18
"""Size of a block: its arrays fit the processor's cache, and a fault costs the time of few rows."""
_LAST = 9
_BOM = b"\xef\xbb\xbf"
_COMMENTS = (b"#", b"%")
_LABELS = ("label", "labels", "class", "digit", "target", "y")
_IDS = ("id", "imageid", "image_id", "index", "unnamed: 0", "")
_LONGEST = 40
"""Characters of a bad value that a message holds."""


class Head(NamedTuple):
    """How a file of rows begins.

    Attributes:
      names: Names of the columns in lower case, from the header; None without one.
      line: Line of the header, from 1; 0 without one.
      columns: Number of values in a row: that of the header, or else of most of the first rows.
    """

    names: tuple[str, ...] | None
    line: int
    columns: int


@dataclass(frozen=True)
class Layout:
    """Meaning of the columns. All that are neither the label nor ignored are pixels, in order.

    Attributes:
      columns: Number of columns.
      label: Index of the label's column; None if there is none.
      ignored: Indices of columns that say nothing about the picture.
      line: Line of the header, from 1; 0 without one.
    """

    columns: int
    label: int | None
    ignored: tuple[int, ...] = ()
    line: int = 0

    @property
    def pixels(self) -> tuple[int, ...]:
        """Indices of the pixels' columns."""
        return tuple(each for each in range(self.columns) if each != self.label and each not in self.ignored)


@dataclass(frozen=True)
class Rows:
    """Pictures of a file.

    Attributes:
      pixels: (rows, pixels) uint8; zeros where a row is bad.
      labels: (rows,) uint8, 0..9, zeros where a row is bad; None without labels.
      faults: Faults by the index of the row.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    faults: dict[int, Fault] = field(default_factory=dict)


def read_head(place: Place) -> Head:
    """Returns how a file of rows begins; a header is a first row of which most values are no numbers.

    Raises:
      UserError: The file cannot be read, or holds no rows.
    """
    with unpacked(place) as stream:
        start = stream.read(_HEAD_BYTES)
    if b"\0" in start:
        raise UserError(f"{place} must be text in UTF-8.", "a zero byte, as UTF-16 and binary files have")
    # The last line may be cut.
    lines = _lines(_normal(start.removeprefix(_BOM)), 1)
    rows = [(number, line.split(b",")) for _, (number, line) in zip(range(_HEAD_LINES), lines, strict=False)]
    if len(start) == _HEAD_BYTES and len(rows) > 1:
        rows.pop()
    if not rows:
        raise UserError("A file of rows must hold at least one.", place)
    line, first = rows[0]
    if sum(map(_is_number, first)) < len(first) / 2:
        names = tuple(name.decode("utf-8", "replace").lower() for name in first)
        return Head(names, line, len(names))
    return Head(None, 0, Counter(len(fields) for _, fields in rows).most_common(1)[0][0])


def layout_of(head: Head, label_without_header: int | None) -> Layout:
    """Returns the meaning of the columns, by their names where the file has a header.

    Args:
      head: How the file begins.
      label_without_header: Index of the label's column where no column has a name; None if there is no label.
    """
    if head.names is None:
        return Layout(head.columns, label_without_header)
    label = next((at for at, name in enumerate(head.names) if name in _LABELS), None)
    ignored = tuple(at for at, name in enumerate(head.names) if name in _IDS and at != label)
    return Layout(head.columns, label, ignored, head.line)


def read_rows(place: Place, layout: Layout, most: int) -> Rows:
    """Returns all pictures of a file.

    Args:
      place: File of rows, which gzip may have packed.
      layout: Meaning of its columns.
      most: Largest value of a pixel, at most 255.

    Raises:
      UserError: The file cannot be read, or none of its rows can.
    """
    blocks = []
    faults: dict[int, Fault] = {}
    count = 0
    with unpacked(place) as stream:
        for line, block in _blocks(stream, layout.line):
            normal = _normal(block)
            values = _convert(normal, layout, most)
            if values is None:
                values, found = _read_lines(normal, line, layout, most)
                faults.update({count + index: fault for index, fault in found.items()})
            blocks.append(values)
            count += len(values.pixels)
    if not count:
        raise UserError("A file of rows must hold at least one below its header.", place)
    if len(faults) == count and all(fault.reason != NO_ANNOTATION for fault in faults.values()):
        raise UserError(f"{place} has no row that is a picture; the first: {faults[0].rule}", faults[0].received)
    pixels = np.concatenate([block.pixels for block in blocks])
    labels = None if layout.label is None else np.concatenate([block.labels for block in blocks])
    return Rows(pixels, labels, _in_file(faults, place))


def _in_file(faults: dict[int, Fault], place: Place) -> dict[int, Fault]:
    """Returns faults whose rules name the file."""
    return {index: fault._replace(rule=f"{place.name}, {fault.rule}") for index, fault in faults.items()}


def _blocks(stream: BinaryIO, header: int) -> Iterator[tuple[int, bytes]]:
    """Yields blocks of complete lines below the header, each with the number of its first line, from 1."""
    line = 1
    while block := stream.read(_BLOCK_BYTES):
        block += stream.readline()
        following = line + block.count(b"\n")
        if line == 1:
            block = block.removeprefix(_BOM)
            if header:
                block, line = [*block.split(b"\n", header), b""][header], header + 1
        yield line, block
        line = following


_AS_COMMAS = bytes.maketrans(b" \t;", b",,,")
_EDGES = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")
_SEPARATORS = re.compile(rb"[ \t]*[,;][ \t]*|[ \t]+")


def _normal(block: bytes) -> bytes:
    """Returns a block whose values are separated by commas, without quotes."""
    block = block.replace(b'"', b"").replace(b"'", b"")
    if not any(separator in block for separator in (b" ", b"\t", b";")):
        return block
    block = _EDGES.sub(b"", block)
    # Single separators, the most common: a third of the expression's time.
    simple = block.translate(_AS_COMMAS)
    return _SEPARATORS.sub(b",", block) if b",," in simple else simple


class _Values(NamedTuple):
    """Values of the rows of a block: pixels (rows, pixels) uint8, and labels (rows,) uint8, zeros without labels."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def _convert(block: bytes, layout: Layout, most: int) -> _Values | None:
    """Returns the values of a block if all its rows are sound; None if any may be bad, or is no row."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block.endswith(b"\n"):
        block += b"\n"
    codes = np.frombuffer(block, np.uint8)
    # Other characters than digits wrap to 10 and more.
    digits = codes - np.uint8(ord("0"))
    found = np.flatnonzero(digits > _LAST)
    if len(found) % layout.columns:
        return None
    ends = found.reshape(-1, layout.columns)
    marks = codes[ends]
    if (marks[:, :-1] != ord(",")).any() or (marks[:, -1] != ord("\n")).any():
        return None
    is_labelled = layout.label is not None
    labels = _integers(digits, ends[:, layout.label], CLASSES - 1) if is_labelled else np.zeros(len(ends), np.uint8)
    first, last = layout.pixels[0], layout.pixels[-1] + 1
    # A slice is several times as fast as columns one by one.
    used = slice(first, last) if last - first == len(layout.pixels) else list(layout.pixels)
    pixels = _integers(digits, ends[:, used].ravel(), most)
    return None if labels is None or pixels is None else _Values(pixels.reshape(len(ends), -1), labels)


def _integers(digits: NDArray[np.uint8], ends: NDArray[np.intp], most: int) -> NDArray[np.uint8] | None:
    """Returns integers of a text, (values,) uint8; None if one has no digit or four, or is above `most`.

    Args:
      digits: (characters,), each character of the text, which ends with a separator: 0..9 for a digit, else more.
      ends: (values,) indices of the separators after the values.
      most: Largest value allowed, at most 255.
    """
    values = digits[ends - 1].astype(np.uint16)
    if values.max(initial=0) > _LAST:
        return None
    # Indices are several times as fast as masks. Before the first character comes the last, a separator, by index -1.
    at = np.flatnonzero(digits[ends - 2] <= _LAST)
    for power in (1, 2):
        values[at] += np.uint16(10**power) * digits[ends[at] - 1 - power]
        at = at[np.flatnonzero(digits[ends[at] - 2 - power] <= _LAST)]
    if len(at):
        return None
    return values.astype(np.uint8) if values.max(initial=0) <= most else None


def _read_lines(block: bytes, first: int, layout: Layout, most: int) -> tuple[_Values, dict[int, Fault]]:
    """Returns the values of a block, zeros in bad rows, and the faults by row."""
    rows: list[bytes] = []
    labels: list[int] = []
    faults: dict[int, Fault] = {}
    for number, line in _lines(block, first):
        fields = line.split(b",")
        if fault := _fault(fields, layout, most):
            faults[len(rows)] = fault._replace(rule=f"line {number}: {fault.rule}")
            rows.append(bytes(len(layout.pixels)))
            labels.append(0)
        else:
            rows.append(bytes([int(fields[at]) for at in layout.pixels]))
            labels.append(0 if layout.label is None else int(fields[layout.label]))
    pixels = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), len(layout.pixels))
    return _Values(pixels, np.array(labels, np.uint8)), faults


def _fault(fields: list[bytes], layout: Layout, most: int) -> Fault | None:
    """Returns what is wrong with a row, or None."""
    if len(fields) != layout.columns:
        return Fault("bad_row", f"a row must have {layout.columns} values.", f"{len(fields)} values")
    for at in layout.pixels:
        if not _is_integer(fields[at], most):
            return Fault(
                "bad_pixel", f"a pixel must be an integer 0..{most}.", f"{_shown(fields[at])} in column {at + 1}"
            )
    if layout.label is None or _is_integer(fields[layout.label], CLASSES - 1):
        return None
    if not fields[layout.label]:
        return Fault(NO_ANNOTATION, "the label is empty.", "''")
    return Fault("bad_label", f"a label must be one of 0..{CLASSES - 1}.", _shown(fields[layout.label]))


def _lines(block: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a block that are rows, without white space around them, with their numbers."""
    for number, line in enumerate(block.split(b"\n"), first):
        row = line.strip()
        if row and not row.startswith(_COMMENTS):
            yield number, row


def _is_integer(text: bytes, most: int) -> bool:
    """Returns whether a text is an integer from 0 to `most`, of digits only."""
    return text.isdigit() and len(text) < _LONGEST and int(text) <= most


def _is_number(text: bytes) -> bool:
    """Returns whether a text is any number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(text: bytes) -> str:
    """Returns the beginning of a bad value, for a message."""
    return repr(printable(text[:_LONGEST].decode("utf-8", "replace")))
