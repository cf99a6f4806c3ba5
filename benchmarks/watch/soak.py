"""The soak: batches in every kind, a watcher that is killed at random moments, and what must be so at the end."""

import heapq
import random
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.watch.batches import Dropped, Producer, Steps
from benchmarks.watch.watcher import Reader, Watcher

_OPTIONS = (
    *("--every", "1", "--poll", "0.2", "--settle", "1", "--pictures", "150", "--workers", "1"),
    *("--max-length", "3", "--validation-fraction", "0.2", "--examples-per-shard", "400", "--jitters", "2"),
)
_PATIENCE_S = 15.0
"""Longer than any stall of a producer, so that what will be complete is never refused."""
_LIFE_S = (0.2, 3.0)
"""Shortest and longest life of a watcher, seconds: its start takes some of it."""
_TICK_S = 0.02


@dataclass(frozen=True)
class Soak:
    """What a soak leaves.

    Attributes:
      folder: Folder with the inbox and the stream.
      kills: Number of kills.
      dropped: Everything that was dropped, by name.
      opened: How often the reader opened a snapshot.
      errors: Errors of the reader.
      ended: Last lines of the watchers that have ended without a kill.
    """

    folder: Path
    kills: int
    dropped: dict[str, Dropped]
    opened: int
    errors: list[str]
    ended: list[str]

    @property
    def inbox(self) -> Path:
        """Folder of the batches."""
        return self.folder / "inbox"

    @property
    def stream(self) -> Path:
        """Folder of the stream."""
        return self.folder / "stream"


def run_soak(folder: Path, kills: int, drops: int, seed: int) -> Soak:
    """Drops batches while the watcher is killed, and lets it finish; returns what there is then.

    Args:
      folder: New folder.
      kills: Number of times that the watcher is killed.
      drops: Number of batches.
      seed: Random seed of the batches and of the moments.

    Raises:
      UserError: The watcher fails at the end.
    """
    rng = random.Random(f"{seed} kills")
    producer = Producer(folder / "inbox", folder / "work", seed, time.monotonic)
    watcher = Watcher(producer.inbox, folder / "stream", *_OPTIONS, "--patience", str(_PATIENCE_S))
    reader = Reader(folder / "stream")
    lives = [rng.uniform(*_LIFE_S) for _ in range(kills)]
    stage = _Stage(producer, drops, sum(lives))
    ended = list[str]()
    try:
        for number, life in enumerate(lives, 1):
            _say(f"{number} of {kills} kills, {len(producer.dropped)} of {drops} batches")
            process = watcher.start()
            stage.run_for(life)
            if process.poll() is not None:
                ended.append(f"exit code {process.returncode}, {watcher.last_line()}")
            watcher.kill()
        stage.run_out()
        _say("the rest, without kills\n")
        watcher.run("--until-idle", "3")
    finally:
        watcher.kill()
        opened, errors = reader.finish()
    return Soak(folder, kills, producer.dropped, opened, errors, ended)


class _Stage:
    """The producers, each of which takes its steps when they are due."""

    def __init__(self, producer: Producer, drops: int, seconds: float) -> None:
        """Takes what drops, how many batches, and in how many seconds."""
        self._producer, self._left, self._pause = producer, drops, seconds / drops
        self._numbers = count()
        self._due: list[tuple[float, int, Steps]] = []
        self._next = time.monotonic()

    def run_for(self, seconds: float) -> None:
        """Takes all steps that are due in some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._take_steps()
            time.sleep(_TICK_S)

    def run_out(self) -> None:
        """Drops what is left at once, and takes all steps to their end."""
        self._pause = 0.0
        while self._left or self._due:
            self._take_steps()
            time.sleep(_TICK_S)

    def _take_steps(self) -> None:
        now = time.monotonic()
        while self._left and self._next <= now:
            self._left -= 1
            self._next += self._pause
            self._continue(self._producer.drop(), now)
        while self._due and self._due[0][0] <= now:
            self._continue(heapq.heappop(self._due)[2], now)

    def _continue(self, steps: Steps, now: float) -> None:
        pause = next(steps, None)
        if pause is not None:
            heapq.heappush(self._due, (now + pause, next(self._numbers), steps))


def _say(text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr, flush=True)
