"""annotations.parquet and dead_letters.jsonl: one row a picture, and one line a rejected one."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.shard import PictureRow

_ROWS_IN_A_GROUP = 20_000
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
"""The columns of annotations.parquet; sizes and boxes in pixels; stage, reason and detail only where rejected."""


def to_table(rows: list[PictureRow]) -> pa.Table:
    """Returns the rows as an Arrow table of `SCHEMA`."""
    return pa.Table.from_pylist([_to_dict(row) for row in rows], SCHEMA)


def to_parquet(table: pa.Table) -> bytes:
    """Returns the rows as a Parquet file, in the source's order."""
    order = _source_order(table)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
        # A copy of the whole table in order would be the job's largest piece of memory.
        for start in range(0, len(order), _ROWS_IN_A_GROUP):
            writer.write_table(table.take(order[start : start + _ROWS_IN_A_GROUP]))
    return buffer.getvalue()


def dead_letters_jsonl(table: pa.Table) -> bytes:
    """Returns a JSON line for each rejected picture, in the source's order: key, stage, reason and detail."""
    rejected = table.filter(pc.field("reason").is_valid())
    rows = rejected.take(_source_order(rejected)).select(["key", "stage", "reason", "detail"]).to_pylist()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _source_order(table: pa.Table) -> pa.Array:
    return pc.sort_indices(table.select(["subset", "index"]), [("subset", "ascending"), ("index", "ascending")])


def _to_dict(row: PictureRow) -> dict[str, Any]:
    annotation, source, dead = row.annotation, row.source, row.dead
    known = bool(annotation.digits)
    return {
        "key": annotation.key,
        "subset": annotation.subset,
        "name": annotation.name,
        "index": annotation.index,
        "text": "".join(map(str, annotation.digits)) if known else None,
        "length": len(annotation.digits) if known else None,
        "boxes": [box._asdict() for box in annotation.boxes],
        "split": row.split if not dead else None,
        "shard": row.shard if not dead else None,
        "source_bytes": source and source.bytes,
        "source_crc32c": source and source.crc32c,
        "source_height": source and source.height,
        "source_width": source and source.width,
        "crop_box": row.crop_box and row.crop_box._asdict(),
        "stage": dead and dead.stage,
        "reason": dead and dead.reason,
        "detail": dead and dead.detail,
    }
