"""Examples as Arrow batches, in Parquet or Arrow IPC files: for Hugging Face datasets, pandas, DuckDB, Polars, R."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords.record.codec import png_bytes
from tfrecords.record.schema import DigitExample

_ROWS = 1000
"""Rows a batch, which is a Parquet file's row group: a reader holds one at least in memory."""
_PICTURE_BYTES = 32 << 20
"""After so many bytes of pictures a batch ends too, so that large pictures need no more memory than small ones."""
# Lists, not lists of fixed size: older Parquet readers know no others.
_INTEGERS = pa.list_(pa.int64())
# What Arrow's types do not tell; Hugging Face datasets takes every other column by its type.
_HUGGING_FACE = {"info": {"features": {"image": {"_type": "Image"}}}}
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("length", pa.int64()),
        ("digits", _INTEGERS),
        ("crop_box", _INTEGERS),
        ("jitter_offset", _INTEGERS),
        ("source_size", _INTEGERS),
        ("boxes", pa.list_(pa.list_(pa.float32()))),
    ],
    metadata={"huggingface": json.dumps(_HUGGING_FACE)},
)
"""The columns, named as `DigitExample`'s attributes and with their values. `image` is what Hugging Face datasets calls
an Image: a PNG file's `bytes`, and a `path`, always null, where the picture were a file instead."""


def record_batches(examples: Iterable[DigitExample]) -> Iterator[pa.RecordBatch]:
    """Yields examples as Arrow batches of `SCHEMA`, in order.

        table = pa.Table.from_batches(record_batches(tfrecords.open("svhn-records", "test")), SCHEMA)

    Pictures become PNG files, without loss. A batch has 1,000 rows, fewer where pictures are large, and at the end.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for example in examples:
        picture = png_bytes(example.image)
        image = {"bytes": picture, "path": None}
        rows.append({**example.to_dict(), "image": image, "boxes": list(example.boxes)})
        size += len(picture)
        if len(rows) == _ROWS or size >= _PICTURE_BYTES:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)


def write_parquet(examples: Iterable[DigitExample], stream: BinaryIO) -> int:
    """Writes examples as a Parquet file and returns how many they were."""
    # PNG files neither shrink nor repeat.
    packed = [name for name in SCHEMA.names if name != "image"]
    with pq.ParquetWriter(stream, SCHEMA, compression="zstd", use_dictionary=packed) as writer:
        return _write(examples, writer)


def write_ipc(examples: Iterable[DigitExample], stream: BinaryIO) -> int:
    """Writes examples as an Arrow IPC file (Feather V2), uncompressed, and returns how many they were.

    The file format, not the stream format: it can be mapped into memory and read by batch number, and is what pandas,
    Polars and R read. Of the readers that we know, only `datasets.Dataset.from_file` wants a stream;
    `datasets.load_dataset("arrow", ...)` takes both.
    """
    with pa.ipc.new_file(stream, SCHEMA) as writer:
        return _write(examples, writer)


def _write(examples: Iterable[DigitExample], writer: Any) -> int:
    count = 0
    for batch in record_batches(examples):
        writer.write_batch(batch)
        count += batch.num_rows
    return count
