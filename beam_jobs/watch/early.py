"""Corrections that are there before the numbers that they correct: they wait for the batches of these.

Only the watcher's memory has what waits: its batches stay in the inbox, and a watcher that starts again finds them.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

from beam_jobs.watch.batch import Batch
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Ledger
from tfrecords.errors import printable

_SEPARATOR = "@"
"""Between the names of a batch and of one of its subsets."""
_Id = tuple[str, str]
"""Name and digest of a batch."""


def note(line: str) -> None:
    """Prints a line on standard error."""
    print(f"note: {line}", file=sys.stderr, flush=True)


def corrected_batches(batch: Batch) -> set[str]:
    """Returns the names of the other batches whose numbers a batch corrects."""
    names = {each.key.partition("/")[0].partition(_SEPARATOR)[0] for each in batch.corrections}
    return names - {batch.name}


class EarlyCorrections:
    """Ready batches that correct numbers of batches that no entry of the ledger has accepted.

    Attributes:
      count: Number of those that wait.
      entries: Number of entries of an inbox's look that they take up.
      has_released: Whether a batch that waited is among those that need not any more.
    """

    def __init__(self, patience_s: float, say: Callable[[str], None] = note) -> None:
        """Holds nothing yet.

        Args:
          patience_s: Time since its first look after which a batch waits no longer, seconds.
          say: Function that prints a line.
        """
        self._patience_s, self._say = patience_s, say
        self._since: dict[_Id, float] = {}
        self.count = self.entries = 0
        self.has_released = False

    def hold(self, arrivals: Arrivals, ledger: Ledger, now: float) -> Arrivals:
        """Returns arrivals in which batches that have to wait count as waiting.

        A batch of a log waits only for batches that are ready, since its producer cannot know the names of others; what
        follows it in its partition waits too.

        Args:
          arrivals: What the inbox holds.
          ledger: What was accepted; all of it is in a snapshot.
          now: Time, seconds.
        """
        awaited = {batch.name for batch in arrivals.ready if batch.name not in ledger.accepted}
        since: dict[_Id, float] = {}
        ready: list[Batch] = []
        held: list[Batch] = []
        blocked: set[str] = set()
        for batch in sorted(arrivals.ready, key=lambda batch: batch.name):
            partitions = {each.partition for each in batch.positions}
            lacks = corrected_batches(batch) - ledger.accepted.keys()
            if batch.positions:
                lacks &= awaited
            identity = batch.name, batch.digest
            if lacks or identity in self._since:
                since[identity] = self._since.get(identity, now)
            if lacks and identity not in self._since:
                self._say_waits(batch, lacks)
            waits = bool(lacks) and now - since[identity] < self._patience_s
            if waits or partitions & blocked:
                blocked |= partitions
                held.append(batch)
            else:
                ready.append(batch)
        self._since = since
        self.count, self.entries = len(held), sum(max(1, batch.entries) for batch in held)
        self.has_released = any((batch.name, batch.digest) in since for batch in ready)
        if not held:
            return arrivals
        # What is behind another batch of its partition waits no longer than that one.
        waiting_s = max(arrivals.waiting_s, *(now - since.get((batch.name, batch.digest), now) for batch in held))
        return replace(arrivals, ready=ready, waiting=arrivals.waiting + len(held), waiting_s=waiting_s)

    def _say_waits(self, batch: Batch, lacks: set[str]) -> None:
        first, *others = sorted(lacks)
        more = f" and {len(others):,} more" if others else ""
        self._say(
            f"batch {printable(batch.name)} waits up to {self._patience_s:g} s for {printable(first)}{more}, "
            "which it corrects"
        )
