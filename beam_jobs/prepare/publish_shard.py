"""Writes a shard and its result: what is known of it, kept until the dataset is complete, for later runs to resume."""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from beam_jobs import filesystem
from beam_jobs.prepare import claim
from beam_jobs.prepare.annotations_table import SCHEMA, to_table
from beam_jobs.prepare.load_picture import PictureRow
from beam_jobs.prepare.plan import RESULT_SUFFIX, RESULTS, WORK, Plan
from beam_jobs.prepare.versions import check_worker
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.errors import UserError
from tfrecords.files import remote
from tfrecords.files.index import format_index, index_path, parse_index
from tfrecords.files.place import Place
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
        filesystem.publish(_place(plan, self.info.file), [sink.getvalue().to_pybytes()], plan.scratch)

    @classmethod
    def load(cls, plan: Plan, name: str) -> "ShardResult":
        """Returns the result of the shard of this name.

        Raises:
          OSError: There is none.
          UserError: It is damaged.
        """
        place = _place(plan, name)
        path = str(place)
        data = place.read_bytes()
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


def publish_shard(
    plan: Plan, name: str, records: list[bytes], rows: list[PictureRow], sha256: str | None = None
) -> ShardResult:
    """Writes a shard, its index and then its result.

    Args:
      plan: Plan of the job.
      name: Name of the shard's file.
      records: Framed records, in order.
      rows: Rows of the shard's pictures.
      sha256: Digest of the records; None to compute it while they are written.

    Raises:
      UserError: A file cannot be written, or another run has taken the output over.
    """
    return publish_records(plan, name, records, to_table(rows), check_worker(plan), sha256)


def publish_records(
    plan: Plan,
    name: str,
    records: list[bytes],
    table: pa.Table,
    versions: dict[str, str] | None = None,
    sha256: str | None = None,
) -> ShardResult:
    """Writes a shard, its index and then its result, from rows that are a table already.

    Args:
      plan: Plan of the job.
      name: Name of the shard's file.
      records: Framed records, in order.
      table: Rows of the shard's pictures, of `annotations_table.SCHEMA`, in the source's order.
      versions: Versions that made the records, by package; nothing for the plan's.
      sha256: Digest of the records; None to compute it while they are written.

    Raises:
      UserError: A file cannot be written, or another run has taken the output over.
    """
    if plan.output.is_remote:
        claim.check(plan.claim, plan.run_id)
    content = _Content(records)
    filesystem.publish(plan.path(name), records if sha256 else content, plan.scratch)
    filesystem.publish(plan.path(index_path(name)), [format_index(map(len, records))], plan.scratch)
    info = ShardInfo(name, len(records), sum(map(len, records)), sha256 or content.digest.hexdigest())
    result = ShardResult(info, table, versions or {})
    result.save(plan)
    return result


class _Content:
    """Chunks of a shard, digested while they are written.

    Attributes:
      digest: SHA-256 of the chunks that were taken since the last beginning.
    """

    def __init__(self, records: list[bytes]) -> None:
        """Takes the framed records."""
        self._records = records
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        self.digest = hashlib.sha256()
        for chunk in _chunks(self._records):
            self.digest.update(chunk)
            yield chunk


def digest_of(records: list[bytes]) -> str:
    """Returns the SHA-256 digest of a shard's file."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(record)
    return digest.hexdigest()


def _chunks(records: list[bytes]) -> Iterator[bytes]:
    """Yields the records joined to chunks of some megabytes, since each release of Python's lock costs a wait."""
    start = size = 0
    for stop, record in enumerate(records, 1):
        size += len(record)
        if size >= _CHUNK_BYTES or stop == len(records):
            yield b"".join(records[start:stop])
            start, size = stop, 0


def find_complete_shard(plan: Plan, name: str, reads_pictures: bool = True) -> ShardResult | None:
    """Returns the result of a shard that an earlier run completed, or None if the shard must be written.

    A shard is written again if its file or its index is not what was written, if it was written by other versions than
    the plan allows now, or if one of its pictures could not be read: the picture may have been supplied since.

    Local files are read and compared by digest. In a store, the shard must have the size that its result states, and
    neither file may be younger than the result by the store's clock: the result is written last, and uploads are
    complete or absent. Only a change of the same length within the same tick of that clock, a second on S3, is not
    noticed. Where a store states no times, the digest is compared.

    Args:
      plan: Plan of the job.
      name: Name of the shard's file.
      reads_pictures: Whether a run would read a picture again that could not be read.
    """
    listed = _listed(plan.output, plan.run_id) if plan.output.is_remote else None
    if not (name in listed.results if listed else _place(plan, name).exists()):
        return None
    try:
        result = ShardResult.load(plan, name)
        unchanged = listed.is_unchanged(result.info) if listed else None
        if unchanged is None:
            unchanged = _has_digest(plan, result.info)
    except (OSError, UserError):
        return None
    unread = reads_pictures and "picture" in result.table.column("stage").unique().to_pylist()
    allowed = plan.allow_other_versions or not result.versions
    return result if unchanged and allowed and not unread else None


def check_shards(plan: Plan, shards: list[ShardInfo]) -> None:
    """Checks that the shards in a store are still those of their results.

    An upload of a run that has lost its claim, as by a network that was gone for a minute, may be complete only after
    this run has written the same shard. The listing shows it: the shard is younger than its result, or of another size.

    Args:
      plan: Plan of the job.
      shards: All shards, as their results state them.

    Raises:
      UserError: One was replaced, or is missing.
    """
    listed = _list(plan.output)
    for info in shards:
        if listed.is_unchanged(info) is not False:
            continue
        try:
            is_same = _has_digest(plan, info)
        except (OSError, UserError):
            is_same = False
        if not is_same:
            rule = "must be as this run has written it, and another run has replaced it: run the command again."
            raise UserError(f"{plan.path(info.file)} {rule}")


def _has_digest(plan: Plan, info: ShardInfo) -> bool:
    """Returns whether a shard has the digest of its result, and an index that fits.

    Raises:
      OSError: A file is missing.
      UserError: The index is damaged.
    """
    name = info.file
    shard, index = plan.path(name).read_bytes(), plan.path(index_path(name)).read_bytes()
    starts = parse_index(index, index_path(name))
    indexed = (len(starts) - 1, starts[-1]) == (info.examples, len(shard))
    return indexed and hashlib.sha256(shard).hexdigest() == info.sha256


@dataclass(frozen=True)
class _Listed:
    """What a store states of the files of a dataset: size, bytes, and time of the last change.

    Attributes:
      files: Files of the dataset, by name.
      results: The same of results, by the name of the shard.
    """

    files: dict[str, tuple[int | None, float | None]]
    results: dict[str, tuple[int | None, float | None]]

    def is_unchanged(self, info: ShardInfo) -> bool | None:
        """Returns whether a shard and its index are as they were when the result was written; None if unknown."""
        shard, index = self.files.get(info.file), self.files.get(index_path(info.file))
        if not shard or not index or shard[0] != info.bytes:
            return False
        written = self.results.get(info.file, (None, None))[1]
        times = [time for _, time in (shard, index)]
        if written is None or None in times:
            return None
        return all(time is not None and time <= written for time in times)


@functools.lru_cache(maxsize=1)
def _listed(output: Place, run_id: str) -> _Listed:
    """Lists an output once for each run and process: asking for each shard would be a request for each."""
    return _list(output)


def _list(output: Place) -> _Listed:
    """Lists an output and its results."""
    files = remote.stated(str(output))
    results = remote.stated(str(output / WORK / RESULTS)) if files else {}
    return _Listed(files, {name.removesuffix(RESULT_SUFFIX): found for name, found in results.items()})


def _place(plan: Plan, name: str) -> Place:
    """Returns the place of a shard's result."""
    return plan.results / f"{name}{RESULT_SUFFIX}"
