"""annotations.parquet, with a row per picture, and dead_letters.jsonl, with a line per rejected picture."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.prepare.load_picture import PictureRow
from tfrecords.images.crop import BoundingBox

_ROWS_PER_GROUP = 20_000
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
    columns = {
        "key": [annotation.key for annotation in annotations],
        "subset": [annotation.subset for annotation in annotations],
        "name": [annotation.name for annotation in annotations],
        "index": [annotation.index for annotation in annotations],
        "text": texts,
        "length": [text and len(text) for text in texts],
        "boxes": _boxes([annotation.boxes for annotation in annotations]),
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
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _boxes(boxes: list[tuple[BoundingBox, ...]]) -> pa.ListArray:
    """Returns an array with a list of boxes per picture."""
    edges = np.array([edge for of_picture in boxes for box in of_picture for edge in box], np.float64).reshape(-1, 4)
    values = pa.StructArray.from_arrays([pa.array(edge) for edge in edges.T], fields=list(_BOX))
    offsets = np.cumsum([0, *map(len, boxes)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=pa.list_(_BOX))


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
    rejected = table.filter(pc.field("reason").is_valid())
    rows = rejected.take(_source_order(rejected)).select(["key", "stage", "reason", "detail"]).to_pylist()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _source_order(table: pa.Table) -> pa.Array:
    """Returns the indices of the rows in the source's order."""
    return pc.sort_indices(table.select(["subset", "index"]), [("subset", "ascending"), ("index", "ascending")])
