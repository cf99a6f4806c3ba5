"""The snapshots of a stream during a run: which one each epoch has, on all hosts, and the pins that keep them."""

import hashlib
import re
import sys
import time
from collections.abc import Iterable

from tfrecords.dataset.pins import PINS, pin, pinned, unpin
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from tfrecords.progress import print_line
from trainer.distribute.strategy import Devices
from trainer.input.records import Records
from trainer.run.config import TrainConfig
from trainer.run.stand_in import absolute
from trainer.run.stream import newest

WAIT_S = 60.0
"""Time for a snapshot that the chief has seen to become visible on the other hosts, seconds."""
_POLL_S = 0.5
_OTHERS = re.compile("[^A-Za-z0-9]+")
_NAME_LENGTH = 40
"""Most characters of a run's name in those of its pins."""


class Following:
    """Snapshot of each epoch of a run that follows a stream, or repeats the snapshots of one that did."""

    def __init__(self, config: TrainConfig, replayed: tuple[int, ...], devices: Devices) -> None:
        """Reads nothing yet.

        Args:
          config: Training configuration.
          replayed: Numbers of the snapshots of all epochs; empty to take the newest one for each.
          devices: Devices of the run.
        """
        self._replayed, self._devices = replayed, devices
        # A run that is repeated may have fewer epochs than it was to have: it was stopped, or has stopped early.
        self.last = min(config.epochs or len(replayed), len(replayed)) if replayed else config.epochs

    def next(self, epoch: int, records: Records) -> int:
        """Returns the number of the snapshot of the next epoch, the same on all hosts, which all call this.

        If the chief cannot read the stream, the next epoch has the snapshot of the one before.

        Args:
          epoch: Index of the epoch.
          records: Snapshot of the epoch before.
        """
        number = before = records.snapshot or 0
        if self._replayed:
            number = self._replayed[epoch]
        elif self._devices.cluster.is_chief:
            try:
                number = max(newest(records.directory), before)
                records.at(number)
            except (OSError, UserError) as error:
                number = before
                print_line(f"warning: snapshot {before} is used again: {one_line(error)}", sys.stderr)
        return int(self._devices.gather(float(number))[0])


def agreed(records: Records, devices: Devices) -> Records:
    """Returns the snapshot that the chief has, on all hosts: another may have arrived when a host looked.

    Raises:
      UserError: A host does not see it.
    """
    if records.snapshot is None:
        return records
    return moved(records, int(devices.gather(float(records.snapshot))[0]), devices)


def moved(records: Records, number: int, devices: Devices) -> Records:
    """Returns a snapshot on all hosts, which all call this; waits until they see it.

    Args:
      records: Any snapshot of the stream.
      number: Number of the snapshot.
      devices: Devices of the run.

    Raises:
      UserError: A host does not see the snapshot in time, or a file of it is damaged.
    """
    found, error = (records, None) if number == records.snapshot else _wait(records, number, devices)
    seen = devices.gather(float(found is not None))
    if found and all(seen):
        return found
    if error and devices.cluster.hosts == 1:
        raise error
    rule = f"All hosts must see snapshot {number} of {records.directory} within {WAIT_S:.0f} s."
    blind = ", ".join(str(host + 1) for host, value in enumerate(seen) if not value)
    raise UserError(rule, f"not host {blind} of {len(seen)}" + (f": {one_line(error)}" if error else ""))


def _wait(records: Records, number: int, devices: Devices) -> tuple[Records | None, UserError | None]:
    """Returns a snapshot, or the error of the last attempt; only a host that heard of it from another one waits."""
    stop = time.monotonic() + (0 if devices.cluster.is_chief else WAIT_S)
    while True:
        try:
            return records.at(number), None
        except UserError as error:
            if time.monotonic() >= stop:
                return None, error
        time.sleep(_POLL_S)


class Pins:
    """Pins of a run: each snapshot that it needs to be resumed or repeated, also after its end."""

    def __init__(self, stream: Place, run_dir: Place, is_on: bool) -> None:
        """Pins nothing yet.

        Args:
          stream: Stream.
          run_dir: Run directory, prepared, after which the pins are named.
          is_on: Whether to pin at all.
        """
        self._stream, self._is_on = stream, is_on
        # Two machines may have folders of one path. A shared folder has one inode on all of them.
        inode = 0 if run_dir.is_remote else run_dir.path.stat().st_ino
        digest = hashlib.sha256(f"{absolute(run_dir)}\n{inode}".encode()).hexdigest()[:8]
        name = _OTHERS.sub("-", run_dir.name).strip("-")[:_NAME_LENGTH]
        self._prefix = f"run-{name}-{digest}-" if name else f"run-{digest}-"
        self._has_warned = False

    def start(self, numbers: Iterable[int], follows: bool) -> None:
        """Pins the snapshots of a run, and removes pins of an earlier run in its directory, which it replaces.

        Args:
          numbers: Numbers of the snapshots.
          follows: Whether each epoch may add one.
        """
        wanted = {f"{self._prefix}{number}": number for number in numbers}
        first, last = min(wanted.values()), max(wanted.values())
        of = f"snapshot {first}" if follows or first == last else f"the snapshots {first} to {last}"
        what = f"Training on {of} of {self._stream}{', and on the newest one in each later epoch' if follows else ''}"
        names = f"{self._prefix}NUMBER" if follows or len(wanted) > 1 else next(iter(wanted))
        is_pinned = self._is_on and self._replace(wanted)
        pins = f"; pinned in {self._stream / PINS} as {names} (--no-pin: not pinned)" if is_pinned else ""
        print(f"{what}{pins}.", flush=True)

    def _replace(self, wanted: dict[str, int]) -> bool:
        """Makes the pins of the run those of these names; returns whether it could."""
        try:
            present = pinned(self._stream)
            for name in sorted(name for name in present if name.startswith(self._prefix) and name not in wanted):
                unpin(self._stream, name)
        except (OSError, UserError) as error:
            self._warn(error)
            return False
        # All are tried: one that was not pinned before may be gone.
        done = [self.add(number) for name, number in wanted.items() if present.get(name) != number]
        return all(done)

    def add(self, number: int) -> bool:
        """Pins another snapshot, and returns whether it could."""
        if not self._is_on:
            return False
        try:
            pin(self._stream, f"{self._prefix}{number}", number)
        except (OSError, UserError) as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            what = f"the run's snapshots cannot be pinned, so {self._stream} may delete them: {one_line(error)}"
            print_line(f"warning: {what}", sys.stderr)
        self._has_warned = True
