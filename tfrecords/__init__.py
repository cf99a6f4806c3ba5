"""The records: schema, bytes, shards, manifest and readers. Light dependencies: NumPy, protobuf, Pillow.

The modules of the names below are imported with their first use: a command checks its options and answers Ctrl-C
before it imports NumPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfrecords._version import __version__
from tfrecords.errors import UserError

if TYPE_CHECKING:
    from tfrecords.dataset.batches import Batches
    from tfrecords.dataset.manifest import Manifest
    from tfrecords.dataset.reader import Examples, Scenes, open, read_records
    from tfrecords.files.publish import atomic_write
    from tfrecords.files.record_file import RecordFile
    from tfrecords.files.shards import ShardName
    from tfrecords.images.crop import BoundingBox, CropSpec
    from tfrecords.record.codec import decode, encode
    from tfrecords.record.labels import Labels
    from tfrecords.record.scene import SceneExample, decode_scene, encode_scene
    from tfrecords.record.schema import SCHEMA_VERSION, DigitExample
    from tfrecords.tfds import tfds_builder

__all__ = [
    "SCHEMA_VERSION",
    "Batches",
    "BoundingBox",
    "CropSpec",
    "DigitExample",
    "Examples",
    "Labels",
    "Manifest",
    "RecordFile",
    "SceneExample",
    "Scenes",
    "ShardName",
    "UserError",
    "__version__",
    "atomic_write",
    "decode",
    "decode_scene",
    "encode",
    "encode_scene",
    "open",
    "read_records",
    "tfds_builder",
]
_MODULES = {
    "dataset.batches": ["Batches"],
    "dataset.manifest": ["Manifest"],
    "dataset.reader": ["Examples", "Scenes", "open", "read_records"],
    "files.publish": ["atomic_write"],
    "files.record_file": ["RecordFile"],
    "files.shards": ["ShardName"],
    "images.crop": ["BoundingBox", "CropSpec"],
    "record.codec": ["decode", "encode"],
    "record.labels": ["Labels"],
    "record.scene": ["SceneExample", "decode_scene", "encode_scene"],
    "record.schema": ["SCHEMA_VERSION", "DigitExample"],
    "tfds": ["tfds_builder"],
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Returns a name of `__all__`, or a sub-package that holds one, and imports its module."""
    if name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    elif any(module.startswith(f"{name}.") for module in _MODULES):
        return importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Returns the public names, imported or not."""
    return sorted({*globals(), *__all__})
