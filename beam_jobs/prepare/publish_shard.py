"""Writes a shard and its result: what is known of it, kept until the dataset is complete, for later runs to resume."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from beam_jobs import filesystem
from beam_jobs.prepare.annotations_table import SCHEMA, to_table
from beam_jobs.prepare.load_picture import PictureRow
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.versions import check_worker
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path, parse_index
from tfrecords.typed_json import from_json, parse_object, shorten

_INFO = b"shard"
_VERSIONS = b"versions"
_CHUNK_BYTES = 1 << 21


@dataclass(frozen=True)
class ShardResult:
    """A shard that was written.

    Attributes:
      info: Name, size and digest of the shard's file.
      table: Rows of its pictures, a table of `annotations_table.SCHEMA`.
      versions: Versions that wrote it, by package; nothing for the launcher's.
    """

    info: ShardInfo
    table: pa.Table
    versions: dict[str, str] = field(default_factory=dict)

    def save(self, plan: Plan) -> None:
        """Writes the result to the results folder; the shard itself must be complete already.

        Raises:
          UserError: The file cannot be written.
        """
        metadata = {_INFO: json.dumps(asdict(self.info)), _VERSIONS: json.dumps(self.versions)}
        table = self.table.replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        filesystem.publish(_path(plan, self.info.file), [sink.getvalue().to_pybytes()], plan.scratch)

    @classmethod
    def load(cls, plan: Plan, name: str) -> "ShardResult":
        """Returns the result of the shard of this name.

        Raises:
          OSError: There is none.
          UserError: It is damaged.
        """
        path = _path(plan, name)
        data = filesystem.read_bytes(path)
        try:
            table = pa.ipc.open_stream(data).read_all()
            table.validate(full=True)
            is_result = table.schema.remove_metadata() == SCHEMA and _INFO in (table.schema.metadata or {})
        # pyarrow raises OSError for some damage.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} must be an Arrow stream.", shorten(str(error))) from error
        if not is_result:
            raise UserError(f"{path} must be the result of a shard.")
        info = from_json(ShardInfo, parse_object(table.schema.metadata[_INFO], path), path)
        versions = parse_object(table.schema.metadata.get(_VERSIONS, b"{}"), path)
        return cls(info, table.replace_schema_metadata(), versions)


def publish_shard(plan: Plan, name: str, records: list[bytes], rows: list[PictureRow]) -> ShardResult:
    """Writes a shard, its index and then its result.

    Args:
      plan: Plan of the job.
      name: Name of the shard's file.
      records: Framed records, in order.
      rows: Rows of the shard's pictures.

    Raises:
      UserError: A file cannot be written.
    """
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for chunk in _chunks(records):
            digest.update(chunk)
            yield chunk

    filesystem.publish(plan.path(name), chunks(), plan.scratch)
    filesystem.publish(plan.path(index_path(name)), [format_index(map(len, records))], plan.scratch)
    info = ShardInfo(name, len(records), sum(map(len, records)), digest.hexdigest())
    result = ShardResult(info, to_table(rows), check_worker(plan))
    result.save(plan)
    return result


def _chunks(records: list[bytes]) -> Iterator[bytes]:
    """Yields the records joined to chunks of some megabytes, since each release of Python's lock costs a wait."""
    start = size = 0
    for stop, record in enumerate(records, 1):
        size += len(record)
        if size >= _CHUNK_BYTES or stop == len(records):
            yield b"".join(records[start:stop])
            start, size = stop, 0


def find_complete_shard(plan: Plan, name: str) -> ShardResult | None:
    """Returns the result of a shard that an earlier run completed, or None if the shard must be written.

    A shard is written again if its file or its index is not what was written, if it was written by other versions than
    the plan allows now, or if one of its pictures could not be read: the picture may have been supplied since.
    """
    if not filesystem.exists(_path(plan, name)):
        return None
    try:
        result = ShardResult.load(plan, name)
        shard, index = filesystem.read_bytes(plan.path(name)), filesystem.read_bytes(plan.path(index_path(name)))
        starts = parse_index(index, index_path(name))
    except (OSError, UserError):
        return None
    indexed = (len(starts) - 1, starts[-1]) == (result.info.examples, len(shard))
    unchanged = indexed and hashlib.sha256(shard).hexdigest() == result.info.sha256
    unread = "picture" in result.table.column("stage").unique().to_pylist()
    allowed = plan.allow_other_versions or not result.versions
    return result if unchanged and allowed and not unread else None


def _path(plan: Plan, name: str) -> str:
    """Returns the path of a shard's result."""
    return filesystem.join(plan.results, f"{name}.arrow")
