"""A shard of a dataset, checked against the manifest."""

from tfrecords.dataset.manifest import ShardInfo
from tfrecords.errors import UserError
from tfrecords.files.disk_cache import DiskCache
from tfrecords.files.framing import RecordLocation
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from tfrecords.files.storage import open_copy


def open_shard(directory: Place, shard: ShardInfo, verify: bool = True, cache: DiskCache | None = None) -> RecordFile:
    """Opens one shard of a dataset.

    Args:
      directory: Dataset directory.
      shard: Description of the shard in the manifest.
      verify: Whether to check the checksum of each record.
      cache: Cache on the disk for the shards of a remote dataset; None reads them from their addresses.

    Raises:
      UserError: The shard is missing, or the shard or its index differs from the manifest.
    """
    place = directory / shard.file
    copy = open_copy(place, cache, shard.sha256, shard.bytes) if cache and place.is_remote else None
    file = RecordFile(place, verify, copy)
    expected = f"{shard.examples} records in {shard.bytes} bytes, as the manifest states"
    if file.index_file and (len(file), file.end) != (shard.examples, shard.bytes):
        rule = f"{file.index_file} must describe {expected}; `python -m tfrecords index --overwrite` rewrites it."
        raise UserError(rule, f"{len(file)} records in {file.end} bytes")
    # In a truncated or damaged file, the records before the damage and, with an index, after it can be read.
    short = file.index_file or (len(file) < shard.examples and (file.damage or file.size < shard.bytes))
    if (len(file), file.size) != (shard.examples, shard.bytes) and not (short and file.size <= shard.bytes):
        raise UserError(f"{file.path} must hold {expected}.", f"{len(file)} records in {file.size} bytes")
    return file


def truncation_error(file: RecordFile, shard: ShardInfo) -> UserError:
    """Returns the error for records that are missing from a file that was truncated between two records."""
    location = RecordLocation(file.path, len(file), file.end)
    return UserError(f"{location}: the file ends before its last record, of {shard.examples}.", f"{file.size} bytes")
