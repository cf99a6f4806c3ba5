"""The loop of the watcher: looks at the inbox, writes an entry of the ledger, makes it, commits it, and again."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from beam_jobs.job.given import warn
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import note_of_whole
from beam_jobs.watch.admission import admit
from beam_jobs.watch.ahead import LookAhead
from beam_jobs.watch.batch import INCOMPLETE, Batch, Refusal
from beam_jobs.watch.commit import Known, newest, repair
from beam_jobs.watch.config import WatchJob, begin
from beam_jobs.watch.early import EarlyCorrections
from beam_jobs.watch.inboxes.inbox import Arrivals, Inbox
from beam_jobs.watch.ledger import LOG, Entry, Ledger, Merge
from beam_jobs.watch.perform import EmptyStreamError, Make, fault, perform
from beam_jobs.watch.status import ENDED, IDLE, RUNNING, Board
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.summary import snapshot_line
from beam_jobs.watch.upkeep.compact import Tidying, due, tidying
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.snapshots import SNAPSHOTS, STREAM, Snapshot
from tfrecords.errors import UserError, one_line, printable
from tfrecords.files.place import Place
from tfrecords.files.publish import remove_partial

_BUSY = 16
"""Generations in a row after which the stream is tidied although more is waiting."""
_SWEEP_S = 60.0
"""Time between two looks for what may be deleted, seconds."""
_FIRST = 2000
"""Pictures with which the first generation of a stream is due: no generation is made beside the look at these."""
_END_S = 2.5
"""Time that a merge may take which is only worth it at the job's end, seconds: its start takes as long."""


@dataclass(frozen=True)
class Report:
    """What one cycle has done.

    Attributes:
      entry: Entry that was written; None if there was nothing to write.
      snapshot: Snapshot that was committed; None without one.
      pending: Number of batches in the inbox that are in no entry: ready, or not yet.
    """

    entry: Entry | None = None
    snapshot: Snapshot | None = None
    pending: int = 0


@dataclass
class _Seen:
    """When the ready batches were first seen, by the watcher's own clock.

    Attributes:
      times: Time of each ready batch, by its name and digest: those of the last look only.
    """

    times: dict[tuple[str, str], float] = field(default_factory=dict)

    def look(self, ready: Sequence[Batch], now: float) -> None:
        """Takes the ready batches of a look."""
        names = [(batch.name, batch.digest) for batch in ready]
        self.times = {name: self.times.get(name, now) for name in names}

    def oldest_s(self, now: float) -> float:
        """Returns the time since the first look at the batch that is ready for longest, seconds; 0 without one."""
        return now - min(self.times.values()) if self.times else 0.0


class Watcher:
    """Makes a stream of what arrives in an inbox. One at a time: the caller holds the lock.

    Attributes:
      stream: Stream; None until the first batch has arrived.
      ledger: Its ledger.
      snapshot: Newest snapshot; None without one.
      made: Number of snapshots that this process has committed.
      pending: Number of batches in the inbox that are in no entry, at the last look.
      early: Those of them that wait for batches that they correct.
      committed: Function that is called after each snapshot that this process has committed.
    """

    def __init__(
        self,
        place: Place,
        config: PrepareConfig | Stream,
        inbox: Inbox,
        make: Make,
        job: WatchJob,
        ahead: LookAhead | None = None,
    ) -> None:
        """Reads the ledger.

        Args:
          place: Folder of the stream.
          config: Stream, or the configuration of one that is to be started.
          inbox: Where batches arrive.
          make: Function that makes a generation.
          job: When generations are made, and what is kept.
          ahead: Look at the inbox that `make` lets run while it waits for workers.

        Raises:
          UserError: The ledger or the newest snapshot is damaged.
        """
        self.stream = config if isinstance(config, Stream) else None
        self._config = config.config if isinstance(config, Stream) else config
        self._place, self._inbox, self._make, self._job = place, inbox, make, job
        self.ledger = Ledger(place)
        self.snapshot = newest(place)
        self.made = self.pending = 0
        self.committed: Callable[[], None] = lambda: None
        self.early = EarlyCorrections(job.patience)
        self._known: Known = {}
        self._board = Board(place)
        self._ahead = ahead or LookAhead()
        self._ahead.look = lambda: self._poll(job.pictures)
        self._seen = _Seen()
        self._first_look: float | None = None
        self._since_tidy = 0
        self._swept = self._active = float("-inf")
        self._merged: int | None = None
        self._tidying: Tidying | None = None
        self._has_looked = self._awaits_number = False
        self._said = self._kept = ""

    @property
    def _most(self) -> int:
        """Number of pictures with which a generation is due at once."""
        return self._job.pictures if self.snapshot else min(_FIRST, self._job.pictures)

    @property
    def _started(self) -> Stream:
        """The stream, which has an entry with batches, and so was started."""
        if self.stream is None:
            raise AssertionError(f"{self._place} has entries with batches, and no configuration")
        return self.stream

    def recover(self) -> None:
        """Does what killed processes have left: unfinished files, the manifest, batches to put away, open entries.

        Raises:
          UserError: An entry cannot be made.
        """
        if not self._place.is_remote:
            for name in ("", LOG, SNAPSHOTS):
                remove_partial(self._place.path / name, "*")
        if self.stream is None:
            if self.ledger.open:
                received = f"batches in entry {self.ledger.open[0].entry} of its ledger"
                raise UserError(f"{self._place} must have the {STREAM} with which it was started.", received)
            return
        if self.snapshot:
            repair(self._place, self.snapshot, self._known)
            self._finish(self.ledger.entry(self.snapshot.snapshot))
        for entry in list(self.ledger.open):
            self._perform(entry, time.monotonic(), None)

    def cycle(self, *, closes: bool = False) -> Report:
        """Looks at the inbox once, and makes a generation if it is time to.

        Args:
          closes: Whether to make one of what is ready, whatever the time.

        Raises:
          LostStreamError: Another process has the stream now.
          UserError: The inbox cannot be read at the first look, or the entry cannot be made.
        """
        # A last look must be a new one.
        arrivals = (None if closes else self._ahead.take()) or self._poll(self._most)
        now = time.monotonic()
        self._first_look = now if self._first_look is None else self._first_look
        self._seen.look(arrivals.ready, now)
        pending = len(arrivals.ready) + arrivals.waiting
        oldest_s = max(arrivals.waiting_s, self._seen.oldest_s(now))
        entry = self._admit(arrivals, now) if closes or self._is_due(arrivals, now) else None
        if entry is None:
            self._board.show(IDLE, self.snapshot, self.ledger.reasons, pending, oldest_s)
            return Report(pending=pending)
        self._board.show(RUNNING, self.snapshot, self.ledger.reasons, pending, oldest_s)
        self.ledger.append(entry)
        for refusal in entry.refusals:
            print(f"batch {printable(refusal.name)} refused: {refusal.reason}: {refusal.detail}", file=sys.stderr)
        decided = {(batch.name, batch.digest) for batch in entry.batches}
        decided |= {(refusal.name, refusal.digest) for refusal in entry.refusals}
        rest = [batch for batch in arrivals.ready if (batch.name, batch.digest) not in decided]
        times = self._seen.times
        self._seen.look(rest, now)
        pending, oldest_s = len(rest) + arrivals.waiting, max(arrivals.waiting_s, self._seen.oldest_s(now))
        snapshot = self._perform(entry, now, (pending, oldest_s), times) if entry.makes_snapshot else None
        self._board.show(IDLE, self.snapshot, self.ledger.reasons, pending, oldest_s)
        return Report(entry, snapshot, pending)

    def run(self) -> None:
        """Recovers, and repeats cycles until the job's end: for ever, without one.

        Raises:
          LostStreamError: Another process has the stream now.
          UserError: The inbox cannot be read at the first look, or an entry cannot be made.
        """
        self.recover()
        self._first_look, self._active = None, time.monotonic()
        while True:
            # Before the look: what settles after it is seen by the next one.
            is_last = self._job.once and self._has_settled
            report = self.cycle(closes=is_last)
            self.pending = report.pending
            if report.entry:
                self._active = time.monotonic()
                self._since_tidy += 1
                if self._since_tidy >= _BUSY:
                    self._tidy()
                continue
            if report.pending:
                self._active = time.monotonic()
            is_end = self._is_end(report, is_last)
            tidied = self._tidy(is_end)
            if is_end and not tidied:
                break
            if not tidied:
                time.sleep(self._job.poll)
        self._board.show(ENDED, self.snapshot, self.ledger.reasons)

    @property
    def _has_settled(self) -> bool:
        """Whether all that the first look has found has settled since then."""
        # A batch that was first seen by the first look, at its end, is settled at the first one after this time.
        first = self._first_look
        return first is not None and time.monotonic() - first > self._job.settle + self._job.poll

    def _is_end(self, report: Report, is_last: bool) -> bool:
        """Returns whether the job ends after a cycle that wrote nothing.

        Args:
          report: What the cycle did.
          is_last: Whether it would have made whatever was ready.
        """
        if self._job.once:
            return is_last or not report.pending
        idle_s = self._job.until_idle
        return idle_s is not None and time.monotonic() - self._active >= idle_s

    def _poll(self, most: int) -> Arrivals:
        """Looks at the inbox; where it cannot be read for a while, it says so and finds nothing.

        Args:
          most: Number of pictures to look for.

        Raises:
          UserError: It cannot be read at the first look, or the job has an end, which would be a false one.
        """
        try:
            arrivals = self._inbox.poll(self.ledger, most + self.early.entries)
        except (OSError, UserError) as error:
            if not self._has_looked or self._job.once:
                raise
            if (line := one_line(error)) != self._said:
                warn(f"{line}: trying again")
            self._said = line
            return Arrivals()
        self._said, self._has_looked = "", True
        return self.early.hold(arrivals, self.ledger, time.monotonic())

    def _is_due(self, arrivals: Arrivals, now: float) -> bool:
        """Returns whether an entry is to be written now."""
        if not arrivals.ready:
            return bool(arrivals.refused)
        if self.early.has_released:
            return True
        complete = sum(batch.entries for batch in arrivals.ready) >= self._most
        everything = self._job.once and arrivals.waiting == self.early.count
        return complete or everything or self._seen.oldest_s(now) >= self._job.every

    def _admit(self, arrivals: Arrivals, now: float) -> Entry | None:
        """Returns the next entry; the first one with batches starts the stream."""
        entry = admit(arrivals, self.ledger, self._most)
        if entry is None or self.stream is not None or not entry.batches:
            return entry
        try:
            stream = begin(self._place, self._config, entry.batches)
        except UserError:
            if (refused := _unreadable(entry, self._config)) is None:
                raise
            return refused
        if stream is None:
            if not self._awaits_number:
                print("note: no batch has a number yet, and the stream starts with the first one", file=sys.stderr)
            self._awaits_number = True
            return None
        stream.save()
        self.stream = stream
        if stream.config.crop != self._config.crop:
            print(note_of_whole(stream.config), flush=True)
        return entry

    def _perform(
        self,
        entry: Entry,
        start: float,
        left: tuple[int, float] | None,
        times: dict[tuple[str, str], float] | None = None,
    ) -> Snapshot | None:
        """Makes an entry, commits it, prints its line, and puts its batches away.

        Args:
          entry: Entry that makes a snapshot.
          start: Time when its making began.
          left: Number of batches that wait, and for how long the oldest one does; None if that is not known.
          times: Time of the first look at each batch, by its name and digest.
        """
        _free_memory()
        try:
            snapshot = perform(self._started, self.ledger, entry, self._make, self._inbox, self._known)
        except EmptyStreamError as error:
            warn(str(error))
            return None
        self.snapshot = snapshot
        self.made += 1
        self.committed()
        done = self.ledger.effective(entry)
        now = time.monotonic()
        part = next((part for part in snapshot.parts if part.first == part.last == entry.entry), None)
        manifest = self._known[part] if part else None
        latencies = [now - seen for batch in done.batches if (seen := (times or {}).get((batch.name, batch.digest)))]
        self._board.add(latencies, sum(batch.entries for batch in done.batches), now - start)
        negatives = _negatives(self._place / part.directory, manifest) if part and manifest else None
        print(snapshot_line(snapshot, done, manifest, now - start, left, negatives), flush=True)
        self._finish(done)
        return snapshot

    def _finish(self, entry: Entry) -> None:
        """Puts the batches of a committed entry away; one that cannot be is said, and stays."""
        for batch in self.ledger.effective(entry).batches:
            try:
                self._inbox.finish(batch)
            except (OSError, UserError) as error:
                warn(f"batch {batch.name} stays in the input: {one_line(error)}")

    def _tidy(self, is_end: bool = False) -> bool:
        """Merges small directories, and deletes what nothing names any more; returns whether something was merged.

        Args:
          is_end: Whether the job would end now.
        """
        self._since_tidy = 0
        if self.stream is None or self.snapshot is None:
            return False
        merged = self._job.compacts and self._compact(self.stream, self.snapshot, is_end)
        now = time.monotonic()
        if now - self._swept >= _SWEEP_S:
            self._swept = now
            self._sweep(now)
        return merged

    def _sweep(self, now: float) -> None:
        """Deletes what nothing names any more; what cannot be deleted is said, and stops no batch."""
        from beam_jobs.watch.upkeep.retention import Keep, sweep

        try:
            swept = sweep(self._place, Keep(self._job.keep_snapshots, self._job.keep_days), now)
        except (OSError, UserError) as error:
            if (line := one_line(error)) != self._kept:
                warn(f"old snapshots stay: {line}")
            self._kept = line
            return
        self._kept = ""
        if line := str(swept):
            print(line, flush=True)

    def _compact(self, stream: Stream, snapshot: Snapshot, is_end: bool) -> bool:
        """Merges directories that are due, or worth it now; returns whether there were some."""
        merges = self._merges(stream, snapshot, is_end)
        if not merges:
            return False
        entry = Entry(self.ledger.next, merges=merges)
        self.ledger.append(entry)
        self._perform(entry, time.monotonic(), None)
        return True

    def _merges(self, stream: Stream, snapshot: Snapshot, is_end: bool) -> list[Merge]:
        """Returns the merges to make now. What does not change between two snapshots is computed once."""
        if self._merged != snapshot.snapshot:
            if merges := due(stream, snapshot, self.ledger.damaged):
                return merges
            self._merged, self._tidying = snapshot.snapshot, tidying(stream, snapshot, self.ledger.damaged)
        found, idle_s = self._tidying, time.monotonic() - self._active
        if found and (idle_s >= found.pause_s or (is_end and found.cost_s <= _END_S)):
            return [found.merge]
        return []


def _unreadable(entry: Entry, config: PrepareConfig) -> Entry | None:
    """Returns an entry that refuses the batches of one whose annotations cannot be read to the end; None without one.

    Those that can be read stay in the inbox.
    """
    found = ((batch, fault(config, batch)) for batch in entry.batches)
    refusals = [Refusal(batch.name, batch.digest, batch.stamp, INCOMPLETE, why) for batch, why in found if why]
    return Entry(entry.entry, refusals=[*entry.refusals, *refusals]) if refusals else None


def _negatives(directory: Place, manifest: Manifest) -> int | None:
    """Returns the number of pictures without a number in a generation; None unless numbers are to be found."""
    if manifest.task != FIND:
        return None
    # Arrow, which commands must not import at start.
    from beam_jobs.prepare.annotations_table import read_table
    from beam_jobs.prepare.scene_counts import COLUMNS, count_scenes

    counts = count_scenes(manifest, read_table(directory, manifest).select(COLUMNS))
    return sum(each.negatives for each in counts.values())


def _free_memory() -> None:
    """Frees what the generation before has left: it was exempted from garbage collection, 1.5 MB each time."""
    gc.unfreeze()
    gc.collect()
