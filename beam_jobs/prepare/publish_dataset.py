"""Writes the files next to the shards: annotations.parquet, dead letters, TFDS's files, cards, the manifest last."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import filesystem
from beam_jobs.annotation import NO_FAULTS
from beam_jobs.job.memory import release_memory
from beam_jobs.job.pictures import Read
from beam_jobs.prepare import claim
from beam_jobs.prepare.annotations_table import dead_letters_jsonl, rows_with, to_parquet
from beam_jobs.prepare.output_lock import REJECTED_MANIFEST
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_shard import ShardResult, check_shards
from beam_jobs.prepare.split_warnings import COLUMNS, shared_pictures
from beam_jobs.prepare.versions import check_worker, worker_versions
from beam_jobs.sources.base import Subset
from tfrecords.cards.facts import ABOUT, Facts, about_json, count_numbers
from tfrecords.cards.files import make_cards, write_cards
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import (
    ANNOTATIONS,
    DEAD_LETTERS,
    MANIFEST,
    Manifest,
    ShardInfo,
    SourceInfo,
    SplitInfo,
    WorkerVersions,
)
from tfrecords.dataset.tfds_metadata import dataset_info_json, features_json

_BATCH_ROWS = 10_000
_COUNTED = ["key", "subset", "source_bytes", "source_crc32c", "reason"]


def publish_dataset(plan: Plan, read: Read, others: list[WorkerVersions] | None = None) -> None:
    """Writes the files next to the shards, once all shards are written.

    The manifest comes last, when everything else is on the disk, so that it alone makes the directory a dataset.

    Args:
      plan: Plan of the job.
      read: Function that returns the picture of a subset and a name.
      others: Versions other than the plan's that made records, where these were copied, not made; None for those that
        the results name.

    Raises:
      UserError: A file cannot be written, this worker's versions are not the launcher's, or another run has taken the
        output over.
    """
    release_memory()
    if others is None:
        check_worker(plan)
    results = [ShardResult.load(plan, str(plan.shard_name(*key))) for key in plan.shard_keys]
    shards, versions = [result.info for result in results], [result.versions for result in results]
    table = pa.concat_tables([result.table for result in results])
    del results
    files = {ANNOTATIONS: to_parquet(table), DEAD_LETTERS: dead_letters_jsonl(table)}
    statistics = count_numbers(table) if plan.about is not None else None
    # Copied: a column of a result that was read shares its memory with all others.
    table = table.select(COLUMNS).combine_chunks()
    release_memory()
    manifest = _manifest(shards, table, plan)
    manifest.worker_versions.extend(worker_versions(plan, versions) if others is None else others)
    files["features.json"] = features_json(manifest.image, manifest.labels, manifest.task).encode()
    files["dataset_info.json"] = dataset_info_json(manifest).encode()
    for name, data in files.items():
        filesystem.publish(plan.path(name), [data], plan.scratch)
        manifest.files[name] = hashlib.sha256(data).hexdigest()
    rejected = count_faults(manifest) > plan.config.max_dead_fraction * plan.pictures
    leaks = plan.config.on_leak == "fail" and shared_pictures(table, read)
    name = REJECTED_MANIFEST if rejected or leaks else MANIFEST
    filesystem.sync_names(plan.output)
    if plan.output.is_remote:
        check_shards(plan, shards)
        claim.check(plan.claim, plan.run_id)
    content = manifest.to_json().encode()
    if plan.about is not None and name == MANIFEST:
        cards = make_cards(Facts(manifest, plan.about, statistics), content)
        if plan.about != About():
            cards[ABOUT] = about_json(plan.about)
        write_cards(plan.output, cards, lambda place, data: filesystem.publish(place, [data], plan.scratch))
        filesystem.sync_names(plan.output)
    filesystem.publish(plan.path(name), [content], plan.scratch)
    filesystem.sync_names(plan.output)


def _manifest(shards: list[ShardInfo], table: pa.Table, plan: Plan) -> Manifest:
    """Returns the manifest, without the digests of the other files.

    Args:
      shards: All shards, in the order of `plan.shard_keys`.
      table: Rows of all pictures.
      plan: Plan of the job.
    """
    splits_of_accepted = table.select(["split"]).filter(pc.is_null(table["reason"]))
    pictures = count_values(splits_of_accepted, "split")
    counted = table.select(_COUNTED)
    splits = {}
    for split, count in plan.shards.items():
        of_split, shards = shards[:count], shards[count:]
        splits[split] = SplitInfo(pictures.get(split, 0), sum(shard.examples for shard in of_split), of_split)
    return Manifest(
        name=plan.config.name,
        image=plan.image,
        config=plan.config.to_dict(),
        seed=plan.config.seed,
        versions=plan.versions,
        sources=[
            source_info(subset, plan.survey.kept[subset.name], rows_with(counted, "subset", subset.name))
            for subset in plan.subsets
        ],
        splits=splits,
        dead_letters=count_values(table.select(["reason"]).filter(pc.is_valid(table["reason"])), "reason"),
        labels=plan.config.labels,
        task=plan.config.task,
    )


def count_faults(manifest: Manifest) -> int:
    """Returns the number of rejected pictures, without those that are left out on purpose or have no annotation."""
    return sum(count for reason, count in manifest.dead_letters.items() if reason not in NO_FAULTS)


def source_info(subset: Subset, entries: int, rows: pa.Table) -> SourceInfo:
    """Returns a subset's description, after a check that it has a row for each of its entries."""
    if rows.num_rows != entries:
        raise AssertionError(f"{subset.name}: {entries} pictures named, {rows.num_rows} came out")
    digest = hashlib.sha256()
    read = rows.filter(pc.is_valid(rows["source_bytes"])).sort_by("key")
    for batch in read.select(["key", "source_bytes", "source_crc32c"]).to_batches(_BATCH_ROWS):
        for key, size, crc32c in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(f"{key} {size} {crc32c}\n".encode())
    accepted = rows.column("reason").null_count
    return SourceInfo(
        subset=subset.name,
        pictures=rows.num_rows,
        accepted=accepted,
        rejected=rows.num_rows - accepted,
        annotations_sha256=subset.annotations_sha256,
        pictures_sha256=digest.hexdigest(),
    )


def count_values(table: pa.Table, column: str) -> dict[str, int]:
    """Returns the number of rows per value of a column, in the order of the values."""
    return dict(sorted((row["values"], row["counts"]) for row in pc.value_counts(table[column]).to_pylist()))
