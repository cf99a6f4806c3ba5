"""Examples as Arrow batches, in Parquet or Arrow IPC files: for Hugging Face datasets, pandas, DuckDB, Polars, R."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords.record.codec import png_bytes
from tfrecords.record.scene import SceneExample, picture_file
from tfrecords.record.schema import DigitExample

_ROWS = 1000
"""Rows per batch. A batch becomes a row group of a Parquet file, and readers hold at least one row group in memory."""
_IMAGE_BYTES = 32 << 20
"""Bytes of images after which a batch also ends, so that large images need no more memory than small ones."""
# Variable-size lists, because older Parquet readers do not support fixed-size ones.
_INTEGERS = pa.list_(pa.int64())
_BOXES = pa.list_(pa.list_(pa.float32()))
# Arrow has no image type. Hugging Face datasets infers the types of all other columns.
_HUGGING_FACE = {"info": {"features": {"image": {"_type": "Image"}}}}
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image", _IMAGE),
        ("text", pa.string()),
        ("length", pa.int64()),
        ("digits", _INTEGERS),
        ("crop_box", _INTEGERS),
        ("jitter_offset", _INTEGERS),
        ("source_size", _INTEGERS),
        ("boxes", _BOXES),
        ("has_digit_boxes", pa.bool_()),
    ],
    metadata={"huggingface": json.dumps(_HUGGING_FACE)},
)
"""Columns with the names and values of `DigitExample`'s attributes. `image` is an Image of Hugging Face datasets: the
`bytes` of a PNG file, and a `path` for images in separate files, which is always null."""
SCENE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image", _IMAGE),
        ("texts", pa.list_(pa.string())),
        ("boxes", _BOXES),
        ("digit_labels", _INTEGERS),
        ("digit_numbers", _INTEGERS),
        ("digit_boxes", _BOXES),
        ("source_size", _INTEGERS),
        ("content_size", _INTEGERS),
    ],
    metadata=SCHEMA.metadata,
)
"""Columns of scenes, with the names and values of `SceneExample`'s attributes. `image` holds the JPEG or PNG file of
the record, or a PNG file of its raw pixels."""


def record_batches(
    examples: Iterable[DigitExample | SceneExample], schema: pa.Schema = SCHEMA
) -> Iterator[pa.RecordBatch]:
    """Yields examples as Arrow batches, in order.

        table = pa.Table.from_batches(record_batches(tfrecords.open("svhn-records", "test")), SCHEMA)

    Images become PNG files, without loss. A batch has 1,000 rows, or fewer if the images are large. The last batch may
    be shorter.

    Args:
      examples: Examples, or scenes.
      schema: `SCHEMA` for examples, `SCENE_SCHEMA` for scenes.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for example in examples:
        file = picture_file(example)[0] if isinstance(example, SceneExample) else png_bytes(example.image)
        row = {**example.to_dict(), "image": {"bytes": file, "path": None}}
        rows.append({**row, **{name: list(row[name]) for name in ("boxes", "digit_boxes") if name in row}})
        size += len(file)
        if len(rows) == _ROWS or size >= _IMAGE_BYTES:
            yield pa.RecordBatch.from_pylist(rows, schema)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema)


def write_parquet(examples: Iterable[DigitExample | SceneExample], stream: BinaryIO, schema: pa.Schema = SCHEMA) -> int:
    """Writes examples, or scenes with `SCENE_SCHEMA`, as a Parquet file and returns their number."""
    # A dictionary does not help PNG files, which never repeat.
    packed = [name for name in schema.names if name != "image"]
    with pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=packed) as writer:
        return _write(examples, writer, schema)


def write_ipc(examples: Iterable[DigitExample | SceneExample], stream: BinaryIO, schema: pa.Schema = SCHEMA) -> int:
    """Writes examples, or scenes with `SCENE_SCHEMA`, as an Arrow IPC file (Feather V2) and returns their number.

    It is uncompressed. This is the file format, not the stream format: it can be mapped into memory and read by batch
    index, and pandas, Polars and R read it. Of the readers that we know, only `datasets.Dataset.from_file` needs a
    stream; `datasets.load_dataset("arrow", ...)` accepts both.
    """
    with pa.ipc.new_file(stream, schema) as writer:
        return _write(examples, writer, schema)


def _write(examples: Iterable[DigitExample | SceneExample], writer: Any, schema: pa.Schema) -> int:
    count = 0
    for batch in record_batches(examples, schema):
        writer.write_batch(batch)
        count += batch.num_rows
    return count
