"""status.json: how a stream fares, for people and monitors. Nothing decides by it."""

import json
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from beam_jobs.watch.stream import STATUS
from tfrecords.dataset.snapshots import Snapshot
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import Count, from_json, parse_object

RUNNING, IDLE, ENDED = "making", "idle", "ended"
"""States: a generation is made, nothing is to be done now, and the watcher has ended by itself."""
_LATENCIES = 200
"""Batches that the latency is that of."""
_RATES = 10
"""Generations that the speed is that of."""
_EVERY_S, _EVERY_S_IN_STORE = 1.0, 15.0
"""Time between two writings of a status that has not changed, seconds; in a store each costs money."""


@dataclass(frozen=True)
class Latency:
    """Time from the first look at a ready batch to its snapshot, seconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Status:
    """How a stream fares.

    Attributes:
      snapshot: Number of the newest snapshot; None without one.
      batches: Number of batches in it.
      pictures: Number of pictures in it.
      examples: Number of examples in it.
      dead_letters: Number of rejected pictures in it, by reason.
      refused: Number of refused batches, by reason.
      corrections_applied: Number of corrections that changed a number.
      corrections_not_found: Number of those that changed nothing, since their number is in no record.
      pending: Number of batches that are ready or not ready yet.
      oldest_pending_s: Time since the first look at the one that waits longest, seconds.
      pictures_per_s: Pictures per second of making, of the last generations.
      latency_s: Latency of the last batches; None before one.
      pid: Number of the watcher's process.
      host: Name of its machine.
      state: What it does.
      time: Its clock, seconds since 1970, for people: when it wrote this.
    """

    snapshot: Count | None = None
    batches: Count = 0
    pictures: Count = 0
    examples: Count = 0
    dead_letters: dict[str, Count] = field(default_factory=dict)
    refused: dict[str, Count] = field(default_factory=dict)
    corrections_applied: Count = 0
    corrections_not_found: Count = 0
    pending: Count = 0
    oldest_pending_s: float = 0.0
    pictures_per_s: float = 0.0
    latency_s: Latency | None = None
    pid: Count = 0
    host: str = ""
    state: str = IDLE
    time: float = 0.0

    @classmethod
    def load(cls, stream: Place) -> "Status | None":
        """Reads the status of a stream; None where no watcher has written one.

        Raises:
          UserError: The file is damaged.
        """
        data = read_bytes(stream / STATUS)
        return None if data is None else from_json(cls, parse_object(data, str(stream / STATUS)), str(stream / STATUS))


class Board:
    """The status of a running watcher, which it writes when it changes, and as a sign of life."""

    def __init__(self, stream: Place) -> None:
        """Takes the stream."""
        self._stream = stream
        self._written: Status | None = None
        self._next = 0.0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._rates: deque[tuple[int, float]] = deque(maxlen=_RATES)

    def add(self, latencies: Sequence[float], pictures: int, seconds: float) -> None:
        """Adds a generation.

        Args:
          latencies: Time from the first look at each of its batches to its snapshot, seconds.
          pictures: Number of its pictures.
          seconds: Time of its making.
        """
        self._latencies.extend(latencies)
        if pictures:
            self._rates.append((pictures, seconds))

    def show(
        self, state: str, snapshot: Snapshot | None, refused: Counter[str], pending: int = 0, oldest_s: float = 0.0
    ) -> None:
        """Writes the status, unless it is that of a moment ago.

        A status that cannot be written is no reason to end: what matters then fails by itself.

        Args:
          state: What the watcher does.
          snapshot: Newest snapshot.
          refused: Number of refused batches, by reason.
          pending: Number of batches that are ready or not ready yet.
          oldest_s: Time since the first look at the one that waits longest, seconds.
        """
        status = self._status(state, snapshot, refused, pending, oldest_s)
        now = time.monotonic()
        if _same(status, self._written) and now < self._next:
            return
        try:
            (self._stream / STATUS).write([(json.dumps(asdict(status), indent=1) + "\n").encode()])
        except (OSError, UserError):
            return
        self._written = status
        self._next = now + (_EVERY_S_IN_STORE if self._stream.is_remote else _EVERY_S)

    def _status(
        self, state: str, snapshot: Snapshot | None, refused: Counter[str], pending: int, oldest_s: float
    ) -> Status:
        totals = list(snapshot.totals.values()) if snapshot else []
        pictures, seconds = sum(count for count, _ in self._rates), sum(each for _, each in self._rates)
        return Status(
            snapshot=snapshot.snapshot if snapshot else None,
            batches=snapshot.batches if snapshot else 0,
            pictures=sum(total.pictures for total in totals),
            examples=sum(total.examples for total in totals),
            dead_letters=snapshot.dead_letters if snapshot else {},
            refused=dict(sorted(refused.items())),
            corrections_applied=snapshot.corrections_applied if snapshot else 0,
            corrections_not_found=snapshot.corrections_not_found if snapshot else 0,
            pending=pending,
            oldest_pending_s=round(oldest_s, 1),
            pictures_per_s=round(pictures / seconds, 1) if seconds else 0.0,
            latency_s=_latency(self._latencies),
            pid=os.getpid(),
            host=socket.gethostname(),
            state=state,
            time=round(time.time(), 1),
        )


def _same(status: Status, other: Status | None) -> bool:
    """Returns whether two statuses differ in nothing but times."""
    return other is not None and _timeless(status) == _timeless(other)


def _timeless(status: Status) -> Status:
    return replace(status, time=0.0, oldest_pending_s=0.0)


def _latency(values: Sequence[float]) -> Latency | None:
    """Returns the median and the 95th percentile of some times, by the nearest rank; None without one."""
    if not values:
        return None
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95)]
    return Latency(*(round(each, 2) for each in at))
