"""Batches that arrive while a coordinator and its job run on an engine, and what the stream must be at the end."""

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import tfrecords
from beam_jobs.watch.ledger import LOG, Ledger
from tests import stream_batches as batches
from tests.cluster import jobs
from tests.cluster.processes import Process, command_line, descendants
from tfrecords.dataset.snapshots import Snapshot, flatten, snapshot_numbers

PICTURES = 10
"""Pictures of a batch."""
_SECONDS = 180.0


class Growing:
    """A stream that grows.

    Attributes:
      stream: The stream.
      inbox: Folder of the batches.
      latencies: Seconds from the arrival of each batch to its snapshot, by name.
    """

    def __init__(self, folder: Path, drawn: Path) -> None:
        """Makes an empty stream.

        Args:
          folder: Folder for the stream, the batches and the logs.
          drawn: Drawn pictures.
        """
        self._folder, self._drawn = folder, batches.annotated(drawn)
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.stream = batches.new_stream(folder / "stream")
        self.latencies: dict[str, float] = {}
        self._dropped: dict[str, float] = {}
        self._seen: set[int] = set()

    def start(self, options: Sequence[str], takeover_s: float = 120) -> Process:
        """Starts a coordinator with options of Beam, or without."""
        words = [str(self.stream.place), str(self.inbox), str(takeover_s), *options]
        return jobs.start(["python", "-m", "tests.cluster.coordinator", *words], self._folder / "coordinator.log")

    def drop(self) -> None:
        """Drops the next batch."""
        name = f"b{len(self._dropped):03}"
        first = 7 * len(self._dropped)
        pictures = [self._drawn[(first + i) % len(self._drawn)] for i in range(PICTURES)]
        unique = list({path.name: (path, annotation) for path, annotation in pictures}.values())
        batches.drop(self.inbox, name, unique)
        self._dropped[name] = time.monotonic()

    def look(self) -> None:
        """Looks for new snapshots, and notes the latencies of their batches."""
        now, place = time.monotonic(), self.stream.place
        for number in set(snapshot_numbers(place)) - self._seen:
            self._seen.add(number)
            for batch in Ledger(place).entry(number).batches:
                self.latencies[batch.name] = now - self._dropped[batch.name]

    def wait(self, process: Process, ready: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
        """Waits until a condition holds, and notes latencies meanwhile."""

        def look() -> bool:
            self.look()
            return ready()

        process.wait_until(look, what, seconds, poll_s=0.02)

    def wait_for_all(self, process: Process, seconds: float = _SECONDS) -> None:
        """Waits until a snapshot holds every batch that was dropped."""
        self.wait(process, lambda: len(self.latencies) == len(self._dropped), "all batches in snapshots", seconds)

    def drop_some(self, process: Process, count: int, seed: int = 0) -> None:
        """Drops batches, with pauses of up to 1.5 s."""
        chance = random.Random(seed)
        for _ in range(count):
            self.drop()
            stop = time.monotonic() + chance.uniform(0.2, 1.5)
            self.wait(process, lambda stop=stop: time.monotonic() > stop, "a pause")  # type: ignore[misc]

    def check(self) -> None:
        """Checks that every picture is there once, and that the bytes are those that one process makes.

        Raises:
          AssertionError: It is not so.
        """
        place = self.stream.place
        last = Snapshot.load(place, snapshot_numbers(place)[-1])
        (place / "manifest.json").write([flatten(place, last).to_json().encode()])
        keys = Counter(
            example.key.partition("#")[0]
            for split in ("train", "validation")
            for example in tfrecords.open(place, split)
        )
        every = {f"{path.parent.name}/{path.name}" for path in self.inbox.glob("b*/*.png")}
        assert set(keys) == every
        # A copy of the ledger, made by one process.
        local = batches.new_stream(self._folder / "local")
        for path in (place / LOG).path.iterdir():
            (local.place / LOG / path.name).create(path.read_bytes())
        batches.commit_all(local, batches.make_here)
        assert batches.digests(place) == batches.digests(local.place)

    def summary(self, first: int = 0) -> str:
        """Returns the latencies in words, from a batch on."""
        found = sorted(seconds for name, seconds in self.latencies.items() if int(name[1:]) >= first)
        p95 = found[min(len(found) - 1, round(0.95 * len(found)))]
        return f"{len(found)} batches: median {statistics.median(found):.1f} s, p95 {p95:.1f} s, most {found[-1]:.1f} s"


def takeovers(process: Process) -> int:
    """Returns how many generations a coordinator has made shards of itself."""
    lines = [line for line in process.log.read_text().splitlines() if line.startswith("takeovers ")]
    return int(lines[-1].split()[1]) if lines else 0


def workers_of(process: Process) -> list[int]:
    """Returns the workers that a process has started, or that its own have."""
    return [pid for pid in descendants(process.pid) if "beam_jobs.job.boot" in command_line(pid)]


def job_of(process: Process) -> int:
    """Returns the process that keeps a coordinator's job running."""
    (found,) = [pid for pid in descendants(process.pid) if " watch-job " in command_line(pid)]
    return found
