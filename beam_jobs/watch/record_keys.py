"""Which number or picture a record of a stream is of, read from its bytes; its pixels are not decoded."""

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.record.codec import decode
from tfrecords.record.fast_decode import UnknownLayoutError, split_values
from tfrecords.record.scene import decode_scene_label


def record_key(data: bytes, manifest: Manifest, where: object) -> str:
    """Returns the key of a record.

    Args:
      data: Serialized record.
      manifest: Manifest of its dataset.
      where: Location of the record in error messages.

    Raises:
      UserError: It is no record of this dataset.
    """
    if manifest.task == FIND:
        return decode_scene_label(data, where)[0]
    try:
        return split_values(data, manifest.labels, manifest.schema_version)[1][0].decode()
    except (UnknownLayoutError, ValueError):
        return decode(data, where, manifest.labels, manifest.schema_version).key


def example_of(key: str, manifest: Manifest) -> str:
    """Returns what a record with this key is of: the key of a number, or of a picture to find numbers in."""
    return key if manifest.task == FIND else key.rpartition("#")[0]
