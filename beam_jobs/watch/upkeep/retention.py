"""What a stream deletes: old snapshots, and later the directories that no snapshot names any more.

Kept are the newest snapshots, young ones, and pinned ones. No age is measured by a clock of this machine: the age of a
snapshot is the time from its file's last change to that of the newest one, as the place itself states both. So a stream
at rest deletes no snapshot.

A snapshot goes in steps, each of which may be the last before a kill: its content is copied to `trash/`, its file is
deleted, the pins are read, and, if one names it, the file is put back; then the copy goes. Since the file is gone when
the pins are read, a pin that is written meanwhile is either read, or finds no snapshot.

A directory that no snapshot names waits, since a reader may still have the snapshot that did. The file `trash/NAME`
says since when: the directory is deleted when this process has seen it so for an hour, or when a snapshot was written
an hour after that file, as by a watcher that runs for a minute each hour.

A pin that cannot be read may name any snapshot: nothing is deleted then. A snapshot that cannot be read may name any
directory: no directory is deleted until it is gone. Either is said in a line, once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from beam_jobs import filesystem
from beam_jobs.job.given import warn
from beam_jobs.watch.ledger import LOG, read_entry
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.pins import read_pins
from tfrecords.dataset.snapshots import (
    GENERATIONS,
    SNAPSHOTS,
    Snapshot,
    entry_of,
    number_name,
    numbers_in,
    snapshot_numbers,
    snapshot_place,
)
from tfrecords.errors import UserError
from tfrecords.files import remote
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes

TRASH = "trash"
"""Name of the folder of a stream that says what is being deleted."""
_DAY_S = 86_400.0
_MOST = 200
"""Snapshots, and directories, that one sweep deletes at most: what arrives waits for it. The next one continues."""
_THREADS = 16
"""Snapshots that are read at once from a store."""


@dataclass(frozen=True)
class Keep:
    """What a stream keeps besides its newest snapshot and pinned ones.

    Attributes:
      snapshots: Number of the newest snapshots to keep.
      days: Age up to which snapshots are kept, days.
      grace_s: Time from when no snapshot names a directory until it is deleted, seconds.
    """

    snapshots: int = 50
    days: float = 7.0
    grace_s: float = 3600.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: One is too small.
        """
        for name, least in (("snapshots", 1), ("days", 0), ("grace_s", 0)):
            if not getattr(self, name) >= least:
                raise UserError(f"{name} to keep must be {least} or more.", getattr(self, name))


@dataclass(frozen=True)
class Swept:
    """What a sweep did.

    Attributes:
      snapshots: Numbers of the snapshots that it deleted.
      directories: Paths in the stream of the directories that it deleted.
      waiting: Number of directories that no snapshot names and that are not old enough yet.
    """

    snapshots: list[int] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    waiting: int = 0

    def __str__(self) -> str:
        """Returns a line about it; empty if nothing was deleted."""
        gone = [_counted(len(self.snapshots), "snapshot", "snapshots")] if self.snapshots else []
        gone += [_counted(len(self.directories), "directory", "directories")] if self.directories else []
        if not gone:
            return ""
        waiting = f"; {_counted(self.waiting, 'directory waits', 'directories wait')}" if self.waiting else ""
        return f"deleted {' and '.join(gone)} that nothing needs any more{waiting}"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


@dataclass
class _Seen:
    """What this process knows of a stream; all of it can be found out again.

    Attributes:
      unnamed: When each directory was first seen that no snapshot names, on the clock of `sweep`'s caller.
      spans: Least and greatest number of the snapshots that name each directory. Those between name it too, since a
        directory that was replaced never returns.
      read: Greatest number of a snapshot that was read; -1 for none.
      damaged: Numbers up to that of snapshots that could not be read.
      said: Lines about what could not be read.
    """

    unnamed: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    read: int = -1
    damaged: set[int] = field(default_factory=set)
    said: set[str] = field(default_factory=set)

    def say(self, fault: object) -> None:
        """Prints a line about a file that cannot be read, once."""
        if (line := str(fault)) not in self.said:
            self.said.add(line)
            warn(f"nothing that this file may name is deleted: {line}")


_SEEN: dict[str, _Seen] = {}
"""By the stream."""


def sweep(stream: Place, keep: Keep, now: float) -> Swept:
    """Deletes what a stream need not keep. One process at a time may call it, the one that has the stream's lock.

    Args:
      stream: Stream.
      keep: What to keep.
      now: Seconds on a clock that never goes back, as `time.monotonic`; each process has its own.

    Raises:
      UserError: An entry of the ledger is damaged, or the place cannot be read or written.
    """
    seen = _SEEN.setdefault(stream.text, _Seen())
    needed = _pinned(stream, seen)
    if needed is None:
        return Swept()
    _finish_hidden(stream, needed)
    snapshots = [number for number in _old(stream, keep, needed)[:_MOST] if _delete_snapshot(stream, number)]
    deleted, waiting = _sweep_directories(stream, seen, keep, now)
    return Swept(snapshots, deleted, waiting)


def _pinned(stream: Place, seen: _Seen) -> set[int] | None:
    """Returns the numbers of the snapshots that pins name; None if a pin cannot be read."""
    pins, damaged = read_pins(stream)
    for error in damaged:
        seen.say(error)
    return None if damaged else set(pins.values())


def _finish_hidden(stream: Place, needed: set[int]) -> None:
    """Finishes what a killed process has begun to do with snapshots, of which some are needed."""
    trash = stream / TRASH
    for number in numbers_in(_names(trash)):
        copy = trash / number_name(number)
        if number in needed and (data := read_bytes(copy)) is not None:
            snapshot_place(stream, number).create(data)
        copy.delete()


def _old(stream: Place, keep: Keep, needed: set[int]) -> list[int]:
    """Returns the numbers of the snapshots that nothing but a pin that is written now may need, in order."""
    times = {_number(name): time for name, time in _times(stream / SNAPSHOTS).items() if numbers_in([name])}
    numbers = sorted(times)
    candidates = numbers[: -keep.snapshots]
    if not candidates:
        return []
    newest = times[numbers[-1]]
    return [
        number for number in candidates if number not in needed and _is_older(times[number], newest, keep.days * _DAY_S)
    ]


def _is_older(time: float | None, newest: float | None, age_s: float) -> bool:
    """Returns whether a file is older than another one by an age; one of unknown age is not, unless any age will do."""
    if time is None or newest is None:
        return age_s == 0
    return newest - time >= age_s


def _delete_snapshot(stream: Place, number: int) -> bool:
    """Deletes a snapshot, unless a pin names it that was written meanwhile; returns whether it did."""
    place, copy = snapshot_place(stream, number), stream / TRASH / number_name(number)
    data = place.read_bytes()
    copy.write([data])
    place.delete()
    pins, damaged = read_pins(stream)
    if needed := bool(damaged) or number in pins.values():
        place.create(data)
    copy.delete()
    return not needed


def _sweep_directories(stream: Place, seen: _Seen, keep: Keep, now: float) -> tuple[list[str], int]:
    """Deletes directories that no snapshot names; returns those, and the number of those that wait."""
    # In this order: an entry is written before its directories, and a snapshot after them.
    directories = _directories(stream)
    logged = numbers_in(_names(stream / LOG))
    numbers = snapshot_numbers(stream)
    if not numbers:
        return [], 0
    needed = _named(stream, seen, numbers)
    if needed is None:
        return [], len(seen.unnamed)
    needed |= _under_way(stream, directories, logged, numbers[-1])
    unnamed = [each for each in directories if each not in needed]
    times, newest = _times(stream / TRASH), _times(stream / SNAPSHOTS).get(number_name(numbers[-1]))
    times |= _record(stream, [each for each in unnamed if _record_name(each) not in times][:_MOST])
    seen.unnamed = {each: seen.unnamed.get(each, now) for each in unnamed}
    old = [
        each
        for each, since in seen.unnamed.items()
        if now - since >= keep.grace_s or _is_older(times.get(_record_name(each)), newest, keep.grace_s)
    ][:_MOST]
    if old:
        # No power cut may leave a snapshot that names deleted directories.
        filesystem.sync_names(stream / SNAPSHOTS)
    for directory in old:
        _delete_directory(stream, directory)
        del seen.unnamed[directory]
    waiting = set(map(_record_name, seen.unnamed))
    for name in times:
        if name not in waiting and not numbers_in([name]):
            (stream / TRASH / name).delete()
    return old, len(waiting)


def _record_name(directory: str) -> str:
    """Returns the name of the file that says since when no snapshot names a directory."""
    return directory.removeprefix(f"{GENERATIONS}/")


def _record(stream: Place, directories: Iterable[str]) -> dict[str, float | None]:
    """Says of directories that no snapshot names them, from now on; returns the names of the files, without times."""
    names = list(map(_record_name, directories))
    for name in names:
        (stream / TRASH / name).create(b"")
    return dict.fromkeys(names)


def _directories(stream: Place) -> list[str]:
    """Returns the paths in the stream of all its dataset directories, complete or not."""
    try:
        entries = (stream / GENERATIONS).entries()
    except FileNotFoundError:
        return []
    paths = (f"{GENERATIONS}/{entry.name}" for entry in entries if entry.is_folder)
    return [path for path in paths if entry_of(path) is not None]


def _named(stream: Place, seen: _Seen, numbers: list[int]) -> set[str] | None:
    """Returns the directories that snapshots name; None if a snapshot cannot be read.

    Args:
      stream: Stream.
      seen: What is known; snapshots that were not read before are added.
      numbers: Numbers of all snapshots, sorted.
    """
    again = sorted(seen.damaged.intersection(numbers))
    seen.damaged.clear()
    for number, snapshot in _load(stream, again + numbers[bisect_left(numbers, seen.read + 1) :]):
        seen.read = max(seen.read, number)
        if isinstance(snapshot, UserError):
            seen.damaged.add(number)
            seen.say(snapshot)
            continue
        for part in snapshot.parts:
            first, last = seen.spans.get(part.directory, (number, number))
            seen.spans[part.directory] = min(first, number), max(last, number)
    if seen.damaged:
        return None
    for directory, (first, last) in list(seen.spans.items()):
        place = bisect_left(numbers, first)
        if place == len(numbers) or numbers[place] > last:
            del seen.spans[directory]
    return set(seen.spans)


def _load(stream: Place, numbers: list[int]) -> Iterator[tuple[int, Snapshot | UserError]]:
    """Yields snapshots with their numbers; for one that cannot be read, the error."""

    def load(number: int) -> tuple[int, Snapshot | UserError]:
        try:
            return number, Snapshot.load(stream, number)
        except UserError as error:
            return number, error

    if not stream.is_remote:
        yield from map(load, numbers)
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(numbers), _THREADS):
            yield from threads.map(load, numbers[start : start + _THREADS])


def _under_way(stream: Place, directories: Iterable[str], logged: list[int], newest: int) -> set[str]:
    """Returns the directories that entries make which no snapshot holds yet.

    Args:
      stream: Stream.
      directories: All directories.
      logged: Numbers of the entries of the ledger, sorted.
      newest: Number of the newest snapshot.
    """
    entries = [read_entry(stream, number) for number in logged[bisect_left(logged, newest + 1) :]]
    merged = {merge.into for entry in entries for merge in entry.merges}
    return merged | {each for each in directories if (entry_of(each) or 0) > newest}


def _delete_directory(stream: Place, directory: str) -> None:
    place = stream / directory
    # First: without it nothing takes for a dataset what a kill leaves.
    (place / MANIFEST).delete()
    place.delete_folder()


def _names(folder: Place) -> list[str]:
    """Returns the names of the files of a folder; none if there is no such folder."""
    try:
        return folder.names()
    except FileNotFoundError:
        return []


def _number(name: str) -> int:
    return numbers_in([name])[0]


def _times(folder: Place) -> dict[str, float | None]:
    """Returns the time of the last change of each file of a folder, as the place states it; None where it does not."""
    if folder.is_remote:
        return {name: changed for name, (_, changed) in remote.stated(folder.text).items()}
    found: dict[str, float | None] = {}
    for name in _names(folder):
        found[name] = (folder / name).path.stat().st_mtime
    return found
