"""Batches of drawn pictures, a ledger's entries of them, and a coordinator of a few lines that makes and commits."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import Plan
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.svhn.source import SOURCE
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from beam_jobs.watch.batch import Batch, subset_name
from beam_jobs.watch.generation import plan_generation
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name, snapshot_place
from tfrecords.files import remote
from tfrecords.files.place import Place

CONFIG = PrepareConfig(validation_fraction=0.25, examples_per_shard=30, max_dead_fraction=1.0)
"""Several shards of some ten pictures."""


def annotated(drawn: Path) -> list[tuple[Path, Annotation]]:
    """Returns the drawn pictures with their annotations."""
    return [
        (Path(subset.path, each.name), each)
        for subset in SOURCE.find_subsets(Input(Place(drawn)), SourceOptions())
        for each in SOURCE.read_annotations(subset, 0, subset.entries, "stored", SourceOptions())
    ]


def drop(inbox: Path, name: str, pictures: Sequence[tuple[Path, Annotation]]) -> Path:
    """Drops a batch of pictures into a folder: as a whole, by a rename."""
    unfinished = inbox / f".{name}"
    unfinished.mkdir(parents=True)
    for path, _ in pictures:
        os.link(path, unfinished / path.name)
    boxes = [
        [
            DigitBox(int(digit) or 10, int(box.xmin), int(box.ymin), int(box.width), int(box.height))
            for digit, box in zip(each.text, each.boxes, strict=True)
        ]
        for _, each in pictures
    ]
    write_digit_struct(unfinished / "digitStruct.mat", [path.name for path, _ in pictures], boxes)
    return unfinished.rename(inbox / name)


def batch_of(folder: Path | Place) -> Batch:
    """Returns a dropped batch as the ledger keeps it."""
    found = SOURCE.find_subsets(Input(Place(folder)), SourceOptions())
    subsets = [replace(subset, name=subset_name(folder.name, subset.name, len(found) == 1)) for subset in found]
    digest = hashlib.sha256(folder.name.encode()).hexdigest()
    return Batch(folder.name, digest, digest, subsets)


def new_stream(place: Path | Place, config: PrepareConfig = CONFIG) -> Stream:
    """Returns a new stream."""
    stream = Stream(Place(place), config)
    stream.save()
    return stream


def accept(stream: Stream, *folders: Path | Place) -> Entry:
    """Appends an entry of batches to the ledger, and returns it."""
    ledger = Ledger(stream.place)
    entry = Entry(ledger.next, [batch_of(folder) for folder in folders])
    ledger.append(entry)
    return entry


def commit_all(stream: Stream, make: Callable[[Plan], None]) -> list[Snapshot]:
    """Makes and commits every entry without a snapshot, in order."""
    made = []
    for entry in Ledger(stream.place).open:
        make(plan_generation(stream, entry))
        before = Snapshot.load(stream.place, entry.entry - 1).parts if entry.entry else []
        name = directory_name(entry.entry)
        part = Part(name, (stream.place / name / "manifest.json").sha256())
        snapshot = Snapshot(entry.entry, [*before, part], {}, {}, entry.entry + 1)
        snapshot_place(stream.place, entry.entry).create(snapshot.to_json())
        made.append(snapshot)
    return made


def make_here(plan: Plan) -> None:
    """Makes a generation in this process, as a watcher without a cluster does."""
    from beam_jobs.prepare.local import run_on_this_machine
    from beam_jobs.prepare.output_lock import lock_output

    with lock_output(plan, overwrite=False) as complete:
        if not complete:
            run_on_this_machine(plan, 1, "")


def digests(stream: Place) -> dict[str, str]:
    """Returns the digest of every file of the generations of a stream, those of unfinished work included."""
    root = stream / "generations"
    if stream.is_remote:
        names = sorted(remote.walk(root.text))
    else:
        names = sorted(str(path.relative_to(root.path)) for path in root.path.rglob("*") if path.is_file())
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}
