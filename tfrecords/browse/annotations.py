"""annotations.parquet of a dataset or a stream: what is known of each picture, and why some were rejected."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS
from tfrecords.errors import UserError
from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, Column, read_table
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import shorten

_EDGES = ("ymin", "xmin", "ymax", "xmax")
_PART = re.compile("@[0-9]+$")
_REQUIRED = {"key": STRINGS, "reason": STRINGS_OR_NULLS}


def _is_box(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and {kind.field(index).name for index in range(kind.num_fields)} == {*_EDGES})


_INTEGERS = Column("integers", pa.types.is_integer, nullable=True)
_BOX = Column("boxes", _is_box, nullable=True)
_BOXES = Column("lists of boxes", lambda kind: pa.types.is_list(kind) and _is_box(kind.value_type), nullable=True)
_OPTIONAL = {
    "subset": STRINGS_OR_NULLS,
    "name": STRINGS_OR_NULLS,
    "index": _INTEGERS,
    "text": STRINGS_OR_NULLS,
    "boxes": _BOXES,
    "box": _BOX,
    "split": STRINGS_OR_NULLS,
    "shard": _INTEGERS,
    "source_bytes": _INTEGERS,
    "source_crc32c": _INTEGERS,
    "source_height": _INTEGERS,
    "source_width": _INTEGERS,
    "crop_box": _BOX,
    "stage": STRINGS_OR_NULLS,
    "detail": STRINGS_OR_NULLS,
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Row:
    """One row of the table, of one number in a picture.

    Attributes:
      values: Values by column, without those that are missing.
    """

    values: dict[str, Any]

    @property
    def key(self) -> str:
        """Key of the number."""
        return str(self.values["key"])

    def box(self, name: str) -> Box | None:
        """Returns the box in a column: ymin, xmin, ymax, xmax in pixels of the source picture; None without one."""
        found = self.values.get(name)
        return None if found is None else _edges(found)

    @property
    def boxes(self) -> list[Box]:
        """Boxes of the characters, in pixels of the source picture."""
        return [_edges(each) for each in self.values.get("boxes") or ()]


def _edges(box: dict[str, float]) -> Box:
    return box["ymin"], box["xmin"], box["ymax"], box["xmax"]


class Annotations:
    """The rows of one table, or of those of all directories of a stream.

    Attributes:
      notes: Sentences about what could not be read.
      reasons: Number of rejected pictures by reason, the most frequent first.
    """

    def __init__(self, directory: Place, parts: Sequence[str]) -> None:
        """Reads the tables.

        Args:
          directory: Dataset directory or stream.
          parts: Paths of the dataset directories in it; an empty path for itself.
        """
        self.notes: list[str] = []
        # Pages may be published, and are not to name folders of this machine.
        self._start = f"{directory}/"
        tables = [found for part in parts if (found := self._read(directory / part if part else directory)) is not None]
        self._table = pa.concat_tables(tables, promote_options="default") if tables else pa.table({"key": _strings([])})
        if "reason" not in self._table.column_names:
            self._table = self._table.append_column("reason", _strings([None] * len(self._table)))
        self._reasons = self._table["reason"].combine_chunks()
        self._keys = self._table["key"].combine_chunks()
        self._rejected = np.flatnonzero(np.asarray(self._reasons.is_valid()))
        self.reasons = dict(Counter(self._reasons.drop_null().to_pylist()).most_common())

    def _note(self, text: str) -> None:
        self.notes.append(text.replace(self._start, ""))

    def _read(self, directory: Place) -> pa.Table | None:
        """Returns the table of one directory; of one without it, its dead letters; None and a note if neither is."""
        place = directory / ANNOTATIONS
        try:
            return read_table(place, {**_REQUIRED, **self._optional(place)})
        except FileNotFoundError:
            self._note(f"{place}: there is no such file, so nothing is known of the source pictures.")
        except (UserError, OSError) as error:
            self._note(str(error))
        return self._dead_letters(directory / DEAD_LETTERS)

    def _optional(self, place: Place) -> dict[str, Column]:
        """Returns the further columns that a table has; one of another type becomes a note."""
        with place.open() as stream:
            try:
                schema = pq.read_schema(stream)
            except (pa.ArrowException, OSError):
                # What is wrong with it is said where it is read.
                return {}
        found = {name: column for name, column in _OPTIONAL.items() if name in schema.names}
        for name, column in list(found.items()):
            if not column.accepts(schema.field(name).type):
                self._note(f"{place}: the column {name} holds no {column.kind}, and is not shown.")
                del found[name]
        return found

    def _dead_letters(self, place: Place) -> pa.Table | None:
        """Returns the rows of a file of dead letters; None without one."""
        names = ("key", "stage", "reason", "detail")
        rows = []
        for number, line in enumerate((read_bytes(place) or b"").splitlines(), 1):
            try:
                found = json.loads(line)
                rows.append({name: str(found[name]) for name in names})
            except (ValueError, KeyError, TypeError):
                self._note(f"{place}: line {number} is no dead letter: {shorten(repr(line))}")
        return pa.table({name: _strings([row[name] for row in rows]) for name in names}) if rows else None

    def of_picture(self, picture: str) -> list[Row]:
        """Returns the rows of what an example shows, of its number or of a scene's numbers; the accepted ones first.

        Args:
          picture: Key of the example without its jitter; of a scene, its key.
        """
        is_same = pc.equal(self._keys, picture)
        if not pc.any(is_same).as_py():
            # The numbers of a scene, and the picture of a crop without a number.
            is_same = pc.starts_with(self._keys, f"{_PART.sub('', picture)}@")
        rows = np.flatnonzero(np.asarray(is_same.to_numpy(zero_copy_only=False)))
        found = [row for row in self._rows(rows) if _PART.sub("", row.key) == _PART.sub("", picture)]
        return sorted(found, key=lambda row: "reason" in row.values)

    def count(self, reason: str) -> int:
        """Returns the number of rejected pictures with a reason; an empty text stands for all."""
        return self.reasons.get(reason, 0) if reason else len(self._rejected)

    def rejected(self, reason: str, start: int, stop: int) -> list[Row]:
        """Returns some of the rejected pictures, in the order of the table.

        Args:
          reason: Reason; an empty text stands for all.
          start: Position of the first one among them.
          stop: Position after the last one.
        """
        rows = self._rejected
        if reason:
            is_reason = pc.equal(self._reasons, reason).fill_null(False)
            rows = np.flatnonzero(np.asarray(is_reason.to_numpy(zero_copy_only=False)))
        return self._rows(rows[start:stop])

    def _rows(self, indices: "np.ndarray[Any, Any]") -> list[Row]:
        found = self._table.take(pa.array(indices, pa.int64())).to_pylist()
        return [Row({name: value for name, value in row.items() if value is not None}) for row in found]


def _strings(values: Sequence[str | None]) -> pa.Array:
    return pa.array(values, pa.string())
