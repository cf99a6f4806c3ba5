"""Two states of a dataset, number by number: what was added, removed, moved, relabelled, cut or stored in another way.

Scenes are compared picture by picture.

What both have is not looked at: directories with the same manifest, then shards with the same digest. Of the rest, the
tables of annotations say which numbers are there, and records are compared by digests of their bytes; those that only
one side has are decoded. So memory is some 500 bytes a number at most, and 8 a record.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import ANNOTATIONS, FIND, Manifest, ShardInfo
from tfrecords.dataset.snapshots import (
    Part,
    Snapshot,
    check_stream,
    find_snapshot,
    is_stream,
    load_content,
    load_manifest,
    part_manifest,
)
from tfrecords.errors import UserError
from tfrecords.files.framing import Record, read_frames
from tfrecords.files.place import Place
from tfrecords.record.codec import decode
from tfrecords.record.scene import SceneExample, decode_scene, decode_scene_label
from tfrecords.record.schema import DigitExample

ADDED, REMOVED, MOVED, RELABELLED, RECUT, REDRAWN, REENCODED = CHANGES = (
    "added",
    "removed",
    "moved",
    "relabelled",
    "recut",
    "redrawn",
    "reencoded",
)
"""Kinds of changes: numbers that only the second or the first side has; in another split; with another text; cut at
another place of the picture; with other pixels or boxes of characters; and with the same meaning in other bytes. Of
scenes, those with other boxes are recut, those with other pixels redrawn."""
_ASPECTS = (RELABELLED, RECUT, REDRAWN)
"""Changes that records show, each with a digest of its own."""
_DIGEST_BYTES = 8
"""Bytes of a record's digest: among a million different records, two are taken for equal once in 40 million times."""
_BATCH = 100_000
"""Records whose numbers are looked up together: a look-up takes 25 ms among 200,000 numbers, however few it is of."""


@dataclass(frozen=True)
class State:
    """A dataset directory, or a snapshot of a stream.

    Attributes:
      place: Directory or stream.
      manifest: Manifest of all that is in it.
      directories: SHA-256 of the manifest of each dataset directory, by its path in `place`; an empty path for itself.
    """

    place: Place
    manifest: Manifest
    directories: dict[str, str]

    @classmethod
    def open(cls, directory: Place | Path | str, snapshot: int | None = None) -> "State":
        """Opens a dataset directory, or a snapshot of a stream.

        Args:
          directory: Dataset directory or stream.
          snapshot: Number of the snapshot; None for the newest one of a stream.

        Raises:
          UserError: There is no such dataset or snapshot, or a file of it is damaged.
        """
        place = Place(directory)
        if snapshot is None and not is_stream(place):
            data, name = load_content(place)
            return cls(place, Manifest.parse(data, name), {"": hashlib.sha256(data).hexdigest()})
        manifest = load_manifest(place, snapshot)
        if snapshot is not None:
            found: Snapshot | None = Snapshot.load(check_stream(place, snapshot), snapshot)
        else:
            found = find_snapshot(place, manifest)
        if found is None:
            rule = f"{place} must have a listing, and the snapshot that its manifest.json is of; give its number."
            raise UserError(rule, "no such snapshot")
        return cls(place, manifest, {part.directory: part.manifest_sha256 for part in found.parts})

    def shards(self, directories: Sequence[str]) -> list["Shard"]:
        """Returns the shards of some of its directories that have examples."""
        found = []
        for path in directories:
            place = self.place / path if path else self.place
            manifest = part_manifest(self.place, Part(path, self.directories[path])) if path else self.manifest
            found += [
                Shard(place / shard.file, shard, name, manifest)
                for name, split in manifest.splits.items()
                for shard in split.shards
                if shard.examples
            ]
        return found


@dataclass(frozen=True)
class Change:
    """The numbers with one kind of change.

    Attributes:
      count: Their number.
      keys: Keys of the first ones, sorted.
    """

    count: int
    keys: list[str]


@dataclass(frozen=True)
class Difference:
    """What differs between two states.

    Attributes:
      examples: Number of examples in the first and in the second one, by split.
      changes: Numbers with each kind of change, by kind; all of `CHANGES`.
    """

    examples: dict[str, tuple[int, int]]
    changes: dict[str, Change]

    @property
    def is_equal(self) -> bool:
        """Whether both hold the same examples, in whatever order and shards."""
        return not any(change.count for change in self.changes.values())


@dataclass(frozen=True)
class Shard:
    """A shard with its split, and what its records need to be decoded."""

    place: Place
    info: ShardInfo
    split: str
    manifest: Manifest

    def records(self) -> Iterator[Record]:
        """Yields the records.

        Raises:
          UserError: The file is missing or damaged, or has another number of records than the manifest states.
        """
        count = 0
        try:
            stream = self.place.open()
        except FileNotFoundError as error:
            raise UserError(f"{self.place}: there is no such shard.") from error
        with stream:
            for record in read_frames(stream, self.place.text):
                count += 1
                yield record
        if count != self.info.examples:
            raise UserError(f"{self.place} must have {self.info.examples} records, as the manifest states.", count)


def compare(
    before: State, after: State, limit: int = 20, progress: Callable[[int], object] = lambda _: None
) -> Difference:
    """Returns what differs between two states of a dataset, or of two datasets.

    Args:
      before: First state.
      after: Second state.
      limit: Largest number of keys to return of each kind of change.
      progress: Function that is called with the number of records that were read since its last call.

    Raises:
      UserError: A file is missing or damaged, or the two are of different tasks.
    """
    tasks = [state.manifest.task for state in (before, after)]
    if tasks[0] != tasks[1]:
        raise UserError("Both datasets must be of one task, read or find.", " and ".join(tasks))
    shared = set(before.directories.values()) & set(after.directories.values())
    sides = before, after
    paths = [[path for path, sha256 in side.directories.items() if sha256 not in shared] for side in sides]
    table_of = _scene_table if tasks[0] == FIND else _table
    numbers = _Numbers(*(table_of(side, found) for side, found in zip(sides, paths, strict=True)))
    ours, theirs = (side.shards(found) for side, found in zip(sides, paths, strict=True))
    _compare_records(ours, theirs, numbers, progress)
    names = {**before.manifest.splits, **after.manifest.splits}
    examples = {name: (_examples(before, name), _examples(after, name)) for name in names}
    return Difference(examples, {kind: numbers.change(kind, limit) for kind in CHANGES})


def _examples(state: State, split: str) -> int:
    return state.manifest.splits[split].examples if split in state.manifest.splits else 0


def _table(state: State, directories: Sequence[str]) -> Any:
    """Returns key, text and split of the accepted numbers of directories, as an Arrow table."""
    import pyarrow as pa

    from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, read_table

    columns = {"key": STRINGS, "text": STRINGS_OR_NULLS, "split": STRINGS_OR_NULLS, "reason": STRINGS_OR_NULLS}
    tables = [pa.table({name: pa.array([], pa.string()) for name in columns})]
    for path in directories:
        place = (state.place / path if path else state.place) / ANNOTATIONS
        try:
            tables.append(read_table(place, columns).cast(tables[0].schema))
        except FileNotFoundError as error:
            raise UserError(f"{place}: there must be a table of the numbers to compare.", "no file") from error
    table = pa.concat_tables(tables)
    return table.filter(table["reason"].is_null()).drop_columns(["reason"]).combine_chunks()


def _scene_table(state: State, directories: Sequence[str]) -> Any:
    """Returns key, numbers and split of the scenes of directories, as an Arrow table: they are in the records."""
    import pyarrow as pa

    rows: list[tuple[str, str, str]] = []
    for shard in state.shards(directories):
        for record in shard.records():
            key, texts = decode_scene_label(record.data, record.location)
            rows.append((key, " ".join(texts), shard.split))
    keys, texts_, splits = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"key": keys, "text": texts_, "split": splits}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


class _Numbers:
    """The numbers of two tables, and what is known to differ of those that both have."""

    def __init__(self, before: Any, after: Any) -> None:
        import pyarrow.compute as pc

        in_after = pc.index_in(before["key"], after["key"].combine_chunks())
        both, matching = before.filter(in_after.is_valid()), after.take(in_after.drop_null())
        self._keys = both["key"].combine_chunks()
        is_new = pc.invert(pc.is_in(after["key"], before["key"].combine_chunks()))
        self._lone = {ADDED: after["key"].filter(is_new), REMOVED: before["key"].filter(in_after.is_null())}
        self._moved, self._relabelled = (
            pc.not_equal(both[name].fill_null(""), matching[name].fill_null("")).to_numpy()
            for name in ("split", "text")
        )
        self._touched = np.zeros(len(self._keys), bool)
        # Records of the first side less those of the second.
        self._surplus = np.zeros(len(self._keys), np.int32)
        # Sums of digests, modulo 2^64, so that the order of a number's records does not count.
        self._sums = np.zeros((len(_ASPECTS), len(self._keys)), np.uint64)

    def add(self, keys: list[str], digests: NDArray[np.uint64], is_after: bool) -> None:
        """Adds records that only one side has.

        Args:
          keys: Keys of their numbers.
          digests: Digest of each of `_ASPECTS`: (aspects, records) uint64.
          is_after: Whether the second side has them.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(pa.array(keys, pa.string()), self._keys)
        known = found.is_valid().to_numpy(zero_copy_only=False)
        rows = found.drop_null().to_numpy()
        self._touched[rows] = True
        np.add.at(self._surplus, rows, -1 if is_after else 1)
        for sums, of_aspect in zip(self._sums, digests[:, known], strict=True):
            np.add.at(sums, rows, ~of_aspect + np.uint64(1) if is_after else of_aspect)

    def change(self, kind: str, limit: int) -> Change:
        """Returns the numbers with a kind of change."""
        keys = self._lone[kind] if kind in self._lone else self._keys.filter(self._mask(kind))
        return Change(len(keys), sorted(keys.to_pylist())[:limit])

    def _mask(self, kind: str) -> Any:
        import pyarrow as pa

        # Another split has another number of jitters. Where a jitter is missing, sums of texts say nothing.
        text, cut, drawn = (self._sums != 0) & ~self._moved
        relabelled = self._relabelled | (text & (self._surplus == 0))
        masks = {
            MOVED: self._moved,
            RELABELLED: relabelled,
            RECUT: cut,
            REDRAWN: drawn & ~cut & ~relabelled,
            REENCODED: self._touched & ~self._moved & ~relabelled & ~cut & ~drawn,
        }
        return pa.array(masks[kind])


def _compare_records(
    before: list[Shard], after: list[Shard], numbers: _Numbers, progress: Callable[[int], object]
) -> None:
    """Adds the records that only one side has to the numbers; those of equal shards are not read."""
    equal = {shard.info.sha256 for shard in before} & {shard.info.sha256 for shard in after}
    sides = [[shard for shard in shards if shard.info.sha256 not in equal] for shards in (before, after)]
    digests = [[_record_digests(shard, progress) for shard in shards] for shards in sides]
    joined = [np.concatenate([np.zeros(0, np.uint64), *found]) for found in digests]
    for index, shards in enumerate(sides):
        keys: list[str] = []
        aspects = [np.zeros((len(_ASPECTS), 0), np.uint64)]
        for shard, found in zip(shards, digests[index], strict=True):
            is_lone = ~np.isin(found, joined[1 - index])
            if is_lone.any():
                of_shard, of_aspects = _decoded(shard, is_lone)
                keys += of_shard
                aspects.append(of_aspects)
            if len(keys) >= _BATCH:
                numbers.add(keys, np.concatenate(aspects, axis=1), is_after=index == 1)
                keys, aspects = [], aspects[:1]
        numbers.add(keys, np.concatenate(aspects, axis=1), is_after=index == 1)


def _record_digests(shard: Shard, progress: Callable[[int], object]) -> NDArray[np.uint64]:
    found = np.array([_digest(record.data) for record in shard.records()], np.uint64)
    progress(len(found))
    return found


def _decoded(shard: Shard, wanted: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.uint64]]:
    """Returns the numbers' keys of some records of a shard, and the digests of their aspects: (aspects, records)."""
    keys, rows = [], []
    for record, is_wanted in zip(shard.records(), wanted.tolist(), strict=True):
        if is_wanted and shard.manifest.task == FIND:
            scene = decode_scene(record.data, record.location, shard.manifest.labels.alphabet)
            keys.append(scene.key)
            rows.append(_aspects_of_scene(scene))
        elif is_wanted:
            example = decode(record.data, record.location, shard.manifest.labels, shard.manifest.schema_version)
            keys.append(example.key.rpartition("#")[0])
            rows.append(_aspects(example))
    return keys, np.array(rows, np.uint64).T


def _aspects(example: DigitExample) -> tuple[int, ...]:
    """Returns the digest of each of `_ASPECTS` of an example."""
    jitter = example.key.rpartition("#")[2].encode()
    cut = example.crop_box.tobytes() + example.jitter_offset.tobytes()
    drawn = example.boxes.tobytes() + bytes([example.has_digit_boxes]) + example.source_size.tobytes()
    drawn += repr(example.image.shape).encode() + example.image.tobytes()
    return tuple(_digest(content) for content in (example.text.encode(), jitter + b"#" + cut, jitter + b"#" + drawn))


def _aspects_of_scene(scene: SceneExample) -> tuple[int, ...]:
    """Returns the digest of each of `_ASPECTS` of a scene."""
    names = ("boxes", "digit_boxes", "digit_labels", "digit_numbers", "source_size", "content_size")
    boxes = b"#".join(getattr(scene, name).tobytes() for name in names)
    drawn = repr(scene.image.shape).encode() + scene.image.tobytes()
    return tuple(_digest(content) for content in (" ".join(scene.texts).encode(), boxes, drawn))


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest(), "little")
