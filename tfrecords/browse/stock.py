"""The states of a dataset that pages may show: a directory, or the snapshots of a stream."""

import threading
from collections import OrderedDict

from tfrecords.browse.catalogue import Catalogue
from tfrecords.dataset.compare import Difference, State, compare
from tfrecords.dataset.snapshots import Snapshot, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place

LIMIT = 100
"""Keys of each kind of change that are listed."""
_OPEN = 3
"""Snapshots that are kept open besides the one of the command line."""
_DIFFERENCES = 16
_MOST_LISTED = 200
"""Snapshots that are listed: each is a file to be read."""


class Stock:
    """Opens snapshots when they are asked for, and keeps the last ones.

    Attributes:
      shown: What the command line asks for.
    """

    def __init__(self, place: Place, snapshot: int | None, suspects: Place | None) -> None:
        """Opens what the command line asks for.

        Args:
          place: Dataset directory or stream.
          snapshot: Number of a snapshot; None for the newest one.
          suspects: File of suspicions; None takes that in the directory, if there is one.

        Raises:
          UserError: There is no such dataset, snapshot or file, or one is damaged.
        """
        self._place, self._suspects = place, suspects
        self.shown = Catalogue(place, snapshot, suspects)
        self._others: OrderedDict[int, Catalogue] = OrderedDict()
        self._differences: OrderedDict[tuple[int, int], Difference] = OrderedDict()
        self._lock, self._comparing = threading.Lock(), threading.Lock()

    def catalogue(self, snapshot: int | None) -> Catalogue:
        """Returns a state of the dataset.

        Args:
          snapshot: Number of a snapshot; None for what the command line asks for.

        Raises:
          UserError: There is no such snapshot.
        """
        if snapshot in (None, self.shown.snapshot):
            return self.shown
        with self._lock:
            if snapshot not in self._others:
                self._others[snapshot] = Catalogue(self._place, snapshot, self._suspects)
            self._others.move_to_end(snapshot)
            while len(self._others) > _OPEN:
                self._others.popitem(last=False)
            return self._others[snapshot]

    def snapshots(self) -> tuple[list[Snapshot], int, list[str]]:
        """Returns the newest snapshots, the newest first, the number of older ones, and errors of damaged ones."""
        numbers = snapshot_numbers(self._place)[::-1]
        found, damaged = [], []
        for number in numbers[:_MOST_LISTED]:
            try:
                found.append(Snapshot.load(self._place, number))
            except UserError as error:
                damaged.append(str(error))
        return found, max(0, len(numbers) - _MOST_LISTED), damaged

    def difference(self, before: int, after: int) -> Difference:
        """Returns what differs between two snapshots; one is computed at a time, and the last ones are kept.

        Raises:
          UserError: There is no such snapshot, or a file of it is damaged.
        """
        with self._comparing:
            if (before, after) not in self._differences:
                first, second = (State.open(self._place, number) for number in (before, after))
                self._differences[before, after] = compare(first, second, LIMIT)
                if len(self._differences) > _DIFFERENCES:
                    self._differences.popitem(last=False)
            return self._differences[before, after]
