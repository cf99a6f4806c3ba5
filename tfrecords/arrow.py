"""Examples as Arrow batches, in Parquet or Arrow IPC files: for Hugging Face datasets, pandas, DuckDB, Polars, R."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords.record.codec import png_bytes
from tfrecords.record.schema import DigitExample

_ROWS = 1000
"""Rows per batch. A batch becomes a row group of a Parquet file, and readers hold at least one row group in memory."""
_IMAGE_BYTES = 32 << 20
"""Bytes of images after which a batch also ends, so that large images need no more memory than small ones."""
# Variable-size lists, because older Parquet readers do not support fixed-size ones.
_INTEGERS = pa.list_(pa.int64())
# Arrow has no image type. Hugging Face datasets infers the types of all other columns.
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
        ("has_digit_boxes", pa.bool_()),
    ],
    metadata={"huggingface": json.dumps(_HUGGING_FACE)},
)
"""Columns with the names and values of `DigitExample`'s attributes. `image` is an Image of Hugging Face datasets: the
`bytes` of a PNG file, and a `path` for images in separate files, which is always null."""


def record_batches(examples: Iterable[DigitExample]) -> Iterator[pa.RecordBatch]:
    """Yields examples as Arrow batches of `SCHEMA`, in order.

        table = pa.Table.from_batches(record_batches(tfrecords.open("svhn-records", "test")), SCHEMA)

    Images become PNG files, without loss. A batch has 1,000 rows, or fewer if the images are large. The last batch may
    be shorter.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for example in examples:
        png = png_bytes(example.image)
        rows.append({**example.to_dict(), "image": {"bytes": png, "path": None}, "boxes": list(example.boxes)})
        size += len(png)
        if len(rows) == _ROWS or size >= _IMAGE_BYTES:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)


def write_parquet(examples: Iterable[DigitExample], stream: BinaryIO) -> int:
    """Writes examples as a Parquet file and returns their number."""
    # A dictionary does not help PNG files, which never repeat.
    packed = [name for name in SCHEMA.names if name != "image"]
    with pq.ParquetWriter(stream, SCHEMA, compression="zstd", use_dictionary=packed) as writer:
        return _write(examples, writer)


def write_ipc(examples: Iterable[DigitExample], stream: BinaryIO) -> int:
    """Writes examples as an Arrow IPC file (Feather V2), uncompressed, and returns their number.

    This is the file format, not the stream format: it can be mapped into memory and read by batch index, and pandas,
    Polars and R read it. Of the readers that we know, only `datasets.Dataset.from_file` needs a stream;
    `datasets.load_dataset("arrow", ...)` accepts both.
    """
    with pa.ipc.new_file(stream, SCHEMA) as writer:
        return _write(examples, writer)


def _write(examples: Iterable[DigitExample], writer: Any) -> int:
    count = 0
    for batch in record_batches(examples):
        writer.write_batch(batch)
        count += batch.num_rows
    return count
