"""annotations.parquet, with a row per picture, and dead_letters.jsonl, with a line per rejected picture."""

import hashlib
import io
import json
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.prepare.load_picture import PictureRow
from tfrecords.dataset.manifest import ANNOTATIONS, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.images.crop import BoundingBox
from tfrecords.typed_json import shorten

_ROWS_PER_GROUP = 20_000
_NO_BOX = BoundingBox(0, 0, 0, 0)
_BOX = pa.struct([(edge, pa.float64()) for edge in ("ymin", "xmin", "ymax", "xmax")])
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("subset", pa.string()),
        ("name", pa.string()),
        ("index", pa.int64()),
        ("text", pa.string()),
        ("length", pa.int64()),
        ("boxes", pa.list_(_BOX)),
        ("box", _BOX),
        ("split", pa.string()),
        ("shard", pa.int64()),
        ("source_bytes", pa.int64()),
        ("source_crc32c", pa.int64()),
        ("source_height", pa.int64()),
        ("source_width", pa.int64()),
        ("crop_box", _BOX),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""Columns of annotations.parquet: sizes and boxes in pixels; stage, reason and detail of rejected pictures only."""


def to_table(rows: list[PictureRow]) -> pa.Table:
    """Returns the rows as an Arrow table of `SCHEMA`."""
    annotations, files = [row.annotation for row in rows], [row.file for row in rows]
    texts = [annotation.text or None for annotation in annotations]
    dead = [row.dead for row in rows]
    # Column by column, in a third of the time of a dictionary per row.
    columns: dict[str, list[Any]] = {
        "key": [annotation.key for annotation in annotations],
        "subset": [annotation.subset for annotation in annotations],
        "name": [annotation.name for annotation in annotations],
        "index": [annotation.index for annotation in annotations],
        "text": texts,
        "length": [text and len(text) for text in texts],
        "boxes": [annotation.boxes for annotation in annotations],
        "box": [annotation.box for annotation in annotations],
        "split": [None if row.dead else row.split for row in rows],
        "shard": [None if row.dead else row.shard for row in rows],
        "source_bytes": [file and file.bytes for file in files],
        "source_crc32c": [file and file.crc32c for file in files],
        "source_height": [file and file.height for file in files],
        "source_width": [file and file.width for file in files],
        "crop_box": [row.crop_box for row in rows],
        "stage": [letter and letter.stage for letter in dead],
        "reason": [letter and letter.reason for letter in dead],
        "detail": [letter and letter.detail for letter in dead],
    }
    return pa.table([_array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Returns a column of one of the types of `SCHEMA`; None is null.

    From buffers: `pa.array` imports pandas where it is installed, for 0.3 s and 40 MB, which no part of this needs.
    """
    if pa.types.is_list(kind):
        boxes = _boxes(list(chain.from_iterable(values)))
        return pa.Array.from_buffers(kind, len(values), [None, _ends(list(map(len, values)))], children=[boxes])
    valid = _valid(values)
    if pa.types.is_struct(kind):
        return _boxes([_NO_BOX if box is None else box for box in values], valid)
    if pa.types.is_string(kind):
        texts = [b"" if text is None else text.encode() for text in values]
        content = pa.py_buffer(b"".join(texts))
        return pa.Array.from_buffers(kind, len(texts), [valid, _ends(list(map(len, texts))), content])
    numbers = np.array([0 if number is None else number for number in values], np.int64)
    return pa.Array.from_buffers(kind, len(numbers), [valid, pa.py_buffer(numbers)])


def _boxes(boxes: list[BoundingBox], valid: pa.Buffer | None = None) -> pa.Array:
    """Returns an array of `_BOX`."""
    edges = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4).T
    columns = [
        pa.Array.from_buffers(pa.float64(), len(boxes), [None, pa.py_buffer(np.ascontiguousarray(edge))])
        for edge in edges
    ]
    return pa.Array.from_buffers(_BOX, len(boxes), [valid], children=columns)


def _valid(values: list[Any]) -> pa.Buffer | None:
    """Returns the bit of each value that is not None; None if all are."""
    if None not in values:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))


def _ends(sizes: list[int]) -> pa.Buffer:
    """Returns where each value of a column with values of these sizes begins, and where the last one ends."""
    return pa.py_buffer(np.cumsum([0, *sizes], dtype=np.int32))


def rows_with(table: pa.Table, column: str, *texts: str) -> pa.Table:
    """Returns the rows whose column has one of these texts.

    By a mask: an expression imports Arrow's datasets and, where it is installed, pandas, for 0.1 to 0.2 s.
    """
    return table.filter(has_text(table, column, *texts))


def has_text(table: pa.Table, column: str, *texts: str) -> pa.ChunkedArray:
    """Returns for each row whether its column has one of these texts."""
    return pc.is_in(table[column], value_set=_array(list(texts), pa.string()))


def to_parquet(table: pa.Table) -> bytes:
    """Returns the rows as a Parquet file, in the source's order."""
    order = _source_order(table)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
        # Group by group: a sorted copy of the complete table would be the job's largest use of memory.
        for start in range(0, len(order), _ROWS_PER_GROUP):
            writer.write_table(table.take(order[start : start + _ROWS_PER_GROUP]))
    return buffer.getvalue()


def dead_letters_jsonl(table: pa.Table) -> bytes:
    """Returns a JSON line per rejected picture, in the source's order: key, stage, reason and detail."""
    rejected = table.filter(pc.is_valid(table["reason"]))
    rows = rejected.take(_source_order(rejected)).select(["key", "stage", "reason", "detail"]).to_pylist()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _source_order(table: pa.Table) -> pa.Array:
    """Returns the indices of the rows in the source's order."""
    return pc.sort_indices(table.select(["subset", "index"]), [("subset", "ascending"), ("index", "ascending")])


def read_table(directory: Place, manifest: Manifest) -> pa.Table:
    """Returns the rows of a dataset directory, as a table of `SCHEMA`.

    Args:
      directory: The directory.
      manifest: Its manifest.

    Raises:
      UserError: The file is missing, not the one that the manifest names, or of another version.
    """
    path = directory / ANNOTATIONS
    data = read_bytes(path)
    if data is None:
        raise UserError(f"{path} must be there: corrections and merges of a stream need it.", "no file")
    if (found := hashlib.sha256(data).hexdigest()) != manifest.files.get(ANNOTATIONS):
        raise UserError(f"{path} must be the file that the manifest next to it names.", found)
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} must be a Parquet file.", shorten(str(error))) from error
    if table.schema.remove_metadata() != SCHEMA:
        raise UserError(f"{path} must have the columns that this version writes.", shorten(str(table.schema)))
    return table.replace_schema_metadata()
