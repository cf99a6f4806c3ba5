"""The records: their schema, bytes, shards, manifest and readers. Light: NumPy, protobuf, Pillow."""

from tfrecords._version import __version__
from tfrecords.batches import Batches
from tfrecords.boxes import BoundingBox
from tfrecords.codec import decode, encode
from tfrecords.crop import CropSpec
from tfrecords.errors import UserError
from tfrecords.manifest import Manifest
from tfrecords.reader import Examples, open, read_records
from tfrecords.record_file import RecordFile
from tfrecords.schema import MAX_LENGTH, PAD, SCHEMA_VERSION, DigitExample
from tfrecords.shards import ShardName, atomic_write

__all__ = [
    "MAX_LENGTH",
    "PAD",
    "SCHEMA_VERSION",
    "Batches",
    "BoundingBox",
    "CropSpec",
    "DigitExample",
    "Examples",
    "Manifest",
    "RecordFile",
    "ShardName",
    "UserError",
    "__version__",
    "atomic_write",
    "decode",
    "encode",
    "open",
    "read_records",
]
