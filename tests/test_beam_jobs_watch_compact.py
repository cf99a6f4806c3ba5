"""Which directories are merged: few files at any time, each example copied a few times, neighbours only."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from beam_jobs.watch.compact import due, full, plan_merges
from beam_jobs.watch.ledger import Merge
from beam_jobs.watch.stream import Stream
from tests.drawn_streams import STREAMED, part
from tfrecords.dataset.manifest import ImageInfo, Manifest, ShardInfo, SplitInfo
from tfrecords.dataset.snapshots import Snapshot, directory_name
from tfrecords.files.place import Place

PER_SHARD = 4096
Arrivals = Callable[[random.Random], Iterator[int]]


@dataclass
class Simulated:
    """A stream of sizes alone, with five windows of each picture for training, and a share for validation.

    Attributes:
      parts: Pictures of each directory.
      rewritten: Examples that merges have copied.
      largest: Examples of the largest merge.
    """

    test_share: float = 0.0
    parts: list[int] = field(default_factory=list)
    rewritten: int = 0
    largest: int = 0

    def splits(self, pictures: int) -> list[float]:
        shares = (0.95 - self.test_share, 0.05, self.test_share)
        return [each for each in (5 * shares[0] * pictures, shares[1] * pictures, shares[2] * pictures) if each]

    def examples(self, pictures: int) -> int:
        return round(sum(self.splits(pictures)))

    def files_of(self, pictures: int) -> int:
        return sum(max(1, round(count / PER_SHARD)) for count in self.splits(pictures))

    @property
    def files(self) -> int:
        return sum(map(self.files_of, self.parts))

    @property
    def ideal(self) -> int:
        return self.files_of(sum(self.parts))

    def add(self, pictures: int) -> None:
        self.parts.append(pictures)
        while ranges := plan_merges(list(map(self.examples, self.parts)), PER_SHARD):
            for start, stop in reversed(ranges):
                assert stop - start > 1
                self.parts[start:stop] = [sum(self.parts[start:stop])]
                self.rewritten += self.examples(self.parts[start])
                self.largest = max(self.largest, self.examples(self.parts[start]))


def small_and_large(draw: random.Random) -> Iterator[int]:
    while True:
        yield draw.choice([5, 5, 5, 5, 5, 500])


def uniform(draw: random.Random) -> Iterator[int]:
    while True:
        yield draw.randint(5, 500)


def single(_: random.Random) -> Iterator[int]:
    while True:
        yield 1


def huge_between_small(draw: random.Random) -> Iterator[int]:
    while True:
        yield from (draw.randint(1, 20) for _ in range(20))
        yield 20_000


def simulate(arrivals: Arrivals, generations: int, test_share: float = 0.0) -> tuple[Simulated, dict[int, float]]:
    """Returns a stream at its end, and how many times the files of one `prepare` it had at most, from some on."""
    stream, worst = Simulated(test_share), dict.fromkeys((100, 200), 0.0)
    sizes, total = arrivals(random.Random(0)), 0
    for number in range(generations):
        total += (pictures := next(sizes))
        stream.add(pictures)
        if number % 10 == 0:
            ideal = stream.ideal
            worst |= {least: max(found, stream.files / ideal) for least, found in worst.items() if ideal >= least}
    assert sum(stream.parts) == total
    return stream, worst


@pytest.mark.parametrize("test_share", [0.0, 0.1])
def test_of_10_000_generations_of_5_to_500_pictures_live_files_are_at_most_1_3_times_those_of_one_prepare(
    test_share: float,
) -> None:
    """From 100 files on: fewer are not worth more copies."""
    stream, worst = simulate(uniform, 10_000, test_share)
    assert worst[100] <= 1.3
    assert worst[200] <= 1.15
    assert stream.files <= 1.1 * stream.ideal
    assert stream.rewritten <= 3.6 * sum(map(stream.examples, stream.parts))
    assert stream.largest <= 33 * PER_SHARD


@pytest.mark.parametrize("test_share", [0.0, 0.1])
@pytest.mark.parametrize("arrivals", [small_and_large, huge_between_small])
def test_other_sizes_take_few_files_too(arrivals: Arrivals, test_share: float) -> None:
    stream, worst = simulate(arrivals, 4_000, test_share)
    assert worst[200] <= 1.3
    assert stream.rewritten <= 3.6 * sum(map(stream.examples, stream.parts))


def test_copies_of_an_example_grow_with_the_logarithm_of_the_number_of_generations() -> None:
    copies = {count: simulate(single, count)[0] for count in (10, 100, 1_000, 10_000)}
    per_example = [stream.rewritten / stream.examples(count) for count, stream in copies.items()]
    assert per_example == sorted(per_example)
    assert all(more - less < 2.1 for less, more in pairwise(per_example))
    assert per_example[-1] < 7


@pytest.mark.parametrize(
    ("sizes", "ranges"),
    [
        ([], []),
        ([10], []),
        ([10, 10, 10], []),
        ([10, 10, 10, 10], [(0, 4)]),
        ([10, 0, 10, 1, 10, 10], [(0, 6)]),
        ([100, 10, 10, 10, 10, 100], [(1, 5)]),
        ([3000, 3000], [(0, 2)]),
        ([3000, 100, 100, 3000, 7, 7], [(0, 3)]),
        ([3200, 7, 7, 3200], [(1, 3)]),
        ([3200, 7, 3200, 7, 7], []),
        ([9000, 3200], []),
        ([0, 0, 0, 0], [(0, 4)]),
    ],
)
def test_neighbours_are_merged_that_are_of_one_size_or_enough_or_cut_off(
    sizes: list[int], ranges: list[tuple[int, int]]
) -> None:
    assert plan_merges(sizes, 100) == ranges


def _stream(tmp_path: Path, sizes: Sequence[int]) -> tuple[Stream, Snapshot]:
    """A stream of manifests alone."""
    stream = Stream(Place(tmp_path), replace(STREAMED, examples_per_shard=100))
    parts = []
    for number, size in enumerate(sizes):
        shard = ShardInfo("svhn-train.tfrecord-00000-of-00001", size, size * 20, "0" * 64)
        splits = {"train": SplitInfo(size, size, [shard])}
        manifest = Manifest("svhn", ImageInfo((9, 9, 3), "raw"), {}, 0, {}, [], splits, {})
        directory = directory_name(2 * number, entry=None if number else 7)
        (stream.place / directory / "manifest.json").write([manifest.to_json().encode()])
        parts.append(part(stream, directory))
    return stream, Snapshot(2 * len(sizes), parts, {}, {}, 1)


def test_due_names_the_directories_and_the_one_that_they_become(tmp_path: Path) -> None:
    stream, snapshot = _stream(tmp_path, [10, 10, 0, 10, 10])
    names = [each.directory for each in snapshot.parts]
    assert names[:2] == ["generations/00000000.00000007", "generations/00000002"]
    assert due(stream, snapshot) == [Merge("generations/00000000-00000008", names)]
    assert due(stream, replace(snapshot, parts=snapshot.parts[:3])) == []
    merges = due(stream, replace(snapshot, parts=snapshot.parts[:2]))
    assert merges == []
    assert full(stream, snapshot) == [Merge("generations/00000000-00000008", names)]
    assert full(stream, replace(snapshot, parts=snapshot.parts[:1])) == []


def test_due_reads_the_manifest_of_each_directory_once(tmp_path: Path) -> None:
    stream, snapshot = _stream(tmp_path, [9, 9, 9])
    assert due(stream, snapshot) == []
    for each in snapshot.parts:
        (stream.place / each.directory / "manifest.json").delete()
    assert due(stream, snapshot) == []
