"""Times, memory and files of the watcher, each next to its goal."""

import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from beam_jobs.prepare.plan import count_shards
from beam_jobs.sources.base import Subset
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.ledger import LOG, Entry
from beam_jobs.watch.stream import Stream
from benchmarks.watch.batches import Producer, draw_batch
from benchmarks.watch.watcher import Watcher, compact, rss_bytes, timed
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.snapshots import SNAPSHOTS, Snapshot, number_name, snapshot_numbers
from tfrecords.files.place import Place

_CUT = ("--max-length", "3", "--validation-fraction", "0.05")
_BATCHES = (200, 1000)
"""Pictures of a batch of the backlog: each digitStruct.mat is opened and searched as a whole, four times."""
_REPEATS = 3
_SCALE = 3
"""Size of their pictures, nearly that of SVHN's: how long a picture takes decides what else weighs."""
_SMALL = 50
"""Pictures of a generation whose memory or files are measured."""
_WARM = 20
"""Generations after which memory should not grow any more."""
_IDLE_S = 5.0
"""Seconds without work whose processor time is measured."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, the figure, its goal, and whether it is met."""

    what: str
    found: str
    goal: str
    is_met: bool


def latency(folder: Path, batches: int, every: float = 1.0) -> Iterator[Figure]:
    """Yields the time from a batch's arrival to its snapshot, with one batch every 0.3 to 1 s."""
    rng = random.Random(0)
    producer = Producer(folder / "inbox", folder / "work", 0, time.monotonic)
    stream = folder / "stream"
    watcher = Watcher(producer.inbox, stream, *_CUT, "--every", str(every), "--poll", "0.1", "--workers", "1")
    watcher.start()
    try:
        seen = _Seen(stream)
        for index in range(batches):
            for _ in producer.drop("marked", pictures=10):
                pass
            if not index:
                seen.wait_for(1)  # the start of the process is no part of the time of a batch
            seen.look_for(rng.uniform(0.3, 1))
        seen.wait_for(batches)
    finally:
        watcher.kill()
    arrived = list(producer.dropped.values())[1:]
    times = sorted(seen.at[each.name] - float(each.at or 0) for each in arrived)
    p50, p95 = statistics.median(times), times[int(0.95 * len(times))]
    yield Figure(f"arrival to snapshot, median, --every {every:g}", f"{p50:.2f} s", "2 s", p50 <= 2)
    yield Figure(f"arrival to snapshot, 95th percentile, --every {every:g}", f"{p95:.2f} s", "3.5 s", p95 <= 3.5)


class _Seen:
    """When the snapshot of each batch was first there."""

    def __init__(self, stream: Path) -> None:
        self._stream, self._known = stream, set[int]()
        self.at: dict[str, float] = {}

    def look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number in set(snapshot_numbers(Place(self._stream))) - self._known:
                self._known.add(number)
                entry = json.loads((self._stream / LOG / number_name(number)).read_bytes())
                self.at.update({batch["name"]: time.monotonic() for batch in entry["batches"]})
            time.sleep(0.02)

    def wait_for(self, batches: int, most_s: float = 120.0) -> None:
        end = time.monotonic() + most_s
        while len(self.at) < batches and time.monotonic() < end:
            self.look_for(0.05)
        if len(self.at) < batches:
            raise RuntimeError(f"Snapshots must hold {batches} batches in {most_s:g} s. Received: {len(self.at)}")


def backlog(folder: Path, pictures: int) -> Iterator[Figure]:
    """Yields the rate at which a full inbox is read, of that of one `prepare` over the same pictures: best of three."""
    together = folder / "train"
    draw_batch(together, random.Random(0), pictures, _SCALE)
    inboxes = {size: folder / f"inbox-{size}" for size in _BATCHES}
    for size, inbox in inboxes.items():
        rng = random.Random(0)
        for index in range(max(1, pictures // size)):
            draw_batch(inbox / f"b{index:05d}", rng, size, _SCALE)
            (inbox / f"b{index:05d}" / "_SUCCESS").touch()
    command = [sys.executable, "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", str(together), *_CUT]
    prepared, watched = [], defaultdict(list)
    for repeat in range(_REPEATS):
        os.sync()  # what the runs before have left to write would be part of this one
        prepared.append(timed([*command, "--output", str(folder / f"prepared-{repeat}")], folder / "prepare.log"))
        for size, inbox in inboxes.items():
            os.sync()
            watcher = Watcher(inbox, folder / f"stream-{size}-{repeat}", *_CUT, "--compact", "off")
            watched[size].append(watcher.run("--once"))
    for size, runs in watched.items():
        for index, what in enumerate(("by the clock", "of processor time")):
            theirs, ours = (min(run[index] for run in each) for each in (prepared, runs))
            text = f"{theirs / ours:.2f} ({pictures / ours:,.0f}/s, {pictures / theirs:,.0f}/s)"
            name = f"rate of a backlog of {pictures:,} in batches of {size:,}, of prepare's, {what}"
            yield Figure(name, text, "0.8", theirs / ours >= 0.8)


def memory_and_files(folder: Path, generations: int) -> Iterator[Figure]:
    """Yields the growth of memory over small generations, and how many files are left of them."""
    rng = random.Random(0)
    inbox, stream = folder / "inbox", folder / "stream"
    watcher = Watcher(inbox, stream, *_CUT, "--every", "0", "--poll", "0.05", "--workers", "1")
    process = watcher.start()
    sizes = []
    try:
        for index in range(generations):
            hidden = inbox / f".b{index:05d}"
            draw_batch(hidden, rng, _SMALL)
            (hidden / "_SUCCESS").touch()
            hidden.rename(inbox / f"b{index:05d}")
            _await_generations(stream, index + 1, process.poll)
            sizes.append(rss_bytes(process.pid))
    finally:
        watcher.kill()
    growth = (max(sizes[-10:]) - max(sizes[:_WARM])) / 1e6
    yield Figure(f"growth of memory over {generations:,} generations", f"{growth:.1f} MB", "20 MB", growth <= 20)
    watcher.run("--until-idle", "3")
    yield from _files(stream, "as the watcher leaves them")
    compact(stream)
    yield from _files(stream, "after compact --full", most=1.0)


def _made(stream: Path) -> set[str]:
    """Returns the names of the directories that were made of batches."""
    folder = stream / "generations"
    return {path.parent.name for path in folder.glob("*/manifest.json") if path.parent.name.isdigit()}


def _await_generations(stream: Path, number: int, ended: Callable[[], int | None], most_s: float = 60.0) -> None:
    end = time.monotonic() + most_s
    while len(_made(stream)) < number:
        if ended() is not None or time.monotonic() > end:
            raise RuntimeError(f"The watcher must make generation {number} in {most_s:g} s. Received: {ended()}")
        time.sleep(0.02)


def _files(stream: Path, when: str, most: float = 1.3) -> Iterator[Figure]:
    """Yields the number of shards of the newest snapshot, of those that one `prepare` over all would write."""
    config, manifest = Stream.load(Place(stream)).config, Manifest.load(stream)
    ideal = sum(count_shards(config, {"all": sum(each.pictures for each in manifest.sources)}).values())
    found = sum(len(info.shards) for info in manifest.splits.values())
    text = f"{found} of {ideal}, {found / ideal:.2f}"
    yield Figure(f"shards, of those of one prepare, {when}", text, f"{most:g}", found <= most * ideal)


def history(folder: Path, entries: int) -> Iterator[Figure]:
    """Yields what a long ledger adds to the start and to an idle second, of processor time, against ten entries."""
    costs = []
    for number in (10, entries):
        inbox, stream = folder / f"{number}" / "inbox", folder / f"{number}" / "stream"
        draw_batch(inbox / "b", random.Random(0), _SMALL)
        watcher = Watcher(inbox, stream, *_CUT, "--settle", "0.1", "--compact", "off", "--workers", "1")
        watcher.run("--once")
        _fabricate(stream, number)
        watcher.run("--once")  # what is derived is written again
        short, long = (watcher.run("--until-idle", str(seconds))[1] for seconds in (1, 1 + _IDLE_S))
        costs.append((short, max(0.0, long - short) / _IDLE_S))
    starts, idles = zip(*costs, strict=True)
    start, idle = starts[1] - starts[0], (idles[1] - idles[0]) * 1e3
    yield Figure(f"start with {entries:,} entries, against 10", f"{start:+.2f} s", "+5 s", start <= 5)
    yield Figure(f"idle second with {entries:,} entries, against 10", f"{idle:+.1f} ms", "+20 ms", idle <= 20)


def _fabricate(stream: Path, entries: int) -> None:
    """Writes entries and snapshots after the first one, as of batches that came, were merged and left the inbox."""
    place = Place(stream)
    first = Snapshot.load(place, 0)
    for number in range(1, entries):
        digest = f"{number:064x}"
        batch = Batch(f"h{number:05d}", digest, digest, [Subset(f"h{number:05d}", str(stream), 1, digest)])
        (stream / LOG / number_name(number)).write_bytes(Entry(number, [batch]).to_json())
        snapshot = replace(first, snapshot=number, batches=number + 1)
        (stream / SNAPSHOTS / number_name(number)).write_bytes(snapshot.to_json())
