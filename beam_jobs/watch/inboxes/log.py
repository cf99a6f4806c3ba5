"""An inbox that is a log: partitions of numbered messages, which the ledger says how far were read.

What a broker or a file system remembers of a reader decides nothing. A batch is a run of messages of one partition. It
is in the spool before it is ready, and its name has its positions, so that a reader that was killed at any moment
finds in the ledger and the spool where each partition goes on.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from beam_jobs.watch.batch import INCOMPLETE, Batch, Positions, Refusal
from beam_jobs.watch.inboxes.inbox import Arrivals, Inbox
from beam_jobs.watch.inboxes.messages import Message
from beam_jobs.watch.inboxes.spool import Spool, UnreachableError, batch_name, parse_name, partition_prefix
from beam_jobs.watch.ledger import Ledger
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

PATIENCE_S = 600.0
"""Time after which pictures at addresses that cannot be reached are refused, seconds."""


@dataclass(frozen=True)
class Mark:
    """Where the reading of a partition goes on.

    Attributes:
      position: Position of the next message.
      stamp: What `Log.stamp` said of that position when it was reached; empty if that is not known.
    """

    position: int
    stamp: str = ""


@dataclass(frozen=True)
class Lost:
    """Messages that cannot be read any more.

    Attributes:
      positions: Which ones; none of them where the partition is not what was read before.
      detail: Rule and what was received, as a sentence.
      reason: `INCOMPLETE`, or `CHANGED` for a partition that is not what was read before.
    """

    positions: Positions
    detail: str
    reason: str = INCOMPLETE


@dataclass(frozen=True)
class Run:
    """Messages of one partition that follow each other.

    Attributes:
      start: Position at which their reading began; none before the first message has one of its own.
      messages: Messages in order, one at least.
    """

    start: int
    messages: Sequence[Message]


@dataclass
class Look:
    """What one look at a log has found.

    Attributes:
      runs: New messages of each partition that has some.
      lost: Messages that are lost.
      waiting: Partitions with something that could not be read yet.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)


class AwayError(Exception):
    """The log cannot be reached now, and may be back soon; the text says why."""


class Log(Protocol):
    """Partitions of numbered messages."""

    def look(self, marks: Mapping[str, Mark], most: int) -> Look:
        """Reads messages that follow the marks; a partition without a mark is read from its first message.

        Args:
          marks: Where the reading of each partition goes on.
          most: Largest number of messages.

        Raises:
          AwayError: The log cannot be reached now.
          UserError: The log is not there.
        """

    def read(self, positions: Positions) -> list[Message]:
        """Returns messages that were read before, as far as the log still has them.

        Raises:
          AwayError: The log cannot be reached now.
          UserError: The log is not there.
        """

    def stamp(self, partition: str, position: int) -> str:
        """Returns a text by which `look` can see that what comes before a position is still the same; or nothing."""


def note(line: str) -> None:
    """Prints a line on standard error."""
    print(f"note: {line}", file=sys.stderr, flush=True)


class LogInbox(Inbox):
    """The inbox of a log."""

    def __init__(
        self,
        log: Log,
        stream: Place,
        *,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = note,
    ) -> None:
        """Takes a log; nothing is read.

        Args:
          log: The log.
          stream: Stream with the spool.
          patience_s: Time after which pictures at addresses that cannot be reached are refused, seconds.
          now: Clock, seconds.
          say: Function that prints a line.
        """
        self._log, self._spool = log, Spool(stream)
        self._patience_s, self._now, self._say = patience_s, now, say
        self._is_recovered = False
        self._ready: dict[str, Batch] = {}
        self._lost: dict[str, Refusal] = {}
        self._marks: dict[str, Mark] = {}
        self._skipped: dict[tuple[str, int], int] = {}
        self._waits: dict[str, float] = {}
        self._is_away: bool | None = None

    def poll(self, ledger: Ledger, most: int) -> Arrivals:
        """Looks at the log once; see `Inbox`.

        Names of one partition sort as its positions do. What is accepted must be the first of the ready batches.

        Raises:
          UserError: The log is not there.
        """
        if not self._is_recovered:
            self._ready = self._recovered(ledger)
            self._is_recovered = True
        for batch in [batch for batch in self._ready.values() if _is_known(batch, ledger)]:
            del self._ready[batch.name]
            if batch.name not in ledger.accepted:
                self._spool.remove(batch.name)
        held = sum(map(_messages, self._ready.values()))
        if held < most:
            self._look(most - held)
        self._lost = {name: lost for name, lost in self._lost.items() if lost.stamp not in ledger.refused.get(name, ())}
        ready = [self._ready[name] for name in sorted(self._ready)]
        refused = [self._lost[name] for name in sorted(self._lost)]
        longest = max((self._now() - start for start in self._waits.values()), default=0.0)
        return Arrivals(ready, refused, len(self._waits), longest)

    def difference(self, batch: Batch, *, thorough: bool = False) -> str:
        """Returns how an accepted batch differs from what was accepted; see `Inbox`.

        A batch whose folder was lost or changed is read from the log again.

        Raises:
          UserError: The log is not there, or cannot be reached.
        """
        found = self._spool.read(batch.name)
        if found and found.digest == batch.digest:
            return ""
        try:
            again = [self._spooled_again(positions, batch.stamp) for positions in batch.positions]
        except (AwayError, UnreachableError) as error:
            rule = f"{batch.name} must be read from its log again, since its folder in the spool was lost or changed."
            raise UserError(rule, error) from error
        if [each.digest for each in again if each] == [batch.digest]:
            return ""
        where = ", ".join(f"{each.partition} {each.start} to {each.stop}" for each in batch.positions)
        return f"Its folder in the spool was lost or changed, and its log no longer has the same messages ({where})."

    def finish(self, batch: Batch) -> None:
        """Removes a batch from the spool; see `Inbox`."""
        self._spool.remove(batch.name)

    def _spooled_again(self, positions: Positions, stamp: str) -> Batch | None:
        messages = self._log.read(positions)
        if not messages or messages[-1].end != positions.stop:
            return None
        return self._spool.write(positions.partition, positions.start, messages, lambda _: stamp)[0]

    def _recovered(self, ledger: Ledger) -> dict[str, Batch]:
        """Returns what an earlier process has put into the spool and nobody accepted; removes what is of no use."""
        self._skipped = _refused_runs(ledger)
        for partition, mark in _accepted_marks(ledger).items():
            self._mark(partition, mark)
        is_open = {batch.name for entry in ledger.open for batch in entry.batches}
        ready: dict[str, Batch] = {}
        for name, batch in sorted(self._spool.load().items()):
            if name in is_open:
                continue
            if batch is None or _is_known(batch, ledger) or not self._follows(batch):
                self._spool.remove(name)
            else:
                ready[name] = batch
                self._advance(batch)
        return ready

    def _follows(self, batch: Batch) -> bool:
        """Returns whether a batch of the spool begins where the reading goes on: nothing is between, and none twice."""
        marks = [(each.start, self._marks.get(each.partition, Mark(each.start))) for each in batch.positions]
        return all(start == mark.position for start, mark in marks)

    def _advance(self, batch: Batch) -> None:
        for each in batch.positions:
            self._mark(each.partition, Mark(each.stop, batch.stamp))

    def _mark(self, partition: str, mark: Mark) -> None:
        """Sets where the reading of a partition goes on: after what was refused there."""
        prefix = partition_prefix(partition)
        while stop := self._skipped.get((prefix, mark.position)):
            mark = Mark(stop)
        self._marks[partition] = mark

    def _look(self, most: int) -> None:
        """Spools what the log has, and takes down what is lost and what waits.

        Raises:
          UserError: The log is not there, or could never be reached.
        """
        try:
            look = self._log.look(self._marks, most)
        except AwayError as error:
            if self._is_away is None:
                raise UserError("The log must be there when its reader starts.", error) from error
            if not self._is_away:
                self._say(f"{error}; it is tried again at each look")
            self._is_away = True
            self._wait({""})
            return
        if self._is_away:
            self._say("the log can be reached again")
        self._is_away = False
        for lost in look.lost:
            self._lose(lost)
        blocked = {partition for partition, run in sorted(look.runs.items()) if not self._take(partition, run)}
        self._wait(look.waiting | blocked)

    def _wait(self, partitions: Set[str]) -> None:
        now = self._now()
        self._waits = {partition: self._waits.get(partition, now) for partition in partitions}

    def _lose(self, lost: Lost) -> None:
        """Takes down messages that are lost: each is refused once, and the reading goes on after them."""
        positions = lost.positions
        name = batch_name(positions.partition, positions.start, positions.stop)
        stamp = hashlib.sha256(f"{name} {lost.reason}".encode()).hexdigest()
        self._lost[name] = Refusal(name, stamp, stamp, lost.reason, lost.detail)
        if lost.reason == INCOMPLETE:
            self._marks[positions.partition] = Mark(positions.stop)

    def _take(self, partition: str, run: Run) -> bool:
        """Spools messages of a partition; returns whether that is possible now."""
        began = self._waits.get(partition)
        give_up = began is not None and self._now() - began >= self._patience_s

        def stamp(stop: int) -> str:
            return self._log.stamp(partition, stop)

        try:
            batch, faults = self._spool.write(partition, run.start, run.messages, stamp, give_up=give_up)
        except UnreachableError as error:
            if began is None:
                self._say(f"{printable(partition)} waits {self._patience_s:g} s for the place of a picture: {error}")
            return False
        if faults:
            first = f"{faults[0].reason}, {faults[0].rule} Received: {faults[0].received}"
            self._say(f"{batch.name}: {len(faults)} of {_messages(batch)} messages are no pictures; the first: {first}")
        self._ready[batch.name] = batch
        self._advance(batch)
        return True


def _is_known(batch: Batch, ledger: Ledger) -> bool:
    """Returns whether a batch was accepted or refused."""
    return batch.name in ledger.accepted or batch.stamp in ledger.refused.get(batch.name, ())


def _messages(batch: Batch) -> int:
    return batch.entries + len(batch.corrections)


def _accepted_marks(ledger: Ledger) -> dict[str, Mark]:
    """Returns where the reading of each partition goes on after what was accepted."""
    stamps: dict[tuple[str, int], str] = {}
    for name, accepted in ledger.accepted.items():
        if parsed := parse_name(name):
            stamps[parsed[0], parsed[2]] = accepted.stamp
    return {
        partition: Mark(position, stamps.get((partition_prefix(partition), position), ""))
        for partition, position in ledger.positions.items()
    }


def _refused_runs(ledger: Ledger) -> dict[tuple[str, int], int]:
    """Returns the end of each run of messages that was refused or lost, by its partition's prefix and its start."""
    runs: dict[tuple[str, int], int] = {}
    for name in ledger.refused:
        parsed = parse_name(name)
        if parsed and parsed[1] < parsed[2]:
            prefix, start, stop = parsed
            runs[prefix, start] = max(stop, runs.get((prefix, start), 0))
    return runs
