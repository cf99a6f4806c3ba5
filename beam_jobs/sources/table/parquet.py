"""Parquet: columns of text, and pictures inside the file as Hugging Face's `datasets` writes them.

A column of pictures is of paths, or of structs `{bytes, path}` (https://huggingface.co/docs/datasets/about_dataset_features#image-feature).
Row groups of pictures are kept in memory up to a limit, since pictures are asked for one by one in any order.
"""

import errno
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from beam_jobs.sources.base import REJECTED_ROWS
from beam_jobs.sources.table.columns import Columns, Fault, Rows
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

_KEPT_BYTES = 512 << 20
"""Size of the row groups that a process keeps: those of MNIST and of most sets of numbers all fit."""
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class ParquetRows:
    """Rows of a Parquet table.

    Attributes:
      rows: Values of the columns.
      embedded: Name of the column that holds the pictures themselves, or empty. Their names begin with their row.
    """

    rows: Rows
    embedded: str = ""


def read_parquet(shards: Sequence[Place], choose: Callable[[Sequence[str]], Columns]) -> ParquetRows:
    """Returns the rows of a table of one file or several.

    Args:
      shards: Files of the table, in order.
      choose: Function that returns the columns to read, by the names of all.

    Raises:
      UserError: A file is no Parquet, the files have different columns, or the numbers are stored as floats.
    """
    import pyarrow as pa

    names: list[str] = []
    tables = []
    for shard in shards:
        with shard.open() as stream:
            file = _open(shard, stream)
            try:
                names = names or file.schema_arrow.names
                columns = choose(names)
                if file.schema_arrow.names != names:
                    raise UserError(f"{shard} must have the columns of the first shard.", shards[0])
                embedded = _is_embedded(file.schema_arrow.field(columns.picture).type)
                read = [names[index] for index in columns.read]
                tables.append(file.read(columns=[f"{read[0]}.path" if embedded else read[0], *read[1:]]))
            except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
                raise UserError(f"{shard} is damaged: it cannot be read.", _first_line(error)) from error
    try:
        table = pa.concat_tables(tables)
        values = _values(shards[0], table, names, columns, embedded)
    except (UnicodeDecodeError, pa.ArrowException) as error:
        rule = f"{shards[0]} must hold UTF-8, and all its shards the same types."
        raise UserError(rule, _first_line(error)) from error
    faults = _rejected(table.schema) if len(shards) == 1 else {}
    rows = Rows(columns, values, range(1, table.num_rows + 1), "row", faults)
    return ParquetRows(rows, read[0] if embedded else "")


def _rejected(schema: Any) -> dict[int, Fault]:
    """Returns why rows are no numbers, by index, where the writer of the file has said so."""
    found = json.loads((schema.metadata or {}).get(REJECTED_ROWS, b"{}"))
    return {int(index): (reason, rule, received) for index, (reason, rule, received) in found.items()}


def _values(shard: Place, table: Any, names: list[str], columns: Columns, embedded: bool) -> list[Sequence[Any]]:
    """Returns the values of the columns that are read."""
    values: list[Sequence[Any]] = [
        _pictures(shard, table.column(names[columns.picture]), embedded),
        _texts(shard, table, names[columns.text]),
        *(table.column(names[index]).to_pylist() for index in columns.boxes),
    ]
    if columns.split is not None:
        values.append(_texts(shard, table, names[columns.split]))
    return values


def _open(shard: Place, stream: Any) -> Any:
    """Returns the open Parquet file of a stream.

    Raises:
      UserError: It is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(stream)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(f"{shard} must be a Parquet file.", _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])


def _is_embedded(kind: Any) -> bool:
    """Returns whether a column's type is a struct of a picture's bytes and path."""
    import pyarrow as pa

    return pa.types.is_struct(kind) and {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}


def _pictures(shard: Place, column: Any, embedded: bool) -> list[Any]:
    """Returns the paths of pictures; those of embedded ones begin with their row, so that they differ."""
    import pyarrow as pa

    if embedded:
        paths = (each["path"] for each in column.to_pylist())
        return [f"{row}/{_file_name(path)}" if path else str(row) for row, path in enumerate(paths)]
    column = _decoded(column)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
        rule = f"{shard}: the column of pictures must hold paths, or structs of bytes and path."
        raise UserError(rule, column.type)
    found: list[Any] = column.to_pylist()
    return found


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _decoded(column: Any) -> Any:
    """Returns a column without its dictionary, and as plain strings."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if str(column.type) == "string_view" else column


def _texts(shard: Place, table: Any, name: str) -> list[Any]:
    """Returns the texts of a column: strings, integers, decimals, or classes of Hugging Face by their names.

    Raises:
      UserError: The column has another type.
    """
    import pyarrow as pa

    column = _decoded(table.column(name))
    kind = column.type
    if pa.types.is_integer(kind):
        classes = _class_names(table.schema, name)
        if classes is not None:
            return [_class_name(shard, classes, value) for value in column.to_pylist()]
        return list(map(_text_or_none, column.to_pylist()))
    if pa.types.is_decimal(kind):
        return list(map(_text_or_none, column.to_pylist()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return list(column.to_pylist())
    rule = f"{shard}: column {name} must be of strings or integers"
    rule += ": floats have lost zeros at their ends. Store the numbers as text." if pa.types.is_floating(kind) else "."
    raise UserError(rule, kind)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else format(value, "f" if hasattr(value, "as_tuple") else "d")


def _class_names(schema: Any, column: str) -> list[str] | None:
    """Returns the names of a column's classes, where `datasets` has written them; None if it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]] if features[column]["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None


def _class_name(shard: Place, classes: list[str], value: int | None) -> str | None:
    if value is None or value == -1:  # -1 is how datasets writes a missing class.
        return None
    if not 0 <= value < len(classes):
        raise UserError(f"{shard} has {len(classes)} classes.", f"class {value}")
    return classes[value]


class _RowGroups:
    """Pictures of the row groups that were read last, up to a size. Threads share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def column(self, shard: str, name: str, group: int) -> Any:
        """Returns the column of pictures in a row group of a file."""
        key = (shard, name, group)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _read_group(Place(shard), name, group)
                while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > _KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


_ROW_GROUPS = _RowGroups()


def _read_group(shard: Place, name: str, group: int) -> Any:
    """Returns the column of pictures in a row group.

    Raises:
      OSError: The row group is damaged.
    """
    import pyarrow as pa

    with shard.open() as stream:
        file = _open(shard, stream)
        try:
            return file.read_row_group(group, columns=[f"{name}.bytes"]).column(name)
        except pa.ArrowException as error:
            raise OSError(errno.EIO, "The row group is damaged", str(shard)) from error


@lru_cache(maxsize=8)
def _row_counts(shards: tuple[Place, ...]) -> list[tuple[str, int, int]]:
    """Returns the file, index and number of rows of each row group of a table."""
    found = []
    for shard in shards:
        with shard.open() as stream:
            metadata = _open(shard, stream).metadata
            found += [
                (str(shard), group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)
            ]
    return found


def read_embedded(shards: tuple[Place, ...], column: str, name: str) -> bytes:
    """Returns the bytes of an embedded picture.

    Args:
      shards: Files of the table, in order.
      column: Name of the column of pictures.
      name: Name of the picture, which begins with its row.

    Raises:
      FileNotFoundError: The row has no picture.
    """
    row = int(name.partition("/")[0])
    for shard, group, rows in _row_counts(shards):
        if row < rows:
            data = _ROW_GROUPS.column(shard, column, group)[row].as_py()["bytes"]
            if data is None:
                break
            return bytes(data)
        row -= rows
    raise FileNotFoundError(errno.ENOENT, "The table holds no bytes of this picture", name)
