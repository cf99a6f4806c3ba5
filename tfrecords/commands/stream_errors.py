"""Errors of a snapshot of a stream: those of its directories, and of what it states of all of them."""

import hashlib
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import pairwise

from tfrecords.commands.dataset_errors import find_errors, find_manifest_errors
from tfrecords.dataset.manifest import Manifest, read_manifest
from tfrecords.dataset.snapshots import Part, Snapshot, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.progress import progress


def find_stream_errors(stream: Place, snapshot: Snapshot) -> Iterator[str]:
    """Yields the errors of a snapshot, one line each, directory by directory; memory is that of one directory.

    Args:
      stream: Stream.
      snapshot: Snapshot of it.
    """
    place = snapshot_place(stream, snapshot.snapshot)
    for before, part in pairwise(snapshot.parts):
        if part.first <= before.last:
            yield f"{place}: {part.directory} must follow the entries of {before.directory}"
    homes: dict[str, str] = {}
    sums, dead = _Sums(), Counter[str]()
    first: Manifest | None = None
    examples = sum(total.examples for total in snapshot.totals.values())
    with progress("validate", examples, "examples", keep=False) as bar:
        for part in snapshot.parts:
            try:
                manifest = yield from _manifest(stream, part)
            except UserError as error:
                yield str(error)
                manifest = None
            if manifest is None:
                continue
            first = first or manifest
            yield from _differences(part, manifest, snapshot.parts[0], first)
            for source in manifest.sources:
                if (home := homes.setdefault(source.subset, part.directory)) != part.directory:
                    yield f"{place}: the batch {source.subset} is in {home} and in {part.directory}"
            sums.add(manifest)
            dead.update(manifest.dead_letters)
            yield from find_errors(stream / part.directory, manifest, bar)
    # Sums over directories that cannot be read would be wrong, and the errors above say why.
    if len(snapshot.parts) == sums.directories:
        yield from _sum_errors(place, snapshot, sums, dead, len({name.partition("@")[0] for name in homes}))


class _Sums:
    """Sums over the manifests of directories."""

    def __init__(self) -> None:
        self.directories = 0
        self.pictures, self.examples = Counter[str](), Counter[str]()

    def add(self, manifest: Manifest) -> None:
        """Adds a directory."""
        self.directories += 1
        for name, info in manifest.splits.items():
            self.pictures[name] += info.pictures
            self.examples[name] += info.examples


def _manifest(stream: Place, part: Part) -> Generator[str, None, Manifest | None]:
    """Yields the errors of a directory's manifest itself, and returns it; None if it cannot be read."""
    data, name = read_manifest(stream / part.directory)
    if (found := hashlib.sha256(data).hexdigest()) != part.manifest_sha256:
        yield f"{name}: its SHA-256 differs from the snapshot's: {found}"
    errors = list(find_manifest_errors(data, name))
    yield from errors
    return None if errors else Manifest.parse(data, name)


def _differences(part: Part, manifest: Manifest, first_part: Part, first: Manifest) -> Iterator[str]:
    """Yields in what a directory cannot be one dataset with the first one."""
    for what in ("name", "labels", "schema_version", "seed", "task"):
        if getattr(manifest, what) != getattr(first, what):
            yield f"{part.directory}: another {what} than {first_part.directory} has: {getattr(manifest, what)}"
    if manifest.image.encoding != first.image.encoding:
        yield f"{part.directory}: another encoding than {first_part.directory} has: {manifest.image.encoding}"


def _sum_errors(place: Place, snapshot: Snapshot, sums: _Sums, dead: Counter[str], batches: int) -> Iterator[str]:
    """Yields what a snapshot states that its directories do not add up to."""
    for name in {**snapshot.totals, **sums.examples}:
        total = snapshot.totals.get(name)
        stated = (total.pictures, total.examples) if total else (0, 0)
        if stated != (found := (sums.pictures[name], sums.examples[name])):
            yield (
                f"{place}: {name} has {stated[0]} pictures and {stated[1]} examples, "
                f"the directories hold {found[0]} and {found[1]}"
            )
    if snapshot.dead_letters != dict(dead):
        yield f"{place}: {snapshot.dead_letters} pictures rejected, the directories state {dict(dead)}"
    if snapshot.batches != batches:
        yield f"{place}: {snapshot.batches} batches, the directories hold {batches}"
