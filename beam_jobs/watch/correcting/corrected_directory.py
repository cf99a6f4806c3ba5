"""A dataset directory of a stream, written again with corrections: see `beam_jobs.watch.correcting.correct`."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import filesystem
from beam_jobs.prepare.annotations_table import (
    dead_letters_jsonl,
    read_table,
    rows_with,
    to_parquet,
)
from beam_jobs.prepare.publish_dataset import count_values, source_info
from beam_jobs.prepare.versions import versions
from beam_jobs.sources.base import Subset
from beam_jobs.watch.batch import Correction
from beam_jobs.watch.correcting.corrected_records import corrected_records
from beam_jobs.watch.correcting.corrected_rows import Changes, corrected_rows
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.manifest import (
    ANNOTATIONS,
    DEAD_LETTERS,
    MANIFEST,
    Manifest,
    ShardInfo,
    SplitInfo,
    WorkerVersions,
)
from tfrecords.dataset.snapshots import Part, part_manifest
from tfrecords.dataset.tfds_metadata import dataset_info_json, features_json
from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes

CORRECTIONS = "corrections.json"
"""Name of the file of a corrected directory that says what was corrected, and of which directory."""


def write_corrected(stream: Stream, part: Part, corrections: Sequence[Correction], into: str) -> None:
    """Does what `beam_jobs.watch.correcting.correct.correct_directory` says."""
    source, target = stream.place / part.directory, stream.place / into
    said = _describe(part, corrections)
    if (target / MANIFEST).is_file() and read_bytes(target / CORRECTIONS) == said:
        return
    # What a kill has left, or a directory of corrections of which a batch was refused since.
    target.delete_folder()
    filesystem.make_folder(target, lasting=True)
    manifest = part_manifest(stream.place, part)
    table, changed = corrected_rows(read_table(source, manifest), corrections, manifest)
    splits, written = {}, 0
    for split, info in manifest.splits.items():
        shards = []
        for index, shard in enumerate(info.shards):
            changes = changed.get((split, index), {})
            shards.append(_write_shard(source, target, shard, changes, manifest))
            written += bool(changes)
        splits[split] = SplitInfo(info.pictures, sum(shard.examples for shard in shards), shards)
    _write_rest(target, _corrected_manifest(manifest, table, splits, written), table, said)


def _describe(part: Part, corrections: Sequence[Correction]) -> bytes:
    """Returns the content of the file that says what was corrected; equal corrections give equal bytes."""
    ordered = sorted(corrections, key=lambda each: each.key)
    content = {"of": asdict(part), "corrections": [asdict(each) for each in ordered]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _write_shard(source: Place, target: Place, shard: ShardInfo, changes: Changes, manifest: Manifest) -> ShardInfo:
    """Writes a shard and its index; returns its size and digest.

    Raises:
      UserError: The shard is missing, or not the one that the manifest names.
    """
    if not changes:
        for name in (shard.file, index_path(shard.file)):
            _copy(source / name, target / name)
        return shard
    place = source / shard.file
    data = read_bytes(place)
    if data is None or hashlib.sha256(data).hexdigest() != shard.sha256:
        raise UserError(f"{place} must be the shard that the manifest names.", "no file" if data is None else "another")
    records = corrected_records(data, str(place), changes, manifest)
    (target / shard.file).write([content := b"".join(records)])
    (target / index_path(shard.file)).write([format_index(map(len, records))])
    return ShardInfo(shard.file, len(records), len(content), hashlib.sha256(content).hexdigest())


def _copy(source: Place, target: Place) -> None:
    """Copies a file; on a file system with links, by one: files of datasets never change.

    Raises:
      UserError: There is no such file.
    """
    if not source.is_remote:
        try:
            os.link(source.path, target.path)
            return
        except OSError:
            pass  # no links here, or too many of one file, or no file, which is what reading it says
    data = read_bytes(source)
    if data is None:
        raise UserError(f"{source} must be there: the manifest next to it says so.", "no file")
    target.write([data])


def _corrected_manifest(manifest: Manifest, table: pa.Table, splits: dict[str, SplitInfo], written: int) -> Manifest:
    """Returns the manifest of corrected rows and shards, without the digests of the other files.

    Args:
      manifest: Manifest of the directory that is corrected.
      table: Corrected rows.
      splits: Corrected splits, with the numbers of pictures of before.
      written: Number of shards that this process has written.
    """
    pictures = count_values(table.select(["split"]).filter(pc.is_null(table["reason"])), "split")
    subsets = [Subset(each.subset, "", each.pictures, each.annotations_sha256) for each in manifest.sources]
    ours, others = versions(manifest.config["source"]), list(manifest.worker_versions)
    if ours != manifest.versions:
        others.append(WorkerVersions(ours, written))
    return replace(
        manifest,
        sources=[source_info(each, each.entries, rows_with(table, "subset", each.name)) for each in subsets],
        splits={name: replace(info, pictures=pictures.get(name, 0)) for name, info in splits.items()},
        dead_letters=count_values(table.select(["reason"]).filter(pc.is_valid(table["reason"])), "reason"),
        files={},
        worker_versions=others,
    )


def _write_rest(target: Place, manifest: Manifest, table: pa.Table, said: bytes) -> None:
    """Writes the files next to the shards, and the manifest last."""
    files = {
        ANNOTATIONS: to_parquet(table),
        DEAD_LETTERS: dead_letters_jsonl(table),
        "features.json": features_json(manifest.image, manifest.labels, manifest.task).encode(),
        "dataset_info.json": dataset_info_json(manifest).encode(),
        CORRECTIONS: said,
    }
    for name, data in files.items():
        (target / name).write([data])
        manifest.files[name] = hashlib.sha256(data).hexdigest()
    filesystem.sync_names(target)
    (target / MANIFEST).write([manifest.to_json().encode()])
