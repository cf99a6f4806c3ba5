"""Small streams: batches of drawn pictures, and the generations, snapshots and entries that they become."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.local import run_on_this_machine
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.prepare.plan import Plan
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.svhn.digit_struct import FIELDS
from beam_jobs.watch.batch import Batch, subset_name
from beam_jobs.watch.generation import plan_generation
from beam_jobs.watch.ledger import Entry
from beam_jobs.watch.stream import Stream
from tests.annotated import read
from tests.digit_structs import save_as_matlab
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.snapshots import Part, Snapshot, Total, directory_name, flatten, snapshot_place
from tfrecords.files.place import Place

STREAMED = PrepareConfig(max_length=5, validation_fraction=0.2, examples_per_shard=40, max_dead_fraction=1.0, seed=3)
"""Configuration of a stream whose splits have a shard for every few pictures."""


def draw_batch(drawn: Path, folder: Path, first: int, count: int, damage: Sequence[str] = ()) -> Path:
    """Writes a batch of drawn pictures.

    Args:
      drawn: Subset of drawn pictures, as SVHN unpacks.
      folder: Folder of the batch.
      first: Index of its first picture among the drawn.
      count: Number of its pictures.
      damage: What is wrong with its first pictures, one for each: missing, cut, or long.
    """
    folder.mkdir(parents=True)
    entries = []
    for index, annotation in enumerate(read("svhn", drawn)[first : first + count]):
        fault = damage[index] if index < len(damage) else ""
        boxes = [(b.ymin, b.xmin, b.ymax - b.ymin, b.xmax - b.xmin) for b in annotation.boxes]
        rows = [_row(int(digit), *map(float, box)) for digit, box in zip(annotation.text, boxes, strict=True)] * (
            6 if fault == "long" else 1
        )
        entries.append((annotation.name, rows))
        if fault != "missing":
            data = (drawn / annotation.name).read_bytes()
            (folder / annotation.name).write_bytes(data[: len(data) // 2] if fault == "cut" else data)
    save_as_matlab(folder / "digitStruct.mat", entries)
    return folder


def _row(digit: int, top: float, left: float, height: float, width: float) -> tuple[float, ...]:
    values = {"top": top, "left": left, "height": height, "width": width, "label": digit or 10}
    return tuple(values[name] for name in FIELDS)


def batch(folder: Path, split: str = "") -> Batch:
    """Returns a batch as an inbox finds it; with a split, its pictures are published for that."""
    (subset,) = load_source("svhn").find_subsets(Input(Place(folder)), SourceOptions())
    name = subset_name(folder.name, split or "train", not split)
    named = replace(subset, name=name)
    return Batch(folder.name, hashlib.sha256(named.name.encode()).hexdigest(), "", [named])


def make(plan: Plan) -> None:
    """Makes the dataset of a plan."""
    with lock_output(plan, overwrite=False) as complete:
        if not complete:
            run_on_this_machine(plan, 1, "")


def make_generation(stream: Stream, number: int, batches: list[Batch]) -> Part:
    """Makes the generation of an entry with these batches."""
    make(plan_generation(stream, Entry(number, batches)))
    return part(stream, directory_name(number))


def part(stream: Stream, directory: str) -> Part:
    """Returns a complete directory of a stream as a part of a snapshot."""
    return Part(directory, hashlib.sha256((stream.place / directory / MANIFEST).read_bytes()).hexdigest())


def commit(stream: Stream, number: int, parts: list[Part], batches: int = 1) -> Snapshot:
    """Writes a snapshot and the manifest of the stream."""
    bare = Snapshot(number, parts, {}, {}, batches)
    manifest = flatten(stream.place, bare)
    totals = {name: Total(info.pictures, info.examples) for name, info in manifest.splits.items()}
    snapshot = replace(bare, totals=totals, dead_letters=manifest.dead_letters)
    assert snapshot_place(stream.place, number).create(snapshot.to_json())
    (stream.place / MANIFEST).write([manifest.to_json().encode()])
    return snapshot


def files(folder: Path) -> dict[str, bytes]:
    """Returns the content of every file in a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_subsets(batches: Sequence[Batch]) -> tuple[Subset, ...]:
    """Returns the subsets of batches, in order."""
    return tuple(subset for each in batches for subset in each.subsets)
