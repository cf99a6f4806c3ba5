"""Which directories are merged: few files at any time, each example copied a few times, neighbours only."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.watch import cycle
from beam_jobs.watch.config import WatchJob, new_config
from beam_jobs.watch.cycle import Watcher
from beam_jobs.watch.ledger import Ledger, Merge
from beam_jobs.watch.perform import maker
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.upkeep.compact import Tidying, due, full, plan_merges, plan_tidying, tidying
from tests.arriving import SimpleInbox, drop
from tests.drawn_streams import STREAMED, part
from tests.test_beam_jobs_watch_cycle import Clock
from tests.test_beam_jobs_watch_cycle import clock as clock
from tfrecords.dataset.manifest import ImageInfo, Manifest, ShardInfo, SplitInfo
from tfrecords.dataset.snapshots import Snapshot, directory_name, is_stream
from tfrecords.files.place import Place

PER_SHARD = 4096
COPY_S = 37e-6
"""Time to copy an example, as it was measured."""
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


@dataclass
class Resting:
    """A stream of the examples of each split, which pauses now and then.

    Attributes:
      parts: Examples of each split of each directory.
      merges: Number of merges in pauses.
      copied: Examples that these have copied.
      largest: Examples of the largest of these.
      idle_s: Length of all pauses.
      worst: How many times the files of one `prepare` there were at the end of a long pause, at most.
    """

    parts: list[Counter[str]] = field(default_factory=list)
    merges: int = 0
    copied: int = 0
    largest: int = 0
    idle_s: float = 0.0
    worst: float = 0.0

    def add(self, pictures: int, draw: random.Random) -> None:
        validation = sum(draw.random() < 0.05 for _ in range(pictures)) if pictures < 100 else pictures // 20
        self.parts.append(Counter(train=5 * (pictures - validation), validation=validation))
        self.merge_due()

    def merge_due(self) -> None:
        while ranges := plan_merges(list(map(Counter.total, self.parts)), PER_SHARD):
            for start, stop in reversed(ranges):
                self.parts[start:stop] = [self.sum(self.parts[start:stop])]

    def pause(self, seconds: float) -> None:
        if not seconds:
            return
        self.idle_s += seconds
        found = plan_tidying(self.parts, PER_SHARD)
        if found:
            merged = self.sum(self.parts[slice(*found)])
            if seconds < Tidying(Merge("", []), COPY_S * merged.total()).pause_s:
                return
            self.parts[slice(*found)] = [merged]
            self.merges, self.copied = self.merges + 1, self.copied + merged.total()
            self.largest = max(self.largest, merged.total())
            assert plan_tidying(self.parts, PER_SHARD) is None, "one merge is enough"
            self.merge_due()
        self.worst = max(self.worst, sum(map(files_of, self.parts)) / files_of(self.sum(self.parts)))

    @staticmethod
    def sum(parts: Sequence[Counter[str]]) -> Counter[str]:
        return sum(parts, Counter())


def files_of(part: Counter[str]) -> int:
    return sum(max(1, round(count / PER_SHARD)) for count in part.values() if count)


def rests(draw: random.Random) -> Iterator[float]:
    """A minute now and then: after a few generations, or after hundreds."""
    while True:
        yield 60.0 if draw.random() < draw.choice([0.002, 0.2]) else 0.0


def short_rests(draw: random.Random) -> Iterator[float]:
    while True:
        yield draw.expovariate(1 / 15)


def always_rests(_: random.Random) -> Iterator[float]:
    while True:
        yield 60.0


@pytest.mark.parametrize("rest", [rests, short_rests, always_rests])
@pytest.mark.parametrize("arrivals", [uniform, single, small_and_large, huge_between_small])
def test_a_stream_of_any_size_has_at_most_1_25_times_the_files_of_one_prepare_after_a_minutes_rest(
    arrivals: Arrivals, rest: Callable[[random.Random], Iterator[float]]
) -> None:
    """Pauses cost a tenth of their time at most, and far less unless batches are tiny; each copies little."""
    stream, sizes, pauses, draw = Resting(), arrivals(random.Random(0)), rest(random.Random(1)), random.Random(2)
    generations = 10_000 if (arrivals, rest) == (uniform, rests) else 1_000
    for _ in range(generations):
        stream.add(next(sizes), draw)
        stream.pause(next(pauses))
    stream.pause(60.0)
    assert stream.worst <= 1.25
    assert COPY_S * stream.copied <= 0.1 * stream.idle_s
    assert stream.largest < 32 * PER_SHARD
    if arrivals is uniform:
        assert stream.copied <= sum(map(Counter.total, stream.parts)), "one copy of each example more"


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


@pytest.mark.parametrize(
    ("trains", "found"),
    [
        ([], None),
        ([10], None),
        ([10, 10], (0, 2)),
        ([400, 10], None),
        ([400, 10, 10], (1, 3)),
        ([400, 300, 10, 10], (2, 4)),
        ([40, 0, 0], None),
        ([3200, 10, 10, 10], None),
        ([3200, *[10] * 12], (9, 13)),
    ],
)
def test_at_rest_the_fewest_newest_directories_become_one(trains: list[int], found: tuple[int, int] | None) -> None:
    assert plan_tidying([{"train": train} for train in trains], 100) == found


def test_directories_that_are_damaged_stay_and_their_neighbours_are_merged_around_them() -> None:
    assert plan_merges([10] * 9, 100, {4}) == [(0, 4), (5, 9)]
    assert plan_merges([10] * 3, 100, {1}) == []
    sizes = [{"train": 400}, {"train": 400}, *[{"train": 10}] * 4]
    assert plan_tidying(sizes, 100) == (3, 6)
    assert plan_tidying(sizes, 100, {1}) == (3, 6)
    assert plan_tidying(sizes, 100, {3}) is None
    assert plan_tidying(sizes, 100, {5}) is None


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


def test_a_merge_at_rest_names_its_directories_and_waits_for_ten_times_its_cost(tmp_path: Path) -> None:
    stream, snapshot = _stream(tmp_path, [400, 100, 10, 10, 10])
    names = [each.directory for each in snapshot.parts]
    found = tidying(stream, snapshot)
    assert found and found.merge == Merge("generations/00000004-00000008", names[2:])
    assert found.cost_s == pytest.approx(30 * (20e-6 + 20 * 2e-9))
    assert found.pause_s == 10
    assert replace(found, cost_s=5.0).pause_s == 50
    assert tidying(stream, snapshot, {names[4]}) is None
    assert due(stream, snapshot, {names[4]}) == [Merge("generations/00000000-00000006", names[:4])]


def test_due_reads_the_manifest_of_each_directory_once(tmp_path: Path) -> None:
    stream, snapshot = _stream(tmp_path, [9, 9, 9])
    assert due(stream, snapshot) == []
    for each in snapshot.parts:
        (stream.place / each.directory / "manifest.json").delete()
    assert due(stream, snapshot) == []


def watch(folder: Path, **values: Any) -> Watcher:
    """Returns a watcher of a folder, on a stream next to it."""
    inbox, place = folder / "inbox", Place(folder / "stream")
    inbox.mkdir(exist_ok=True)
    config = new_config({"source": "svhn", "jitters": 0, "validation_fraction": 0.5})
    job = WatchJob(source="svhn", input=str(inbox), output=str(place), **values)
    stream = Stream.load(place) if is_stream(place) else config
    return Watcher(place, stream, SimpleInbox(inbox, config), maker(1), job)


def test_a_watcher_at_rest_merges_once_after_a_pause_and_what_arrives_meanwhile_puts_it_off(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a share of the pictures for validation, two directories are four files instead of two."""
    arrivals = {1000: "a", 1005: "b", 1012: "c", 1022: ""}
    watcher = watch(tmp_path, every=0.0, until_idle=30.0)
    drop(tmp_path / "inbox", "a", 4)
    parts = {}

    def arrive(now: float) -> None:
        parts[int(now)] = len(watcher.snapshot.parts) if watcher.snapshot else 0
        if name := arrivals.pop(int(now), ""):
            drop(tmp_path / "inbox", name, 4)

    clock.meanwhile = arrive
    watcher.run()
    assert [parts[second] for second in (1004, 1010, 1016, 1022, 1025, 1040)] == [1, 2, 3, 3, 1, 1]
    assert capsys.readouterr().out.count("3 directories became 1") == 1
    assert watcher.ledger.next == 4


def test_at_its_end_a_watcher_leaves_few_files_where_that_is_cheap(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        drop(tmp_path / "inbox", name, 4)
        watcher = watch(tmp_path, once=True)
        watcher.run()
    assert watcher.snapshot and len(watcher.snapshot.parts) == 1
    drop(tmp_path / "inbox", "c", 4)
    monkeypatch.setattr(cycle, "_END_S", 0.0)
    watcher = watch(tmp_path, until_idle=3.0)
    watcher.run()
    assert watcher.snapshot and len(watcher.snapshot.parts) == 2, "it costs more than it may"


def test_a_damaged_directory_does_not_stop_the_watcher_and_is_chosen_once_in_each_process(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        drop(tmp_path / "inbox", name, 4)
        watch(tmp_path, once=True, compact="off").run()
    (shard,) = (tmp_path / "stream/generations/00000000").glob("*train.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-1])
    drop(tmp_path / "inbox", "c", 4)
    watcher = watch(tmp_path, until_idle=60.0)
    watcher.run()
    assert watcher.snapshot and [each.directory for each in watcher.snapshot.parts] == [
        "generations/00000000",
        "generations/00000001",
        "generations/00000002",
    ]
    shown = capsys.readouterr()
    assert shown.err.count(f"3 directories stay as they are, and are not merged: {shard} must have") == 1
    assert "snapshot 3: nothing has changed" in shown.out
    assert watcher.ledger.open == [] and watcher.ledger.reasons == {"damaged": 1}
    for name in "defg":
        drop(tmp_path / "inbox", name, 4)
        watcher.run()
    assert watcher.snapshot.parts[0].directory == "generations/00000000"
    assert watcher.ledger.reasons == {"damaged": 1}
    watch(tmp_path, until_idle=60.0).run()
    assert Ledger(Place(tmp_path / "stream")).reasons == {"damaged": 2}
