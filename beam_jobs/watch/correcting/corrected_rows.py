"""Rows of annotations.parquet, corrected, and what the records of the corrected numbers hold then."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.annotation import DELETED, OTHER_CLASS, Annotation, DeadLetter, RejectedError
from beam_jobs.job.given import warn
from beam_jobs.prepare.annotations_table import has_text, to_table
from beam_jobs.prepare.check_box import check_box
from beam_jobs.prepare.check_label import check_label
from beam_jobs.prepare.load_picture import PictureFile, PictureRow
from beam_jobs.prepare.make_scenes import cause_of, complete
from beam_jobs.watch.batch import DELETE, Correction
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.images.crop import BoundingBox, union

Changes = Mapping[str, Sequence[Annotation]]
"""Annotations that records have now, by what each is of (`example_of`); none for a record that goes."""


def corrected_rows(
    table: pa.Table, corrections: Sequence[Correction], manifest: Manifest
) -> tuple[pa.Table, dict[tuple[str, int], Changes]]:
    """Returns the rows with corrections, and what changes in the records of each shard: split and index.

    Prints a line for each number that is rejected now, since a record cannot hold its new text.

    Args:
      table: Rows of the directory.
      corrections: Corrections; those of numbers without a record are passed over.
      manifest: Manifest of the directory.
    """
    wanted = {each.key: each for each in corrections}
    corrected = _corrected_pictures if manifest.task == FIND else _corrected_numbers
    is_changed, rows, changes = corrected(table, wanted, manifest)
    for row in rows:
        letter = row.dead
        if letter and letter.reason != DELETED and row.annotation.key in wanted:
            rejected = "its picture is left out" if manifest.task == FIND else "the number is rejected"
            warn(f"a correction's text fits no record, so {rejected}: {letter.detail}")
    by_shard: dict[tuple[str, int], dict[str, Sequence[Annotation]]] = {}
    for key, place, annotations in changes:
        by_shard.setdefault(place, {})[key] = annotations
    return pa.concat_tables([table.filter(pc.invert(is_changed)), to_table(rows)]), dict(by_shard)


_Change = tuple[str, tuple[str, int], Sequence[Annotation]]
_Corrected = tuple[pa.ChunkedArray, list[PictureRow], list[_Change]]
"""Which rows of a table are replaced, the rows that replace them, and key, shard and annotations of changed records."""


def _corrected_numbers(table: pa.Table, wanted: Mapping[str, Correction], manifest: Manifest) -> _Corrected:
    """Returns the corrected rows of numbers that have records of their own."""
    is_changed = pc.and_(has_text(table, "key", *wanted), pc.is_null(table["reason"]))
    rows, changes = list[PictureRow](), list[_Change]()
    for values in table.filter(is_changed).to_pylist():
        row = _row(values)
        annotation = _correct(row.annotation, wanted[values["key"]], manifest, row.split)
        changes.append((annotation.key, (row.split, row.shard), () if annotation.dead else (annotation,)))
        # As `prepare` rejects an annotation: its picture is not read.
        dead = PictureRow(annotation, row.split, row.shard, dead=annotation.dead)
        rows.append(dead if annotation.dead else replace(row, annotation=annotation))
    return is_changed, rows, changes


def _corrected_pictures(table: pa.Table, wanted: Mapping[str, Correction], manifest: Manifest) -> _Corrected:
    """Returns the rows of all annotations of pictures of which one is corrected.

    As `prepare` leaves out a picture of which a number cannot be used, a deletion leaves out the picture: what stands
    there would be taught as background.
    """
    names = list(zip(table["subset"].to_pylist(), table["name"].to_pylist(), strict=True))
    keys, reasons = table["key"].to_pylist(), table["reason"].to_pylist()
    pictures = {
        name
        for name, key, reason in zip(names, keys, reasons, strict=True)
        if reason is None and (key in wanted or "/".join(name) in wanted)
    }
    is_changed = pa.array([name in pictures for name in names], pa.bool_())
    order = itemgetter("subset", "name", "index")
    rows, changes = list[PictureRow](), list[_Change]()
    for _, group in groupby(sorted(table.filter(is_changed).to_pylist(), key=order), itemgetter("subset", "name")):
        own = _corrected_picture(list(group), wanted, manifest)
        accepted = [row.annotation for row in own if not row.dead]
        changes.append((own[0].annotation.picture, (own[0].split, own[0].shard), accepted))
        rows += own
    return is_changed, rows, changes


def _corrected_picture(
    group: Sequence[dict[str, Any]], wanted: Mapping[str, Correction], manifest: Manifest
) -> list[PictureRow]:
    """Returns the rows of a picture, of which one is accepted, with corrections."""
    split, shard = next((values["split"], values["shard"]) for values in group if values["reason"] is None)
    rows = []
    for values in group:
        row = replace(_row(values), split=split, shard=shard)
        of_picture = wanted.get(row.annotation.picture)
        correction = of_picture if of_picture and of_picture.action == DELETE else wanted.get(values["key"])
        if values["reason"] is None and correction:
            row.annotation = _correct(row.annotation, correction, manifest, split)
            row.dead = row.annotation.dead
        elif values["reason"] not in (None, OTHER_CLASS):
            row.dead = DeadLetter(values["stage"], values["reason"], values["detail"])
        rows.append(row)
    cause = cause_of(rows)
    # As `prepare` rejects an annotation: its picture is not read.
    whole = replace(rows[0], dead=cause, file=None if cause else rows[0].file)
    complete(rows, whole)
    return rows


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
    checked = check_label(replace(annotation, text=correction.text, boxes=boxes, box=box), manifest.labels, split)
    return check_box(checked, split) if manifest.task == FIND else checked
