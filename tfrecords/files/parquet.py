"""Columns of a Parquet file that somebody else may have written."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.typed_json import shorten

_MAX_ROWS_PER_BYTE = 64
"""More rows than this per byte of a file are a wrong number of rows: those of tables here differ from each other."""


@dataclass(frozen=True)
class Column:
    """What a column must hold.

    Attributes:
      kind: Kind of its values, in error messages.
      accepts: Function that returns whether an Arrow type is of this kind.
      nullable: Whether values may be null.
    """

    kind: str
    accepts: Callable[[pa.DataType], bool]
    nullable: bool = False


STRINGS = Column("strings", lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
STRINGS_OR_NULLS = Column("strings", STRINGS.accepts, nullable=True)
NUMBERS = Column("numbers", pa.types.is_floating)
BOOLEANS = Column("booleans", pa.types.is_boolean)


def read_columns(path: Place | Path, columns: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Returns what `read_table` returns by name, as lists of equal length."""
    table = read_table(path, columns)
    return {name: table.column(name).to_pylist() for name in columns}


def read_table(path: Place | Path, columns: Mapping[str, Column]) -> pa.Table:
    """Returns columns of a Parquet file, checked, in the order of their names.

    Args:
      path: Path of the file.
      columns: What each column must hold, by name; other columns are not read.

    Raises:
      UserError: The file is no Parquet file or damaged; or a column is missing, of another type, or has nulls that it
        may not have.
      OSError: The file cannot be read.
    """
    with Place(path).open() as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            file = pq.ParquetFile(stream)
            found = file.schema_arrow
            if not 0 <= file.metadata.num_rows <= _MAX_ROWS_PER_BYTE * size:
                raise UserError(f"{path} must be a Parquet file.", f"{file.metadata.num_rows} rows in {size} bytes")
            _check_types(path, found, columns)
            table = file.read(columns=list(columns))
            # Offsets and UTF-8, which reading does not check.
            table.validate(full=True)
        # pyarrow raises OSError for some damage, and MemoryError for sizes that are damaged.
        except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
            raise UserError(f"{path} must be a Parquet file.", shorten(str(error))) from error
    nulls = [name for name, column in columns.items() if not column.nullable and table.column(name).null_count]
    if nulls:
        rule = f"{path} must have a value in every row of the columns {', '.join(columns)}; these have nulls."
        raise UserError(rule, nulls)
    return table.select(list(columns))


def _check_types(path: Place | Path, found: pa.Schema, columns: Mapping[str, Column]) -> None:
    for name, column in columns.items():
        if len(found.get_all_field_indices(name)) != 1:
            rule = f"{path} must have the columns {', '.join(columns)}, each once."
            raise UserError(rule, shorten(str(found.names)))
        if not column.accepts(found.field(name).type):
            raise UserError(f"{path}: the column {name} must hold {column.kind}.", shorten(str(found.field(name).type)))
