"""Text files whose rows are pictures: integers for the pixels and, most often, one for the label.

Rows are separated by line breaks of either kind, values by commas, semicolons, tabs or spaces. Blank lines and lines
that begin with # or % are no rows. pyarrow converts blocks of rows that are sound; the others are read line by line
to find their faults. Converting each line in Python is 30 times as slow.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import NO_ANNOTATION
from beam_jobs.sources.pixels.parts import CLASSES, Fault, unpacked
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

_HEAD_BYTES = 1 << 20
_HEAD_LINES = 100
_BLOCK_BYTES = 8 << 20
"""Size of a block: many rows share the constant cost of a conversion, and a fault costs the time of few rows."""
_ARROW_BLOCK_BYTES = 1 << 20
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
    # The last line may be cut.
    lines = _lines(_normal(start.removeprefix(_BOM)), 1)
    rows = [(number, _fields(line)) for _, (number, line) in zip(range(_HEAD_LINES), lines, strict=False)]
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
            count += len(values)
    if not count:
        raise UserError("A file of rows must hold at least one below its header.", place)
    if len(faults) == count and all(fault.reason != NO_ANNOTATION for fault in faults.values()):
        raise UserError(f"{place} has no row that is a picture; the first: {faults[0].rule}", faults[0].received)
    pixels = len(layout.pixels)
    joined = np.empty((count, pixels), np.uint8)
    np.concatenate([block[:, :pixels] for block in blocks], out=joined)
    labels = None if layout.label is None else np.concatenate([block[:, pixels] for block in blocks])
    return Rows(joined, labels, _in_file(faults, place))


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


def _convert(block: bytes, layout: Layout, most: int) -> NDArray[np.uint8] | None:
    """Returns the pixels, then the label, of each row of a block: (rows, values) uint8; None if any may be bad."""
    import pyarrow as pa
    from pyarrow import csv

    # What pyarrow takes for more than integers in lines: 0x10, a carriage return alone.
    if block.translate(None, b"0123456789,\r\n") or block.count(b"\r") != block.count(b"\r\n"):
        return None
    names = [str(index) for index in range(layout.columns)]
    used = [names[at] for at in (*layout.pixels, *([] if layout.label is None else [layout.label]))]
    try:
        table = csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=names, block_size=_ARROW_BLOCK_BYTES),
            csv.ParseOptions(),
            # No text is a missing value: an empty one is an error.
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.uint8()), include_columns=used, null_values=[], check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    values = np.empty((table.num_rows, len(used)), np.uint8)
    start = 0
    # Batch by batch, so that what is written column by column fits the processor's cache.
    for batch in table.to_batches():
        rows = values[start : start + batch.num_rows]
        for at, column in enumerate(batch.columns):
            rows[:, at] = column.to_numpy()
        start += batch.num_rows
    pixels = len(layout.pixels)
    is_sound = values[:, :pixels].max(initial=0) <= most and values[:, pixels:].max(initial=0) < CLASSES
    return values if is_sound else None


def _read_lines(block: bytes, first: int, layout: Layout, most: int) -> tuple[NDArray[np.uint8], dict[int, Fault]]:
    """Returns the values of a block as `_convert` does, with zeros in bad rows, and the faults by row."""
    pixels, label = layout.pixels, layout.label
    rows = []
    faults = {}
    nothing = bytes(len(pixels) + (label is not None))
    for number, line in _lines(block, first):
        fields = _fields(line)
        if fault := _fault(fields, layout, most):
            faults[len(rows)] = fault._replace(rule=f"line {number}: {fault.rule}")
            rows.append(nothing)
        else:
            rows.append(bytes([int(fields[at]) for at in (*pixels, *([] if label is None else [label]))]))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), len(nothing)), faults


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


def _fields(line: bytes) -> list[bytes]:
    """Returns the values of a line."""
    return line.split(b",")


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
