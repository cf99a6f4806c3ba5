"""The snapshots of a stream: numbered states of a dataset that grows, each a short list of dataset directories.

    STREAM/snapshots/00000042.json            the commit: directories with the digests of their manifests, and totals
    STREAM/generations/00000042/              an ordinary dataset directory
    STREAM/generations/00000000-00000063/     one that was merged from those of the entries 0 to 63
    STREAM/generations/00000042.00000057/     one that the entry 57 of the ledger made from it by corrections
    STREAM/manifest.json                      the newest snapshot as one manifest, for everything that opens a directory

A snapshot never changes, and numbers only grow; some are left out, since not every entry of the ledger makes one.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from tfrecords.dataset.manifest import (
    GENERATION,
    MANIFEST,
    SPLITS,
    ImageInfo,
    Manifest,
    ShardInfo,
    SourceInfo,
    SplitInfo,
    WorkerVersions,
    read_manifest,
)
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import Count, from_json, matching, parse_object

SNAPSHOTS = "snapshots"
"""Name of the folder of a stream that holds the commits."""
GENERATIONS = "generations"
"""Name of the folder of a stream that holds the dataset directories."""
STREAM = "stream.json"
"""Name of the file that makes a folder a stream: its configuration, fixed at first start."""
_DIGITS = 8
_NAME = re.compile(rf"([0-9]{{{_DIGITS}}})\.json")
_GIVEN = re.compile(r"(.+)@([0-9]{1,8})")
_VERSION = 1
_THREADS = 16
"""Manifests that are read at once from a store."""
_LATEST = 5
"""Newest snapshots among which that of manifest.json is looked for."""
DIRECTORY = GENERATION
"""Regular expression of the path of a generation in its stream."""


def number_name(number: int) -> str:
    """Returns the name of the ledger's and the snapshots' files of a number: `00000042.json`."""
    return f"{number:0{_DIGITS}d}.json"


def numbers_in(names: Iterable[str]) -> list[int]:
    """Returns the numbers of the files of these names that are named by one, sorted."""
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def directory_name(first: int, last: int | None = None, entry: int | None = None) -> str:
    """Returns the path in a stream of a dataset directory.

    Args:
      first: Number of the first ledger entry whose batches it holds.
      last: Number of the last one of several; None for one.
      entry: Number of the ledger entry whose corrections it has; None for none.
    """
    merged = "" if last is None or last == first else f"-{last:0{_DIGITS}d}"
    return f"{GENERATIONS}/{first:0{_DIGITS}d}{merged}" + ("" if entry is None else f".{entry:0{_DIGITS}d}")


def entry_of(directory: str) -> int | None:
    """Returns the greatest number of an entry in the path of a dataset directory in its stream.

    It is that of the entry which made it; of a merged directory, which has the entries of what it holds, it is less.
    None is returned for another path.
    """
    return int(directory[-_DIGITS:]) if re.fullmatch(DIRECTORY, directory) else None


@dataclass(frozen=True)
class Part:
    """One dataset directory of a snapshot.

    Attributes:
      directory: Path in the stream: `generations/00000042`.
      manifest_sha256: SHA-256 of its manifest.json, hexadecimal, which names the digests of all else in it.
    """

    directory: Annotated[str, matching(DIRECTORY, "the path of a generation, as generations/00000042")]
    manifest_sha256: Annotated[str, matching("[0-9a-f]{64}", "a SHA-256 digest")]

    @property
    def first(self) -> int:
        """Number of the first ledger entry whose batches the directory holds."""
        return self._numbers[0]

    @property
    def last(self) -> int:
        """Number of the last ledger entry whose batches the directory holds."""
        return self._numbers[-1]

    @property
    def _numbers(self) -> list[int]:
        name = self.directory.removeprefix(f"{GENERATIONS}/").partition(".")[0]
        return [int(number) for number in name.split("-")]


@dataclass(frozen=True)
class Total:
    """Size of one split of a snapshot.

    Attributes:
      pictures: Number of source pictures with at least one example.
      examples: Number of examples.
    """

    pictures: Count
    examples: Count


@dataclass(frozen=True)
class Snapshot:
    """One state of a stream.

    Attributes:
      snapshot: Number, that of the ledger entry that made it.
      parts: Dataset directories, in the order of the entries that they hold.
      totals: Size of each split.
      dead_letters: Number of rejected pictures, by reason.
      batches: Number of batches whose pictures the directories hold.
      corrections_applied: Number of corrections that changed a number, of this snapshot and all before it.
      corrections_not_found: Number of those that changed nothing, since their number is in no record.
      version: Version of this file's format.
    """

    snapshot: Count
    parts: list[Part]
    totals: dict[str, Total]
    dead_letters: dict[str, Count]
    batches: Count
    corrections_applied: Count = 0
    corrections_not_found: Count = 0
    version: int = _VERSION

    def to_json(self) -> bytes:
        """Returns the content of the file; equal snapshots give equal bytes."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def load(cls, stream: Place, number: int) -> "Snapshot":
        """Reads a snapshot of a stream.

        Raises:
          UserError: There is none of this number, or the file is damaged.
        """
        place = snapshot_place(stream, number)
        data = read_bytes(place)
        if data is None:
            raise _no_snapshot(stream, number)
        found = from_json(cls, parse_object(data, str(place)), str(place))
        if found.version != _VERSION or found.snapshot != number:
            raise UserError(f"{place} must be snapshot {number} in version {_VERSION}.", found.snapshot)
        return found


def snapshot_place(stream: Place, number: int) -> Place:
    """Returns the place of a snapshot's file."""
    return stream / SNAPSHOTS / number_name(number)


def snapshot_numbers(stream: Place) -> list[int]:
    """Returns the numbers of a stream's snapshots, sorted; none if there are none."""
    try:
        return numbers_in((stream / SNAPSHOTS).names())
    except FileNotFoundError:
        return []


def is_stream(directory: Place) -> bool:
    """Returns whether a folder is a stream: whether it has a configuration of one."""
    return (directory / STREAM).is_file()


def split_number(given: Place) -> tuple[Place, int | None]:
    """Returns the place and the number of the snapshot that `STREAM@41` names; a directory may have an @ in its name.

    Args:
      given: Dataset directory, stream, or snapshot of a stream.
    """
    found = _GIVEN.fullmatch(given.text)
    if found is None or (given / MANIFEST).is_file():
        return given, None
    return Place(found[1]), int(found[2])


def load_manifest(directory: Place | Path | str, snapshot: int | None = None) -> Manifest:
    """Returns the manifest of a dataset directory, or that of a snapshot of a stream.

    Args:
      directory: Dataset directory or stream, local or at an address.
      snapshot: Number of the snapshot; None for what manifest.json says, in a stream its newest snapshot.

    Raises:
      UserError: There is no such dataset or snapshot, or a file of it is damaged.
    """
    if snapshot is None:
        data, name = load_content(directory)
        return Manifest.parse(data, name)
    stream = check_stream(Place(directory), snapshot)
    return flatten(stream, Snapshot.load(stream, snapshot))


def load_content(directory: Place | Path | str, snapshot: int | None = None) -> tuple[bytes, str]:
    """Returns the content of the manifest that `load_manifest` returns, and its name in error messages.

    Of a snapshot of a stream, the content is what manifest.json has while the snapshot is the newest one.

    Args:
      directory: Dataset directory or stream, local or at an address.
      snapshot: Number of the snapshot; None for manifest.json.

    Raises:
      UserError: There is no such dataset or snapshot, or a file of it is damaged.
    """
    stream = Place(directory)
    if snapshot is None:
        if not (stream / MANIFEST).is_file() and is_stream(stream):
            raise UserError(f"{stream} has no {MANIFEST} yet: it is written with the first pictures of the stream.")
        return read_manifest(directory)
    found = Snapshot.load(check_stream(stream, snapshot), snapshot)
    return flatten(stream, found).to_json().encode(), str(snapshot_place(stream, snapshot))


def check_stream(directory: Place, snapshot: int) -> Place:
    """Returns a directory, which is a stream.

    Args:
      directory: Place that should be a stream.
      snapshot: Number of the snapshot that is wanted of it.

    Raises:
      UserError: It is no stream.
    """
    if not is_stream(directory):
        rule = f"{directory} is no stream, and has no snapshots: it has no {STREAM}."
        raise UserError(rule, f"snapshot {snapshot}")
    return directory


def find_snapshot(directory: Place | Path | str, manifest: Manifest, number: int | None = None) -> Snapshot | None:
    """Returns the snapshot that a manifest is of; None for an ordinary dataset directory.

    Args:
      directory: Dataset directory or stream.
      manifest: Manifest that `load_manifest` returned.
      number: Number of the snapshot that was asked for; None finds that of manifest.json, which is written after the
        file of the newest snapshot, and so may be that of the one before.

    Raises:
      UserError: The file of a snapshot is missing or damaged.
    """
    stream = Place(directory)
    if number is not None:
        return Snapshot.load(check_stream(stream, number), number)
    # Shards of a stream are in folders; a file of an address that cannot be listed tells nothing of others.
    if not (stream.has_listing and is_stream(stream)):
        return None
    of_splits = {name: info.examples for name, info in manifest.splits.items() if info.examples}
    directories = shard_directories(manifest)
    for each in reversed(snapshot_numbers(stream)[-_LATEST:]):
        snapshot = Snapshot.load(stream, each)
        totals = {name: total.examples for name, total in snapshot.totals.items() if total.examples}
        if totals == of_splits and directories <= {part.directory for part in snapshot.parts}:
            return snapshot
    return None


def shard_directories(manifest: Manifest) -> set[str]:
    """Returns the paths in a stream of the directories of a manifest's shards; none for an ordinary dataset."""
    files = (shard.file for split in manifest.splits.values() for shard in split.shards)
    return {file.rpartition("/")[0] for file in files if "/" in file}


def flatten(stream: Place, snapshot: Snapshot, known: dict[Part, Manifest] | None = None) -> Manifest:
    """Returns a snapshot as one manifest, whose shards' names begin with their directories.

    Args:
      stream: Stream.
      snapshot: Snapshot of it.
      known: Manifests that were read before; those that are read now are added, and those of no part removed.

    Raises:
      UserError: A manifest is missing, or is not the one that the snapshot names; or the snapshot has no directory.
    """
    if not snapshot.parts:
        rule = f"{snapshot_place(stream, snapshot.snapshot)} must name a directory with pictures, to be read."
        raise UserError(rule, "an empty stream")
    known = {} if known is None else known
    for part in set(known) - set(snapshot.parts):
        del known[part]
    missing = [part for part in snapshot.parts if part not in known]
    with ThreadPoolExecutor(_THREADS) as threads:
        run = threads.map if stream.is_remote else map
        known.update(zip(missing, run(lambda part: part_manifest(stream, part), missing), strict=True))
    return merge_manifests(snapshot.parts, [known[part] for part in snapshot.parts])


def part_manifest(stream: Place, part: Part) -> Manifest:
    """Returns the manifest of one directory of a snapshot.

    Raises:
      UserError: It is missing, or is not the one that the snapshot names.
    """
    place = stream / part.directory / MANIFEST
    data = read_bytes(place)
    if data is None:
        raise UserError(f"{place}: a snapshot names this manifest, and it is missing.", part.manifest_sha256)
    if (found := hashlib.sha256(data).hexdigest()) != part.manifest_sha256:
        raise UserError(f"{place} must have the digest {part.manifest_sha256}, which a snapshot names.", found)
    return Manifest.parse(data, str(place))


def merge_manifests(parts: Sequence[Part], manifests: Sequence[Manifest]) -> Manifest:
    """Returns one manifest of several dataset directories of a stream, at least one.

    Its configuration is that of the newest. Its source is one entry for all: a stream has thousands of batches, and
    each directory's own manifest names its own.

    Args:
      parts: Directories, in order.
      manifests: Manifest of each.
    """
    shards: dict[str, list[ShardInfo]] = {}
    dead: Counter[str] = Counter()
    for part, manifest in zip(parts, manifests, strict=True):
        dead.update(manifest.dead_letters)
        for name, info in manifest.splits.items():
            of_split = shards.setdefault(name, [])
            of_split += [replace(shard, file=f"{part.directory}/{shard.file}") for shard in info.shards]
    return replace(
        manifests[-1],
        image=_merged_image(manifests),
        sources=[_merged_source(manifests)],
        splits={name: _merged_split(name, shards[name], manifests) for name in SPLITS if name in shards},
        dead_letters=dict(sorted(dead.items())),
        files={},
        worker_versions=_other_versions(manifests),
    )


def _merged_split(name: str, shards: list[ShardInfo], manifests: Sequence[Manifest]) -> SplitInfo:
    """Returns a split of several directories, without empty shards: small generations have many."""
    found = [manifest.splits[name] for manifest in manifests if name in manifest.splits]
    pictures, examples = sum(info.pictures for info in found), sum(info.examples for info in found)
    # A split has at least one shard, by the manifest's schema.
    return SplitInfo(pictures, examples, [shard for shard in shards if shard.examples] or shards[:1])


def _merged_image(manifests: Sequence[Manifest]) -> ImageInfo:
    """Returns what the images of several directories are: a size in which they differ is None."""
    newest = manifests[-1].image
    shapes = {manifest.image.shape for manifest in manifests}
    return newest if len(shapes) == 1 else replace(newest, shape=(None, None, newest.shape[2]))


def _merged_source(manifests: Sequence[Manifest]) -> SourceInfo:
    sources = [source for manifest in manifests for source in manifest.sources]
    annotations, pictures = hashlib.sha256(), hashlib.sha256()
    for source in sources:
        annotations.update(f"{source.subset} {source.annotations_sha256}\n".encode())
        pictures.update(f"{source.subset} {source.pictures_sha256}\n".encode())
    return SourceInfo(
        subset="stream",
        pictures=sum(source.pictures for source in sources),
        accepted=sum(source.accepted for source in sources),
        rejected=sum(source.rejected for source in sources),
        annotations_sha256=annotations.hexdigest(),
        pictures_sha256=pictures.hexdigest(),
    )


def _other_versions(manifests: Sequence[Manifest]) -> list[WorkerVersions]:
    """Returns the versions that made directories, or worked at them, where they differ from the newest's."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for manifest in manifests:
        shards = sum(len(info.shards) for info in manifest.splits.values())
        for other in manifest.worker_versions:
            key = tuple(sorted(other.versions.items()))
            found[key] = found.get(key, 0) + other.shards
            shards -= other.shards
        if manifest.versions != manifests[-1].versions:
            key = tuple(sorted(manifest.versions.items()))
            found[key] = found.get(key, 0) + shards
    return [WorkerVersions(dict(key), count) for key, count in sorted(found.items())]


def _no_snapshot(stream: Place, number: int) -> UserError:
    if not stream.has_listing:
        return UserError(f"{stream} must have the snapshot.", f"snapshot {number}, which is not there")
    numbers = snapshot_numbers(stream)
    have = f"the snapshots {numbers[0]} to {numbers[-1]}" if numbers else "no snapshot"
    gap = ", and not every number is one" if numbers and numbers[0] <= number <= numbers[-1] else ""
    return UserError(f"{stream} has {have}{gap}.", f"snapshot {number}")
