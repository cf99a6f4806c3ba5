"""Directories of a stream merged to one, from their records and rows: no picture is read or decoded.

The new directory is, byte for byte, what `prepare` would write from all batches of the merged ones: an example's shard
and its place follow from digests of its key, so its record is only copied to where it belongs. Each record is read
twice: once for its key, and once for its shard. In memory are one shard, the annotations of all pictures, and twelve
bytes for each example. Of a stream in a store, the shards are first copied to temporary files, if there is room.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from beam_jobs.prepare.annotations_table import SCHEMA, read_table
from beam_jobs.prepare.assign import order_of, shard_of, split_of
from beam_jobs.prepare.output_lock import lock_unnamed
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_dataset import publish_dataset
from beam_jobs.prepare.publish_shard import find_complete_shard, publish_records
from beam_jobs.prepare.shard_work import ShardKey
from beam_jobs.sources.base import Subset
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.ledger import DamagedError
from beam_jobs.watch.record_keys import example_of, record_key
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.upkeep.copies import copy_shard, remove_old, temporary_folder
from tfrecords.dataset.manifest import ANNOTATIONS, FIND, Manifest, ShardInfo, WorkerVersions
from tfrecords.dataset.snapshots import Part, merge_manifests, part_manifest
from tfrecords.errors import UserError
from tfrecords.files.framing import frame
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile

_OPEN_FILES = 200
"""Limit of open files; many systems allow 1,024 per process, and the watcher has others."""
_COPIES = 8
"""Files that are copied from a store at once."""
_INDEX = np.dtype([("bucket", np.int32), ("file", np.int32), ("record", np.int32)])
"""Where an example belongs, as an index of `Plan.shard_keys`, and where it is."""


def merge_directories(stream: Stream, parts: Sequence[Part], into: str) -> None:
    """Writes the directory that several of a stream become.

    It is complete or absent under its name. What a kill leaves there, the next call resumes.

    Args:
      stream: Stream of the directories.
      parts: Directories, adjacent and in order; they are only read.
      into: Path of the new directory in the stream.

    Raises:
      DamagedError: A directory is damaged.
      UserError: A file cannot be read or written, or this machine has no room for copies.
    """
    if stream.place.is_remote:
        remove_old(stream.place)
    manifests = [_read_manifest(stream.place, part) for part in parts]
    plan, others = _plan(stream, parts, manifests, stream.place / into)
    with lock_unnamed(plan) as complete:
        if complete:
            return
        directories = [part.directory for part in parts]
        with ExitStack() as stack:
            sources = _sources(stream.place, directories, manifests)
            if stream.place.is_remote:
                sources = _copied(stream.place, sources, stack)
            _write_shards(plan, sources, _Rows(plan, _read_tables(stream.place, directories, manifests)))
        publish_dataset(plan, _read_no_picture, others)


def _plan(
    stream: Stream, parts: Sequence[Part], manifests: Sequence[Manifest], output: Place
) -> tuple[Plan, list[WorkerVersions]]:
    """Returns the plan of all batches of the parts, and the versions other than the plan's that made records.

    Both follow from the parts alone, not from what is installed now, so that another machine can resume.
    """
    subsets = tuple(
        Subset(source.subset, "", source.pictures, source.annotations_sha256)
        for manifest in manifests
        for source in manifest.sources
    )
    merged = merge_manifests(parts, manifests)
    plan = replace(plan_subsets(stream, subsets, output), versions=merged.versions)
    # Every shard may hold records of each: a number of shards would mean nothing, and change with each merge.
    others = [replace(other, shards=0) for other in merged.worker_versions if other.versions != plan.versions]
    return plan, others


def _read_no_picture(key: str) -> NoReturn:
    raise AssertionError(f"a merge reads no picture, and was asked for {key}")


@contextmanager
def _reading(directory: str) -> Iterator[None]:
    """Says of what is wrong with a file which directory it is in."""
    try:
        yield
    except UserError as error:
        raise DamagedError(directory, error) from error


def _read_manifest(stream: Place, part: Part) -> Manifest:
    with _reading(part.directory):
        return part_manifest(stream, part)


def _read_tables(stream: Place, directories: Sequence[str], manifests: Sequence[Manifest]) -> pa.Table:
    """Returns the rows of all pictures of several directories.

    Raises:
      DamagedError: A file of rows is missing, or not the one that its manifest names.
    """
    tables = []
    for directory, manifest in zip(directories, manifests, strict=True):
        with _reading(directory):
            tables.append(read_table(stream / directory, manifest))
    return pa.concat_tables(tables).combine_chunks()


class _Rows:
    """Rows of all pictures, and the shard that each belongs to.

    Attributes:
      buckets: Index of the new shard in `Plan.shard_keys`, by the key of an accepted number; of pictures to find
        numbers in, by that of a picture of which one is accepted.
    """

    def __init__(self, plan: Plan, table: pa.Table) -> None:
        """Assigns the rows as `prepare` assigns annotations: rejected ones too."""
        self._plan, self._table = plan, table
        index = {key: position for position, key in enumerate(plan.shard_keys)}
        config = plan.config
        self.buckets: dict[str, int] = {}
        of_rows = np.empty(table.num_rows, np.int32)
        columns = (table[name].to_pylist() for name in ("key", "subset", "name", "reason"))
        for row, (key, subset, name, reason) in enumerate(zip(*columns, strict=True)):
            picture = f"{subset}/{name}"
            split = split_of(subset, picture, config.seed, config.fractions)
            bucket = of_rows[row] = index[split, shard_of(picture, config.seed, plan.shards[split])]
            if reason is None:
                self.buckets[picture if config.task == FIND else key] = bucket
        order = np.lexsort((table["index"].to_numpy(), _ranks(table["subset"]), of_rows))
        self._order, self._sorted = order, of_rows[order]

    def of_shard(self, bucket: int) -> pa.Table:
        """Returns the rows of a new shard, in the source's order."""
        start, stop = np.searchsorted(self._sorted, [bucket, bucket + 1])
        rows = self._table.take(pa.array(self._order[start:stop]))
        shard = self._plan.shard_keys[bucket][1]
        values = [None if reason else shard for reason in rows["reason"].to_pylist()]
        return rows.set_column(SCHEMA.get_field_index("shard"), "shard", pa.array(values, pa.int64()))


def _ranks(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Returns the rank of each text of a column among all its texts."""
    texts = column.to_pylist()
    ranks = {text: rank for rank, text in enumerate(sorted(set(texts)))}
    return np.fromiter((ranks[text] for text in texts), np.int64, len(texts))


@dataclass(frozen=True)
class _Source:
    """One shard to copy from.

    Attributes:
      place: Place of the shard.
      directory: Path of its directory in the stream.
      split: Split of the shard.
      info: Shard, as its manifest names it.
      manifest: That manifest.
      copy: Copy of it on this machine; None for a local shard.
    """

    place: Place
    directory: str
    split: str
    info: ShardInfo
    manifest: Manifest
    copy: Path | None = None


def _sources(stream: Place, directories: Sequence[str], manifests: Sequence[Manifest]) -> list[_Source]:
    """Returns all shards of the directories."""
    return [
        _Source(stream / directory / info.file, directory, split, info, manifest)
        for directory, manifest in zip(directories, manifests, strict=True)
        for split, split_info in manifest.splits.items()
        for info in split_info.shards
    ]


def _copied(stream: Place, sources: Sequence[_Source], stack: ExitStack) -> list[_Source]:
    """Copies all shards to this machine, until the stack ends.

    Raises:
      DamagedError: One is missing.
      UserError: This machine has no room for them.
    """
    folder = stack.enter_context(temporary_folder(stream, sum(source.info.bytes for source in sources)))

    def copied(source: _Source, number: int) -> _Source:
        with _reading(source.directory):
            return replace(source, copy=copy_shard(source.place, folder / str(number)))

    with ThreadPoolExecutor(_COPIES) as threads:
        return list(threads.map(copied, sources, range(len(sources))))


class _Files:
    """The shards to copy from, of which the last used are open."""

    def __init__(self, sources: Sequence[_Source]) -> None:
        self.sources = sources
        self._open: OrderedDict[int, RecordFile] = OrderedDict()

    def __getitem__(self, index: int) -> RecordFile:
        """Returns a shard.

        Raises:
          UserError: It is missing or damaged.
        """
        if index not in self._open:
            source = self.sources[index]
            file = RecordFile(source.copy or source.place)
            if file.damage or (len(file), file.size) != (source.info.examples, source.info.bytes):
                rule = f"{source.place} must have {source.info.examples} records in {source.info.bytes} bytes."
                raise UserError(rule, file.damage or f"{len(file)} records in {file.size} bytes")
            self._open[index] = file
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return self._open[index]


def _write_shards(plan: Plan, sources: Sequence[_Source], rows: _Rows) -> None:
    """Writes all shards of the plan that are not complete already."""
    files = _Files(sources)
    index: NDArray[np.void] | None = None
    for bucket, key in enumerate(plan.shard_keys):
        name = str(plan.shard_name(*key))
        if find_complete_shard(plan, name, reads_pictures=False):
            continue
        if index is None:
            index = np.sort(np.fromiter(_locate(plan, files, rows), _INDEX), order=["bucket", "file", "record"])
        start, stop = np.searchsorted(index["bucket"], [bucket, bucket + 1])
        publish_records(plan, name, _records(plan, files, index[start:stop]), rows.of_shard(bucket))


def _locate(plan: Plan, files: _Files, rows: _Rows) -> Iterator[tuple[int, int, int]]:
    """Yields the new shard, the file and the index of every record.

    Raises:
      DamagedError: A shard is missing or damaged, or a record belongs to no accepted picture of its split.
    """
    keys: list[ShardKey] = plan.shard_keys
    for number, source in enumerate(files.sources):
        with _reading(source.directory):
            for record, data in enumerate(files[number]):
                key = _record_key(data, source)
                bucket = rows.buckets.get(example_of(key, source.manifest))
                if bucket is None or keys[bucket][0] != source.split:
                    rule = f"record {record} must be of a picture that {ANNOTATIONS} has in {source.split}."
                    raise UserError(f"{source.place}: {rule}", key)
                yield bucket, number, record


def _records(plan: Plan, files: _Files, index: NDArray[np.void]) -> list[bytes]:
    """Returns the framed records of one new shard, in their order."""
    placed = []
    for _, number, record in index.tolist():
        source = files.sources[number]
        with _reading(source.directory):
            data = files[number].read(record)
            placed.append((order_of(_record_key(data, source), plan.config.seed), frame(data)))
    placed.sort()
    return [framed for _, framed in placed]


def _record_key(data: bytes, source: _Source) -> str:
    """Returns the key of a record; its pixels are not decoded.

    Raises:
      UserError: It is no record of this dataset.
    """
    return record_key(data, source.manifest, source.place)
