"""The columns of a table: which of them hold pictures, numbers, boxes and the subset's name."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from beam_jobs.sources.base import BOX_FORMATS, PICTURE_SUFFIXES, SourceOptions
from tfrecords.errors import UserError, printable

PICTURE_COLUMNS = ("file_name", "filename", "image", "path", "image_path", "url")
TEXT_COLUMNS = ("text", "label", "number", "plate_text")
SPLIT_COLUMNS = ("split", "subset", "set")
_BOXES: dict[tuple[str, ...], str] = {
    ("left", "top", "width", "height"): "ltwh",
    ("x", "y", "w", "h"): "ltwh",
    ("x", "y", "width", "height"): "ltwh",
    ("xmin", "ymin", "xmax", "ymax"): "ltrb",
    ("x1", "y1", "x2", "y2"): "ltrb",
    ("left", "top", "right", "bottom"): "ltrb",
}
"""Names of the four columns of a box, and what their numbers mean."""
_LIST = "bbox"
"""Name of one column that holds a box's four numbers. It says nothing of their meaning."""
_MOST_NAMES = 20
MOST_SHOWN = 80
"""Characters of a value in a message."""

Fault = tuple[str, str, Any]
"""Reason, rule and received value of a rejected row."""


@dataclass(frozen=True)
class Columns:
    """Positions of the columns of a table that are read.

    Attributes:
      picture: Position of the pictures' paths or URLs.
      text: Position of the numbers.
      boxes: Positions of the box: four, one that holds a list, or none.
      box_format: One of `BOX_FORMATS`; None without boxes.
      split: Position of the subset's name, or None.
    """

    picture: int
    text: int
    boxes: tuple[int, ...] = ()
    box_format: str | None = None
    split: int | None = None

    @property
    def read(self) -> tuple[int, ...]:
        """Positions of all columns that are read: picture, text, boxes, split."""
        return (self.picture, self.text, *self.boxes, *(() if self.split is None else (self.split,)))


@dataclass
class Rows:
    """Values of a table's columns, row by row. A rejected row has the value None in all of them.

    Attributes:
      columns: Positions of the columns.
      values: Values of each column in `columns.read`: text, None, or what else JSON has.
      lines: Number of the line, or of the row, of each row in its file.
      unit: Word for these numbers: line or row.
      faults: Reason for the rejection of a row, by index.
    """

    columns: Columns
    values: list[Sequence[Any]]
    lines: Sequence[int]
    unit: str = "line"
    faults: dict[int, Fault] = field(default_factory=dict)


@dataclass(frozen=True)
class Chooser:
    """Chooses the columns of a table by its options, else by common names in any case.

    Attributes:
      table: Path or address of the table, for errors.
      options: How the table is to be read.
    """

    table: str
    options: SourceOptions

    def choose(self, names: Sequence[str]) -> Columns:
        """Returns the positions of the columns.

        Args:
          names: Names of all columns, in order.

        Raises:
          UserError: A column is missing, or two could be meant.
        """
        names = [name.strip() for name in names]
        options = self.options
        flags = (options.picture_column, options.text_column, options.split_column)
        boxes = tuple(name.strip() for name in (options.box_columns or "").split(",") if name.strip())
        # A column that a flag names has this one meaning.
        taken = {self._named(names, name, "") for name in (*flags, *boxes) if name}
        free = [None if index in taken else name for index, name in enumerate(names)]
        picture = self._one(names, free, options.picture_column, PICTURE_COLUMNS, "picture")
        text = self._one(names, free, options.text_column, TEXT_COLUMNS, "text")
        if picture is None or text is None:
            raise self._missing(names, "picture" if picture is None else "text")
        split = self._one(names, free, options.split_column, SPLIT_COLUMNS, "split")
        columns = Columns(picture, text, split=split)
        if boxes:
            return self._given_boxes(columns, names, boxes)
        return self._found_boxes(columns, names, free)

    def _named(self, names: Sequence[str], wanted: str, flag: str) -> int:
        """Returns the position of a column that a flag names: exactly, else in any case."""
        found = [index for index, name in enumerate(names) if name == wanted]
        found = found or [index for index, name in enumerate(names) if name.lower() == wanted.lower()]
        if len(found) == 1:
            return found[0]
        rule = f"{self.table} has {len(found) or 'no'} columns of this name; its columns: {_listed(names)}."
        raise UserError(rule, printable(wanted))

    def _one(
        self, names: Sequence[str], free: list[str | None], given: str | None, common: tuple[str, ...], kind: str
    ) -> int | None:
        """Returns the position of the given column, or of the only one with a common name; None if there is none."""
        if given:
            return self._named(names, given, kind)
        found = [index for index, name in enumerate(free) if name is not None and name.lower() in common]
        if len(found) > 1:
            raise self._ambiguous([names[index] for index in found], names, kind)
        return found[0] if found else None

    def _ambiguous(self, found: Sequence[str], names: Sequence[str], kind: str) -> UserError:
        flag = f"--{kind}-columns" if kind == "box" else f"--{kind}-column"
        twice = " (a name that occurs twice cannot be chosen)" if len(set(found)) < len(found) else ""
        rule = (
            f"{self.table} has more than one {kind} column: {flag} must choose{twice}. Its columns: {_listed(names)}."
        )
        return UserError(rule, ", ".join(map(printable, found)))

    def _missing(self, names: Sequence[str], kind: str) -> UserError:
        common = PICTURE_COLUMNS if kind == "picture" else TEXT_COLUMNS
        rule = f"{self.table} must have a {kind} column: {', '.join(common)}, or --{kind}-column."
        if any(name.lower().endswith(tuple(PICTURE_SUFFIXES)) for name in names):
            rule = f"{rule} The first line must hold the columns' names."
        return UserError(rule, f"columns {_listed(names)}")

    def _given_boxes(self, columns: Columns, names: Sequence[str], boxes: tuple[str, ...]) -> Columns:
        """Returns the columns with the boxes that `box_columns` names."""
        if len(boxes) not in (1, 4):
            raise UserError("box_columns must name four columns, or one.", self.options.box_columns)
        known = _BOXES.get(tuple(name.lower() for name in boxes))
        return self._with_boxes(columns, tuple(self._named(names, name, "box") for name in boxes), names, known)

    def _found_boxes(self, columns: Columns, names: Sequence[str], free: list[str | None]) -> Columns:
        """Returns the columns with the boxes that have common names, if there are any."""
        lower = [None if name is None else name.lower() for name in free]
        sets: list[tuple[tuple[str, ...], str | None]] = [
            (each, meaning) for each, meaning in _BOXES.items() if all(name in lower for name in each)
        ]
        sets += [((_LIST,), None)] if _LIST in lower else []
        if not sets:
            return columns
        if len(sets) > 1 or any(lower.count(name) > 1 for name in sets[0][0]):
            raise self._ambiguous([" ".join(each) for each, _ in sets], names, "box")
        (each, meaning) = sets[0]
        return self._with_boxes(columns, tuple(lower.index(name) for name in each), names, meaning)

    def _with_boxes(
        self, columns: Columns, boxes: tuple[int, ...], names: Sequence[str], meaning: str | None
    ) -> Columns:
        """Returns the columns with boxes, whose meaning the option gives, else their names."""
        meaning = self.options.box_format or meaning
        if meaning is None:
            # A wrong guess would cut other crops without a word.
            given = _listed([names[index] for index in boxes])
            rule = f"{self.table}: --box-format must say what the numbers of a box mean: {' or '.join(BOX_FORMATS)}."
            raise UserError(rule, given)
        return replace(columns, boxes=boxes, box_format=meaning)


def shown(value: Any) -> str:
    """Returns a value for a message: as Python writes it, and not all of a long one."""
    return repr(value)[:MOST_SHOWN]


def _listed(names: Sequence[str]) -> str:
    """Returns columns' names, the first ones of many."""
    first = ", ".join(printable(name) or "''" for name in names[:_MOST_NAMES])
    return f"{first} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else first
