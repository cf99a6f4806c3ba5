"""A dataset directory, or a snapshot of a stream, as lists of examples: what pages are made of."""

import functools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.browse.annotations import Annotations
from tfrecords.browse.facts import Facts, Scan
from tfrecords.browse.query import ANY_SUSPECT, SCORE, Query
from tfrecords.browse.suspects import SUSPECTS, Suspects, read_suspects
from tfrecords.dataset import reader
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.reader import Examples
from tfrecords.dataset.snapshots import find_snapshot, load_manifest, shard_directories
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_WAIT_S = 1.5
"""Time that a page waits for the records to be read, before it says how far that is."""
_ANSWERS = 16
"""Queries whose answers are kept: 8 bytes for each example found."""


class StillReadingError(Exception):
    """The records that an answer needs are still being read.

    Attributes:
      done: Number of records that were read.
      total: Number of all records.
    """

    def __init__(self, done: int, total: int) -> None:
        """Takes the two numbers."""
        super().__init__()
        self.done, self.total = done, total


@dataclass(frozen=True)
class Spot:
    """The place of an example: its split, and its index in it."""

    split: str
    index: int


class Catalogue:
    """The examples of all splits.

    Attributes:
      place: Dataset directory or stream.
      manifest: Manifest of what is shown.
      snapshot: Number of the snapshot of a stream; None for an ordinary dataset directory.
      splits: Examples by split.
      suspects: Suspicions; none where no audit has written any.
    """

    def __init__(self, place: Place, snapshot: int | None = None, suspects: Place | None = None) -> None:
        """Opens a dataset.

        Args:
          place: Dataset directory or stream.
          snapshot: Number of a snapshot; None for the newest one.
          suspects: File of suspicions; None takes that in the directory, if there is one.

        Raises:
          UserError: There is no such dataset, snapshot or file, or one is damaged.
        """
        self.place, self.manifest = place, load_manifest(place, snapshot)
        found = find_snapshot(place, self.manifest, snapshot)
        self.snapshot = found.snapshot if found else None
        self._parts = [part.directory for part in found.parts] if found else _parts_of(self.manifest)
        self.splits: dict[str, Examples] = {
            name: reader.open(place, name, manifest=self.manifest) for name in self.manifest.splits
        }
        own = place / SUSPECTS
        if suspects is None and own.is_file():
            suspects = own
        self.suspects = read_suspects(suspects) if suspects else Suspects([])
        self.scan = Scan(self.splits)
        self._answers: OrderedDict[Query, NDArray[np.int64]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def is_of_scenes(self) -> bool:
        """Whether the examples are complete pictures with boxes of numbers."""
        return self.manifest.task == FIND

    @functools.cached_property
    def annotations(self) -> Annotations:
        """Rows of the source pictures, read at the first use."""
        return Annotations(self.place, self._parts)

    def check(self, query: Query) -> None:
        """Checks that a query names what there is.

        Raises:
          UserError: The dataset has no such split or kind of suspects.
        """
        if query.split:
            self.manifest.split(query.split)
        kinds = self.suspects.kinds
        if query.suspect and query.suspect not in (*kinds, ANY_SUSPECT):
            raise UserError(f"suspect must be {', '.join([ANY_SUSPECT, *kinds])}.", query.suspect)
        if query.sort == SCORE and not kinds:
            raise UserError(f"An order by suspicion needs {SUSPECTS}, and this dataset has none.")

    def count(self, query: Query) -> int:
        """Returns the number of examples that a query finds.

        Raises:
          StillReadingError: Not all records were read yet.
        """
        if query.is_stored:
            return sum(len(examples) for name, examples in self.splits.items() if query.split in ("", name))
        return len(self._rows(query))

    def spots(self, query: Query, start: int, stop: int) -> list[Spot]:
        """Returns some of the examples that a query finds.

        Args:
          query: Query, checked.
          start: Position of the first one in the query's order.
          stop: Position after the last one.

        Raises:
          StillReadingError: Not all records were read yet.
        """
        if query.is_stored:
            return self._stored(query.split, start, stop)
        facts, rows = self._facts(), self._rows(query)[start:stop]
        return [Spot(facts.splits[facts.split[row]], int(facts.index[row])) for row in rows]

    def _stored(self, split: str, start: int, stop: int) -> list[Spot]:
        found = []
        for name, examples in self.splits.items():
            if split in ("", name):
                found += [Spot(name, index) for index in range(max(start, 0), min(stop, len(examples)))]
                start, stop = start - len(examples), stop - len(examples)
        return found

    def _rows(self, query: Query) -> NDArray[np.int64]:
        with self._lock:
            if query in self._answers:
                self._answers.move_to_end(query)
                return self._answers[query]
        rows = self._facts().find(query, self.suspects)
        with self._lock:
            self._answers[query] = rows
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        return rows

    def _facts(self) -> Facts:
        facts = self.scan.result(_WAIT_S)
        if facts is None:
            raise StillReadingError(self.scan.done, self.scan.total)
        return facts

    def without_path(self, text: str) -> str:
        """Returns a text about files of the dataset with their paths in it: a page may be published."""
        return text.replace(f"{self.place}/", "")

    def example(self, spot: Spot) -> Any:
        """Returns the `DigitExample` or `SceneExample` at a place.

        Raises:
          UserError: The record is damaged.
        """
        return self.splits[spot.split][spot.index]


def _parts_of(manifest: Manifest) -> list[str]:
    """Returns the paths of the dataset directories of a manifest: those of its shards, or itself."""
    return sorted(shard_directories(manifest)) or [""]
