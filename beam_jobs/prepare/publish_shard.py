"""What one finished shard holds, kept beside it until the dataset is whole: so a rerun need not make it again."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from beam_jobs import filesystem
from beam_jobs.prepare.annotations_table import to_table
from beam_jobs.prepare.load_picture import PictureRow
from beam_jobs.prepare.plan import Plan
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path, parse_index

_INFO = b"shard"
_PIECE_BYTES = 1 << 21


@dataclass(frozen=True)
class ShardResult:
    """A shard's file and size, and the rows of its pictures as a table of `annotations_table.SCHEMA`."""

    info: ShardInfo
    table: pa.Table

    def save(self, plan: Plan) -> None:
        """Writes the result to where `load` finds it; the shard itself must stand already."""
        table = self.table.replace_schema_metadata({_INFO: json.dumps(asdict(self.info))})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        filesystem.publish(_path(plan, self.info.file), [sink.getvalue().to_pybytes()], plan.scratch)

    @classmethod
    def load(cls, plan: Plan, name: str) -> "ShardResult":
        """Returns the result of a shard that was written.

        Raises:
          OSError: there is none.
        """
        table = pa.ipc.open_stream(filesystem.read_bytes(_path(plan, name))).read_all()
        info = ShardInfo(**json.loads(table.schema.metadata[_INFO]))
        return cls(info, table.replace_schema_metadata())


def publish_shard(plan: Plan, name: str, records: list[bytes], rows: list[PictureRow]) -> ShardResult:
    """Writes a shard of these framed records, its index, and then what is known of it."""
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in _join(records):
            digest.update(piece)
            yield piece

    filesystem.publish(plan.path(name), pieces(), plan.scratch)
    filesystem.publish(plan.path(index_path(name)), [format_index(map(len, records))], plan.scratch)
    info = ShardInfo(name, len(records), sum(map(len, records)), digest.hexdigest())
    result = ShardResult(info, to_table(rows))
    result.save(plan)
    return result


def _join(records: list[bytes]) -> Iterator[bytes]:
    """Yields the records joined to some megabytes: Python's lock, let go of for each, is long in coming back."""
    start = size = 0
    for stop, record in enumerate(records, 1):
        size += len(record)
        if size >= _PIECE_BYTES or stop == len(records):
            yield b"".join(records[start:stop])
            start, size = stop, 0


def find_whole_shard(plan: Plan, name: str) -> ShardResult | None:
    """Returns the result of a shard that an earlier run finished, or None where it must be made.

    A shard is made again if its file is not what was written, its index not of it, or if one of its pictures could
    not be read: it may have been supplied since.
    """
    if not filesystem.exists(_path(plan, name)):
        return None
    result = ShardResult.load(plan, name)
    try:
        shard, index = filesystem.read_bytes(plan.path(name)), filesystem.read_bytes(plan.path(index_path(name)))
        starts = parse_index(index, index_path(name))
    except (OSError, UserError):
        return None
    indexed = (len(starts) - 1, starts[-1]) == (result.info.examples, len(shard))
    whole = indexed and hashlib.sha256(shard).hexdigest() == result.info.sha256
    unread = "picture" in result.table.column("stage").unique().to_pylist()
    return result if whole and not unread else None


def _path(plan: Plan, name: str) -> str:
    return filesystem.join(plan.results, f"{name}.arrow")
