"""Which directories of a stream to merge, so that its examples are in few files and each is copied a few times at most.

A directory has a file for each split at least, however few examples are in it. So neighbours are merged, in two ways:

- As soon as neighbours have the examples of 32 shards together, they become one directory, which is settled: it has at
  most one file too many for each split, of 32, and is never merged again. So readers and caches see the same files for
  as long as the stream lasts, and no merge is much larger than that.
- Until then, as soon as four neighbours have as many examples, to a factor of four, they and smaller ones among them
  become one. So no example is copied more often than there are powers of four below 32 shards, and once more.

Smaller directories before a settled one, as before a very large generation, become one at once.

Simulated over 10,000 generations of 5 to 500 pictures, with the splits train, validation and test: at most 1.26 times
the files of one `prepare` from 100 files on, 1.15 times from 200 on, and 3.4 copies of an example. With eight instead
of four it is 1.33 and 1.18 times, and 2.6 copies.

A smaller stream is left with more files, up to five times. So while nothing arrives, a third way is free: the newest
directories become one, as few as bring the files of the stream down to 1.25 times those of one `prepare`. One such
merge after the last arrival does for a stream of any size. It is made after a pause of ten times what it takes, and of
ten seconds at least. So pauses, however many, add at most a tenth of their own time and one merge each, and each merge
copies the examples of 32 shards at most.
"""

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from beam_jobs.watch.ledger import Merge
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name, part_manifest
from tfrecords.files.place import Place

_FAN_IN = 4
"""Neighbours of one size that become one directory, and the factor between sizes that count as one."""
_SETTLED_SHARDS = 32
"""Examples of a directory that is not merged again, shards."""
_KNOWN_PARTS = 4096
"""Directories whose sizes are kept in memory."""
_MOST_FILES = 1.25
"""Files of a stream at rest, of those of one `prepare`. The goal is 1.3: a split's shards are rounded differently."""
_EXAMPLE_S, _BYTE_S = 20e-6, 2e-9
"""Processor time for a copied example, and for each byte of it: 37 us for one of 8.7 KB."""
_LEAST_PAUSE_S = 10.0
_PAUSES = 10.0
"""Length of the pause after which a merge is made, of the time that it takes."""
_Range = tuple[int, int]
"""Indices of the first of several neighbours, and after the last."""


@dataclass(frozen=True)
class Tidying:
    """A merge that is not due, and worth its time while nothing else is to be done.

    Attributes:
      merge: Directories, and what they become.
      cost_s: Estimate of the time that it takes, seconds.
    """

    merge: Merge
    cost_s: float

    @property
    def pause_s(self) -> float:
        """Time without an arrival after which it is made, seconds."""
        return max(_LEAST_PAUSE_S, _PAUSES * self.cost_s)


def due(stream: Stream, snapshot: Snapshot, damaged: Collection[str] = ()) -> list[Merge]:
    """Returns the merges that a stream needs now, none of which has a directory in common with another.

    Call it again after these: the new directories may be due with others.

    Args:
      stream: Stream.
      snapshot: Its newest snapshot.
      damaged: Paths of directories that cannot be merged.

    Raises:
      UserError: The manifest of a directory cannot be read.
    """
    sizes = [sum(_size(stream.place, part).examples.values()) for part in snapshot.parts]
    ranges = plan_merges(sizes, stream.config.examples_per_shard, _walls(snapshot, damaged))
    return [_merge(snapshot.parts[start:stop]) for start, stop in ranges]


def tidying(stream: Stream, snapshot: Snapshot, damaged: Collection[str] = ()) -> Tidying | None:
    """Returns the merge that a stream at rest is worth, where none is due; None if it has few files already.

    Args:
      stream: Stream.
      snapshot: Its newest snapshot.
      damaged: Paths of directories that cannot be merged.

    Raises:
      UserError: The manifest of a directory cannot be read.
    """
    sizes = [_size(stream.place, part) for part in snapshot.parts]
    examples = [size.examples for size in sizes]
    found = plan_tidying(examples, stream.config.examples_per_shard, _walls(snapshot, damaged))
    if found is None:
        return None
    merged = sizes[slice(*found)]
    copied = sum(sum(size.examples.values()) for size in merged)
    return Tidying(
        _merge(snapshot.parts[slice(*found)]), _EXAMPLE_S * copied + _BYTE_S * sum(size.bytes for size in merged)
    )


def full(stream: Stream, snapshot: Snapshot) -> list[Merge]:
    """Returns the merge of all directories of a stream to one, which is one `prepare` over all its batches.

    Args:
      stream: Stream.
      snapshot: Its newest snapshot; nothing is left to merge where it has one directory.
    """
    return [_merge(snapshot.parts)] if len(snapshot.parts) > 1 else []


def plan_merges(sizes: Sequence[int], examples_per_shard: int, walls: Collection[int] = ()) -> list[_Range]:
    """Returns which neighbours become one directory, in order.

    Args:
      sizes: Number of examples of each directory, in order.
      examples_per_shard: Target number of examples per shard.
      walls: Indices of directories that stay as they are.
    """
    settled = _SETTLED_SHARDS * examples_per_shard
    found: list[_Range] = []
    for start, stop in _runs([size < settled and index not in walls for index, size in enumerate(sizes)]):
        reached = next((end for end, total in _totals(sizes, start, stop) if total >= settled), None)
        if reached:
            found.append((start, reached))
        elif stop < len(sizes):
            found.append((start, stop))
        else:
            found += _of_one_size(sizes, start, stop)
    return [(start, stop) for start, stop in found if stop - start > 1]


def plan_tidying(
    sizes: Sequence[Mapping[str, int]], examples_per_shard: int, walls: Collection[int] = ()
) -> _Range | None:
    """Returns the fewest newest directories that become one so that a stream has few files; None if it has.

    None is returned too if no such merge would do, as where many directories are damaged.

    Args:
      sizes: Number of examples of each split of each directory, in order.
      examples_per_shard: Target number of examples per shard.
      walls: Indices of directories that stay as they are.
    """
    settled = _SETTLED_SHARDS * examples_per_shard
    total: Counter[str] = Counter()
    for size in sizes:
        total.update(size)
    most = _MOST_FILES * _files(total, examples_per_shard)
    left = sum(_files(size, examples_per_shard) for size in sizes)
    if left <= most:
        return None
    merged: Counter[str] = Counter()
    for start in range(len(sizes) - 1, -1, -1):
        if start in walls or sum(sizes[start].values()) >= settled:
            break
        merged.update(sizes[start])
        left -= _files(sizes[start], examples_per_shard)
        if left + _files(merged, examples_per_shard) <= most:
            return start, len(sizes)
    return None


def _files(size: Mapping[str, int], examples_per_shard: int) -> int:
    """Returns the number of shards with examples of a directory with so many of each split."""
    return sum(max(1, round(count / examples_per_shard)) for count in size.values() if count)


def _of_one_size(sizes: Sequence[int], start: int, stop: int) -> list[_Range]:
    """Returns the ranges with enough directories of one size, and smaller ones among them: those of the least size."""
    tiers = [_tier(size) for size in sizes[start:stop]]
    for tier in sorted(set(tiers)):
        runs = _runs([each <= tier for each in tiers])
        if found := [(start + a, start + b) for a, b in runs if tiers[a:b].count(tier) >= _FAN_IN]:
            return found
    return []


def _tier(size: int) -> int:
    """Returns the power of the factor between sizes that a number of examples reaches."""
    tier = 0
    while size >= _FAN_IN:
        size //= _FAN_IN
        tier += 1
    return tier


def _totals(sizes: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yields the index after each directory of a range, and the examples of all up to there."""
    return enumerate(accumulate(sizes[start:stop]), start + 1)


def _runs(belongs: Sequence[bool]) -> Iterator[_Range]:
    """Yields the ranges of neighbours that belong, each as long as it can be."""
    start = None
    for index, each in enumerate([*belongs, False]):
        if each and start is None:
            start = index
        elif not each and start is not None:
            yield start, index
            start = None


def _merge(parts: Sequence[Part]) -> Merge:
    return Merge(directory_name(parts[0].first, parts[-1].last), [part.directory for part in parts])


def _walls(snapshot: Snapshot, damaged: Collection[str]) -> set[int]:
    return {index for index, part in enumerate(snapshot.parts) if part.directory in damaged}


@dataclass(frozen=True)
class _Size:
    """Size of a directory: its examples of each split, and the bytes of all its shards."""

    examples: Mapping[str, int]
    bytes: int


@functools.lru_cache(_KNOWN_PARTS)
def _size(stream: Place, part: Part) -> _Size:
    """Returns the size of a directory; a part names its content, so it is read once."""
    splits = part_manifest(stream, part).splits
    examples = {name: info.examples for name, info in splits.items()}
    return _Size(examples, sum(shard.bytes for info in splits.values() for shard in info.shards))
