"""A dataset directory of a stream, written again with corrections: see `beam_jobs.watch.correcting.correct`."""

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import filesystem
from beam_jobs.annotation import DELETED, Annotation, RejectedError
from beam_jobs.job.given import warn
from beam_jobs.prepare.annotations_table import (
    dead_letters_jsonl,
    has_text,
    read_table,
    rows_with,
    to_parquet,
    to_table,
)
from beam_jobs.prepare.backgrounds import MARK
from beam_jobs.prepare.check_label import check_label
from beam_jobs.prepare.load_picture import PictureFile, PictureRow
from beam_jobs.prepare.publish_dataset import count_values, source_info
from beam_jobs.prepare.versions import versions
from beam_jobs.sources.base import Subset
from beam_jobs.watch.batch import DELETE, Correction
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
from tfrecords.files.framing import FRAMING_BYTES, Record, frame, read_frames
from tfrecords.files.index import format_index, index_path
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.images.crop import BoundingBox, union
from tfrecords.record.codec import decode, encode_in_parts
from tfrecords.record.fast_decode import UnknownLayoutError, split_values
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample

CORRECTIONS = "corrections.json"
"""Name of the file of a corrected directory that says what was corrected, and of which directory."""
_Changes = Mapping[str, Annotation]
"""Corrected annotations of numbers that have records, by key."""


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
    table, changed = _corrected_rows(read_table(source, manifest), corrections, manifest)
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


def _corrected_rows(
    table: pa.Table, corrections: Sequence[Correction], manifest: Manifest
) -> tuple[pa.Table, dict[tuple[str, int], dict[str, Annotation]]]:
    """Returns the rows with corrections, and the corrected annotations of each shard: split and index.

    Prints a line for each number that is rejected now, since a record cannot hold its new text.

    Args:
      table: Rows of the directory.
      corrections: Corrections; those of numbers without a record are passed over.
      manifest: Manifest of the directory.
    """
    wanted = {each.key: each for each in corrections}
    is_changed = pc.and_(has_text(table, "key", *wanted), pc.is_null(table["reason"]))
    rows, changed = [], dict[tuple[str, int], dict[str, Annotation]]()
    for values in table.filter(is_changed).to_pylist():
        row = _row(values)
        annotation = _correct(row.annotation, wanted[values["key"]], manifest, row.split)
        changed.setdefault((row.split, row.shard), {})[annotation.key] = annotation
        if annotation.dead and annotation.dead.reason != DELETED:
            warn(f"a correction's text fits no record, so the number is rejected: {annotation.dead.detail}")
        # As `prepare` rejects an annotation: its picture is not read.
        dead = PictureRow(annotation, row.split, row.shard, dead=annotation.dead)
        rows.append(dead if annotation.dead else replace(row, annotation=annotation))
    return pa.concat_tables([table.filter(pc.invert(is_changed)), to_table(rows)]), changed


def _row(values: dict[str, Any]) -> PictureRow:
    """Returns the row of an accepted number as `prepare` had it."""
    subset, name = values["subset"], values["name"]
    part = int(values["key"].removeprefix(f"{subset}/{name}")[1:] or 0)
    boxes = tuple(BoundingBox(**box) for box in values["boxes"])
    box, crop_box = (value and BoundingBox(**value) for value in (values["box"], values["crop_box"]))
    annotation = Annotation(subset, name, values["index"], values["text"] or "", boxes, None, box, part)
    file = PictureFile(*(values[f"source_{each}"] for each in ("bytes", "crc32c", "height", "width")))
    return PictureRow(annotation, values["split"], values["shard"], file, crop_box)


def _correct(annotation: Annotation, correction: Correction, manifest: Manifest, split: str) -> Annotation:
    """Returns a corrected annotation, with a dead letter if it is deleted, or a record cannot hold its new text."""
    if correction.action == DELETE:
        letter = RejectedError("annotation", DELETED, f"{annotation.key}: A correction has taken out this number.")
        return replace(annotation, dead=letter.letter)
    boxes, box = annotation.boxes, annotation.box
    if len(boxes) != len(correction.text):
        # Which box is whose is not known any more, and where the number is, still is.
        boxes, box = (), union(boxes) if boxes else box
    return check_label(replace(annotation, text=correction.text, boxes=boxes, box=box), manifest.labels, split)


def _write_shard(source: Place, target: Place, shard: ShardInfo, changes: _Changes, manifest: Manifest) -> ShardInfo:
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
    records = []
    for record in read_frames(io.BytesIO(data), str(place), verify=False):
        start = record.location.offset
        key = _key(record, manifest)
        change = changes.get(key.rpartition("#")[0])
        if change is None or (not change.dead and key.startswith(f"{change.key}{MARK}")):
            records.append(data[start : start + len(record.data) + FRAMING_BYTES])
        elif not change.dead:
            example = decode(record.data, record.location, manifest.labels, manifest.schema_version)
            example = _relabelled(example, change, manifest.labels)
            records.append(frame(*encode_in_parts(example, manifest.image.encoding, manifest.image.dynamic)))
    (target / shard.file).write([content := b"".join(records)])
    (target / index_path(shard.file)).write([format_index(map(len, records))])
    return ShardInfo(shard.file, len(records), len(content), hashlib.sha256(content).hexdigest())


def _key(record: Record, manifest: Manifest) -> str:
    """Returns the key of a record, without decoding its pixels."""
    try:
        _, (key, *_) = split_values(record.data, manifest.labels, manifest.schema_version)
    except (UnknownLayoutError, ValueError):
        return decode(record.data, record.location, manifest.labels, manifest.schema_version).key
    return key.decode()


def _relabelled(example: DigitExample, annotation: Annotation, labels: Labels) -> DigitExample:
    """Returns an example with the text of a corrected annotation, and its boxes only if that has them."""
    has_boxes = len(annotation.boxes) == len(annotation.text)
    return replace(
        example,
        digits=labels.digits(annotation.text),
        length=len(annotation.text),
        boxes=example.boxes if has_boxes else np.zeros_like(example.boxes),
        has_digit_boxes=has_boxes,
    )


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
        "features.json": features_json(manifest.image, manifest.labels).encode(),
        "dataset_info.json": dataset_info_json(manifest).encode(),
        CORRECTIONS: said,
    }
    for name, data in files.items():
        (target / name).write([data])
        manifest.files[name] = hashlib.sha256(data).hexdigest()
    filesystem.sync_names(target)
    (target / MANIFEST).write([manifest.to_json().encode()])
