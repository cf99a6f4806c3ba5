"""Training batches from several datasets, read ahead of the device. Light: no framework is imported.

with device_batches(source, readers=4, place=put_on_device) as batches:
    step(next(batches))
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, count
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

import tfrecords
from tfrecords.dataset.batches import Batches
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.record.collate import Batch
from trainer.input.shuffle import seed_of

_ON_DEVICE = 4
"""Batches that are on the device already."""
_PER_READER = 2
"""Batches that each process is asked for ahead."""

HostBatch = dict[str, np.ndarray]
"""`image` (batch, height, width, channels) uint8; `length` (batch,) and `digits` (batch, 5) int32, which every backend
has; `uniform` (batch, numbers) float32, 0 to below 1."""
_NAMES = ("image", "length", "digits")
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """The training splits of several datasets as one, in full batches, shuffled anew in each epoch, without end.

    Attributes:
      directories: of the datasets; one that is named twice is seen twice an epoch.
      batch_size: examples a batch.
      numbers: uniform random numbers an example, for the augmentation.
      seed: of order and numbers.
    """

    directories: tuple[Path, ...]
    batch_size: int
    numbers: int
    seed: int

    def read(self, number: int) -> HostBatch:
        """Returns a batch by its number, from 0.

        Raises:
          UserError: a directory is no dataset with a training split, there is less than a batch in all, a record
            is damaged, or pictures are of several sizes.
        """
        batches = _epoch(self, 0)
        if not batches:
            rule = f"--batch-size must be at most the {len(batches.examples)} training examples."
            raise UserError(rule, self.batch_size)
        epoch, place = divmod(number, len(batches))
        batch = _epoch(self, epoch)[place]
        numbers = np.random.Generator(np.random.PCG64(seed_of(f"{self.seed}/uniform/{number}")))
        return {
            "image": batch["image"],
            "length": batch["length"].astype(np.int32),
            "digits": batch["digits"].astype(np.int32),
            "uniform": numbers.random((self.batch_size, self.numbers), np.float32),
        }


class Joined:
    """The examples of several sequences, one sequence behind the other."""

    def __init__(self, parts: Sequence[Examples]) -> None:
        self._parts = parts
        self._starts = np.array([0, *accumulate(map(len, parts))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batch(self, numbers: Sequence[int], names: Sequence[str]) -> Batch:
        """Returns what `Examples.batch` does, and raises what it raises."""
        places = np.array(numbers)
        parts = np.searchsorted(self._starts, places, "right") - 1
        own = places - self._starts[parts]
        batches = [self._parts[part].batch(own[parts == part].tolist(), names) for part in np.unique(parts)]
        back = np.argsort(np.argsort(parts, kind="stable"))
        return {name: np.concatenate([batch[name] for batch in batches])[back] for name in names}


# Cached for the process: a source is sent to readers with each number.
@lru_cache(maxsize=1)
def _examples(directories: tuple[Path, ...]) -> Joined:
    return Joined([tfrecords.open(directory, "train") for directory in directories])


@lru_cache(maxsize=3)
def _epoch(source: Source, epoch: int) -> Batches:
    examples = _examples(source.directories)
    return Batches(examples, source.batch_size, source.seed, epoch, drop_remainder=True, names=_NAMES)


@contextmanager
def device_batches(source: Source, readers: int, place: Callable[[HostBatch], T]) -> Iterator[Iterator[T]]:
    """Gives an endless iterator over batches on the device, which a thread of its own puts there.

    Args:
      source: of the batches.
      readers: processes that read; 0: the thread reads itself, which takes turns with Python's other work.
      place: puts a batch on the device.

    Raises:
      UserError: as of `Source.read`, when the batch is asked for.
    """
    thread = ThreadPoolExecutor(1, "input")
    # Forked, they would have inherited the threads and locks of a framework that runs already.
    processes = ProcessPoolExecutor(readers, get_context("spawn")) if readers else None
    host = _ahead(processes, source.read, _PER_READER * readers) if processes else map(source.read, count())
    try:
        yield _ahead(thread, lambda _: place(next(host)), _ON_DEVICE)
    finally:
        thread.shutdown(cancel_futures=True)
        if processes:
            processes.shutdown(cancel_futures=True)


def _ahead(pool: Executor, work: Callable[[int], T], depth: int) -> Iterator[T]:
    """Yields what `work` makes of 0, 1, 2 and so on, `depth` of them ahead."""
    waiting = deque(pool.submit(work, number) for number in range(depth))
    for number in count(depth):
        waiting.append(pool.submit(work, number))
        yield waiting.popleft().result()
