"""What stands beside the shards: annotations.parquet, dead letters, TFDS's files, and the manifest last."""

import hashlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from beam_jobs import files
from beam_jobs.plan import Plan
from beam_jobs.shard import PictureRow
from beam_jobs.table import dead_letters_jsonl, to_parquet, to_table
from tfrecords._version import __version__
from tfrecords.manifest import (
    ANNOTATIONS,
    DEAD_LETTERS,
    MANIFEST,
    Manifest,
    ShardInfo,
    SourceInfo,
    SplitInfo,
)
from tfrecords.shards import file_sha256
from tfrecords.tfds_files import dataset_info_json, features_json

REJECTED_MANIFEST = "manifest.rejected.json"
"""What the manifest is called when too many pictures were rejected: the directory is no dataset then."""
_PACKAGES = ("apache-beam", "h5py", "numpy", "pillow", "protobuf", "pyarrow")


@dataclass(frozen=True)
class ShardResult:
    """What one shard holds, and the rows of its pictures as an Arrow table."""

    split: str
    shard: int
    info: ShardInfo
    table: pa.Table

    @classmethod
    def of(cls, split: str, shard: int, name: str, records: list[bytes], rows: list[PictureRow]) -> "ShardResult":
        """Describes a shard that was written as these framed records."""
        sha256 = hashlib.sha256()
        for record in records:
            sha256.update(record)
        info = ShardInfo(name, len(records), sum(map(len, records)), sha256.hexdigest())
        return cls(split, shard, info, to_table(rows))


def finish(results: Iterable[ShardResult], plan: Plan) -> None:
    """Writes what stands beside the shards; the manifest last, so that it alone makes a dataset.

    The results may come in any order: everything is sorted first.
    """
    ordered = sorted(results, key=lambda result: list(plan.shards).index(result.split) * 100_000 + result.shard)
    table = pa.concat_tables([result.table for result in ordered])
    table = table.sort_by([("subset", "ascending"), ("index", "ascending")])
    beside = {ANNOTATIONS: to_parquet(table), DEAD_LETTERS: dead_letters_jsonl(table)}
    manifest = _manifest(ordered, table, plan)
    beside["features.json"] = features_json(manifest.image).encode()
    beside["dataset_info.json"] = dataset_info_json(manifest).encode()
    for name, data in beside.items():
        files.publish(plan.path(name), [data])
        manifest.files[name] = hashlib.sha256(data).hexdigest()
    _delete_stale_shards(plan)
    rejected = sum(manifest.dead_letters.values()) > plan.config.max_dead_fraction * plan.pictures
    files.publish(plan.path(REJECTED_MANIFEST if rejected else MANIFEST), [manifest.to_json().encode()])


def _manifest(ordered: list[ShardResult], table: pa.Table, plan: Plan) -> Manifest:
    columns = table.select(["subset", "split", "reason"]).to_pydict()
    accepted = Counter(split for split, reason in zip(columns["split"], columns["reason"], strict=True) if not reason)
    splits = {}
    for split in plan.shards:
        shards = [result.info for result in ordered if result.split == split]
        splits[split] = SplitInfo(accepted[split], sum(shard.examples for shard in shards), shards)
    return Manifest(
        name=plan.config.name,
        image=plan.config.image_info(list(plan.shards)),
        config=plan.config.to_dict(),
        seed=plan.config.seed,
        versions={"streetdigits": __version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}},
        sources=_sources(table, plan),
        splits=splits,
        dead_letters=dict(sorted(Counter(filter(None, columns["reason"])).items())),
    )


def _sources(table: pa.Table, plan: Plan) -> list[SourceInfo]:
    """Describes each subset from its rows: this is where pictures read are held against pictures named."""
    columns = table.select(["subset", "key", "source_bytes", "source_crc32c", "reason"]).to_pydict()
    sources = []
    for subset in plan.subsets:
        rows = [row for row in zip(*columns.values(), strict=True) if row[0] == subset.name]
        if len(rows) != subset.entries:
            raise AssertionError(f"{subset.name}: {subset.entries} pictures named, {len(rows)} came out")
        digest = hashlib.sha256()
        for _, key, size, crc32c, _ in sorted(rows, key=lambda row: row[1]):
            if size is not None:
                digest.update(f"{key} {size} {crc32c}\n".encode())
        rejected = sum(1 for row in rows if row[4])
        sources.append(
            SourceInfo(
                subset=subset.name,
                pictures=len(rows),
                accepted=len(rows) - rejected,
                rejected=rejected,
                annotations_sha256=file_sha256(subset.annotation_file),
                pictures_sha256=digest.hexdigest(),
            )
        )
    return sources


def _delete_stale_shards(plan: Plan) -> None:
    """Deletes what earlier runs left: shards of other counts or names, and temporary files."""
    ours = {str(plan.shard_name(*key)) for key in plan.shard_keys}
    stale = [
        name
        for name in files.list_names(plan.output)
        if name not in ours and re.search(r"\.tfrecord-\d{5}-of-\d{5}(\.\w+\.partial)?$", name)
    ]
    files.delete([plan.path(name) for name in stale])
