"""The commit of an entry: its snapshot, created once, and the manifest of the newest one for everything that opens it.

A reader sees a snapshot complete or not at all, since its file appears last, after all that it names. The manifest
follows; after a kill between both, the next start writes it.
"""

import hashlib
from dataclasses import replace

from beam_jobs.watch.ledger import LostStreamError
from tfrecords.cards.facts import Facts, load_about
from tfrecords.cards.files import make_cards, write_cards
from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.dataset.snapshots import Part, Snapshot, Total, flatten, snapshot_numbers, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes

Known = dict[Part, Manifest]
"""Manifests of the directories of the newest snapshot, which are read once."""


def newest(stream: Place) -> Snapshot | None:
    """Returns the newest snapshot of a stream, or None.

    Raises:
      UserError: Its file is damaged.
    """
    numbers = snapshot_numbers(stream)
    return Snapshot.load(stream, numbers[-1]) if numbers else None


def describe(stream: Place, number: int, parts: list[Part], batches: int, known: Known | None = None) -> Snapshot:
    """Returns the snapshot of directories that are complete.

    Args:
      stream: Stream.
      number: Number of the entry that makes it.
      parts: Directories, in order, at least one.
      batches: Number of batches whose pictures these hold.
      known: Manifests that were read before; changed as `flatten` does.

    Raises:
      UserError: A manifest is missing, or is not the one that a part names.
    """
    bare = Snapshot(number, parts, {}, {}, batches)
    manifest = flatten(stream, bare, known)
    totals = {name: Total(info.pictures, info.examples) for name, info in manifest.splits.items()}
    return replace(bare, totals=totals, dead_letters=manifest.dead_letters)


def commit(stream: Place, snapshot: Snapshot, known: Known | None = None) -> None:
    """Creates a snapshot, and writes the manifest of the stream.

    Args:
      stream: Stream.
      snapshot: Snapshot, all of whose directories are complete.
      known: Manifests that were read before; changed as `flatten` does.

    Raises:
      LostStreamError: There is another snapshot of this number, or a newer one, of another process.
      UserError: A file cannot be read or written.
    """
    # Before the commit: a snapshot that cannot be read as a whole must not be there.
    manifest = flatten(stream, snapshot, known)
    place = snapshot_place(stream, snapshot.snapshot)
    if not place.create(snapshot.to_json()) and place.read_bytes() != snapshot.to_json():
        rule = f"{place} must be this process' to write: another one has written it, and has the stream now."
        raise LostStreamError(rule, "another snapshot")
    _publish(stream, snapshot.snapshot, manifest.to_json().encode())


def repair(stream: Place, snapshot: Snapshot, known: Known | None = None) -> bool:
    """Writes the manifest of the stream if it is not that of the newest snapshot; returns whether it was not.

    Args:
      stream: Stream.
      snapshot: Newest snapshot.
      known: Manifests that were read before; changed as `flatten` does.

    Raises:
      LostStreamError: Another process has committed a newer snapshot.
      UserError: A file cannot be read or written.
    """
    data = flatten(stream, snapshot, known).to_json().encode()
    if read_bytes(stream / MANIFEST) == data:
        write_cards(stream, _cards(stream, snapshot.snapshot, data))
        return False
    _publish(stream, snapshot.snapshot, data)
    return True


def _publish(stream: Place, number: int, data: bytes) -> None:
    """Writes manifest and cards of a snapshot as those of the stream, which must not stay behind the newest snapshot.

    A process that was paused, and whose stream another one has taken over meanwhile, would set readers back.

    Raises:
      LostStreamError: There is a newer snapshot, whose manifest is written instead.
      UserError: A file cannot be read or written.
    """
    written = number
    _write(stream, number, data)
    while (last := newest(stream)) and last.snapshot > written:
        written = last.snapshot
        _write(stream, written, flatten(stream, last).to_json().encode())
    if written > number:
        rule = f"{stream} must be this process' to write: another one has committed snapshot {written}."
        raise LostStreamError(rule, f"snapshot {number}")


def _write(stream: Place, number: int, data: bytes) -> None:
    """Writes the cards and the manifest of a snapshot; a reader of both may find the next cards for a moment."""
    write_cards(stream, _cards(stream, number, data))
    (stream / MANIFEST).write([data])


def _cards(stream: Place, number: int, data: bytes) -> dict[str, bytes]:
    """Returns the cards of a snapshot whose manifest is `data`, by their names."""
    manifest = Manifest.parse(data, str(stream / MANIFEST))
    return make_cards(Facts(manifest, load_about(stream), snapshot=number), data)


def part_of(stream: Place, directory: str) -> Part:
    """Returns the part of a snapshot that a directory is.

    Args:
      stream: Stream.
      directory: Path of a complete dataset directory in it.

    Raises:
      UserError: It has no manifest.
    """
    place = stream / directory / MANIFEST
    if (data := read_bytes(place)) is None:
        raise UserError(f"{place} must be there: the directory was just made.", "no file")
    return Part(directory, hashlib.sha256(data).hexdigest())
