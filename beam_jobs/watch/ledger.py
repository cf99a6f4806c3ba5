"""The ledger of a stream: numbered entries, each created once and never changed, that decide what becomes of it.

An entry is an intent: what it says is durable before anything is made of it, and made again after a kill, so that the
same ledger and the same inbox make the same bytes. An entry is done when the snapshot of its number, or of a later one,
is there; one that only refuses needs none.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Annotated

from beam_jobs.watch.batch import CHANGED, DAMAGED, Batch, Refusal
from tfrecords.dataset.snapshots import DIRECTORY, number_name, numbers_in, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.typed_json import Count, from_json, matching, parse_object

LOG = "log"
"""Name of the folder of a stream that holds the ledger."""
_VERSION = 1
_THREADS = 16
"""Entries that are read at once from a store."""
_Directory = Annotated[str, matching(DIRECTORY, "the path of a generation, as generations/00000042")]


@dataclass(frozen=True)
class Merge:
    """Directories that become one, with the same examples.

    Attributes:
      into: Path of the new directory in the stream.
      directories: Paths of the directories that it replaces, adjacent in the snapshot before, in order.
    """

    into: _Directory
    directories: list[_Directory]


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
      entry: Number, from 0, without gaps.
      batches: Batches that become the generation of this number, sorted by name.
      refusals: Batches that are refused.
      merges: Directories to merge; an entry with merges has no batches.
      version: Version of this file's format.
    """

    entry: Count
    batches: list[Batch] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    version: int = _VERSION

    @property
    def makes_snapshot(self) -> bool:
        """Whether the entry changes what the dataset holds, or where."""
        return bool(self.batches or self.merges)

    def to_json(self) -> bytes:
        """Returns the content of the file; equal entries give equal bytes."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


@dataclass(frozen=True)
class Accepted:
    """What is known of a batch that was accepted.

    Attributes:
      digest: SHA-256 that identifies its content.
      stamp: Digest of what a listing shows of it.
      entry: Number of the entry that accepted it.
    """

    digest: str
    stamp: str
    entry: int


class DamagedError(UserError):
    """A dataset directory of a stream has a file that is not what it was: its examples cannot be copied.

    Attributes:
      directory: Path of the directory in the stream.
    """

    def __init__(self, directory: str, error: UserError) -> None:
        """Takes the directory and what is wrong with its file."""
        super().__init__(str(error))
        self.directory = directory


class LostStreamError(UserError):
    """Another process has written the entry that this one was about to write: the stream is no longer this one's."""


class Ledger:
    """The entries of a stream, and what follows from them. One process at a time appends.

    Attributes:
      next: Number of the next entry.
      open: Entries that make a snapshot and have none yet, in order: all after the newest snapshot, since older ones
        may be gone.
      accepted: Batches that were accepted, by name.
      names: Name of the accepted batch with a content, by its digest.
      refused: Stamps of what was refused, by name; the same content under the same name is refused without a word.
      reasons: Number of refusals, by reason.
      damaged: Paths of directories in the stream that this process could not merge. A later one tries them again.
    """

    def __init__(self, stream: Place) -> None:
        """Reads the ledger of a stream; there is none yet in a new one.

        Raises:
          UserError: An entry is missing or damaged, or the place cannot be read.
        """
        self._stream, self._log = stream, stream / LOG
        self.next = 0
        self.open: list[Entry] = []
        self.accepted: dict[str, Accepted] = {}
        self.names: dict[str, str] = {}
        self.refused: dict[str, set[str]] = {}
        self.reasons: Counter[str] = Counter()
        self.damaged: set[str] = set()
        self._dropped: dict[int, set[str]] = {}
        self._positions: dict[str, int] = {}
        # Not each by its own snapshot, since old ones are deleted: entries are done in order.
        newest = max(snapshot_numbers(stream), default=-1)
        for entry in self._read():
            self._take(entry)
            if entry.makes_snapshot and entry.entry > newest:
                self.open.append(entry)

    @property
    def positions(self) -> Mapping[str, int]:
        """Offset after the last message that was accepted, by the partition's name."""
        return self._positions

    def append(self, entry: Entry) -> None:
        """Writes the next entry; it is on the disk when this returns.

        Raises:
          LostStreamError: Somebody else has written it.
          UserError: It cannot be written.
        """
        if entry.entry != self.next:
            raise AssertionError(f"entry {entry.entry} must be the next one, {self.next}")
        place = self._log / number_name(entry.entry)
        data = entry.to_json()
        if b"\\ud" in data:
            # What cannot be read again would stop the stream for ever.
            from_json(Entry, parse_object(data, str(place)), str(place))
        if not place.create(data):
            rule = f"{place} must be this process' to write: another one has written it, and has the stream now."
            raise LostStreamError(rule, "an entry of another process")
        self._take(entry)
        if entry.makes_snapshot:
            self.open.append(entry)

    def close(self, entry: Entry) -> None:
        """Marks an entry as done: its snapshot is there."""
        self.open.remove(entry)

    def effective(self, entry: Entry) -> Entry:
        """Returns an entry without what later entries refuse of it: batches that have changed, and merges of damage."""
        dropped = self._dropped.get(entry.entry, set())
        kept = [batch for batch in entry.batches if batch.name not in dropped]
        merges = [merge for merge in entry.merges if merge.into not in dropped]
        return Entry(entry.entry, kept, entry.refusals, merges)

    def entry(self, number: int) -> Entry:
        """Returns an entry as it was written.

        Raises:
          UserError: It is missing or damaged.
        """
        return read_entry(self._stream, number)

    def _read(self) -> Iterable[Entry]:
        try:
            numbers = numbers_in(self._log.names())
        except FileNotFoundError:
            return []
        if numbers != list(range(len(numbers))):
            missing = next(number for number in range(len(numbers)) if number not in set(numbers))
            raise UserError(f"{self._log} must have every entry from 0 to {numbers[-1]}.", f"no entry {missing}")
        if not self._log.is_remote:
            return map(self.entry, numbers)
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(self.entry, numbers))

    def _take(self, entry: Entry) -> None:
        """Adds what follows from an entry."""
        for batch in entry.batches:
            self.accepted[batch.name] = Accepted(batch.digest, batch.stamp, entry.entry)
            self.names[batch.digest] = batch.name
            for each in batch.positions:
                self._positions[each.partition] = max(each.stop, self._positions.get(each.partition, 0))
        self.reasons.update(refusal.reason for refusal in entry.refusals)
        for refusal in entry.refusals:
            self.refused.setdefault(refusal.name, set()).add(refusal.stamp)
            if refusal.reason in (CHANGED, DAMAGED) and refusal.entry is not None:
                self._dropped.setdefault(refusal.entry, set()).add(refusal.name)
                before = self.accepted.pop(refusal.name, None)
                if before:
                    self.names.pop(before.digest, None)
        self.next = entry.entry + 1


def read_entry(stream: Place, number: int) -> Entry:
    """Returns an entry of a stream's ledger as it was written.

    Raises:
      UserError: It is missing or damaged.
    """
    place = stream / LOG / number_name(number)
    try:
        data = place.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{place}: the ledger must have an entry of this number.", "no file") from error
    found = from_json(Entry, parse_object(data, str(place)), str(place))
    if found.entry != number or found.version != _VERSION:
        raise UserError(f"{place} must be entry {number} in version {_VERSION}.", found.entry)
    return found
