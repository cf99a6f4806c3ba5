"""The records: schema, bytes, shards, manifest and readers. Light dependencies: NumPy, protobuf, Pillow."""

from tfrecords._version import __version__
from tfrecords.dataset.batches import Batches
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.reader import Examples, open, read_records
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.files.record_file import RecordFile
from tfrecords.files.shards import ShardName
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.record.codec import decode, encode
from tfrecords.record.schema import MAX_LENGTH, PAD, SCHEMA_VERSION, DigitExample

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
