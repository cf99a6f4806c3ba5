"""Reads training batches from several datasets, ahead of the device. Imports no framework.

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
from typing import TypeVar, cast

import numpy as np

import tfrecords
from tfrecords.dataset.batches import Batches
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.record.collate import Batch
from trainer.input.shuffle import seed_of

_ON_DEVICE = 4
"""Batches that wait on the device."""
_PER_READER = 2
"""Batches that each process reads ahead."""

HostBatch = dict[str, np.ndarray]
"""`image` (batch, height, width, channels) uint8; `length` (batch,) and `digits` (batch, longest) int32, which every
backend supports; `uniform` (batch, values) float32, 0 to below 1."""
_NAMES = ("image", "length", "digits")
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """The training splits of several datasets as one, in endless full batches, shuffled again in each epoch.

    Attributes:
      directories: Dataset directories; one that is named twice is read twice per epoch.
      batch_size: Examples per batch.
      values: Uniform random values per example, for the augmentation.
      seed: Random seed for order and values.
    """

    directories: tuple[Path, ...]
    batch_size: int
    values: int
    seed: int

    def read(self, index: int) -> HostBatch:
        """Returns a batch by its index, from 0.

        Raises:
          UserError: A directory is no dataset with a training split, all splits together are smaller than a batch, a
            record is damaged, or images have several sizes.
        """
        batches = _epoch(self, 0)
        if not batches:
            rule = f"--batch-size must be at most the {len(batches.examples)} training examples."
            raise UserError(rule, self.batch_size)
        epoch, position = divmod(index, len(batches))
        batch = _epoch(self, epoch)[position]
        uniform = np.random.Generator(np.random.PCG64(seed_of(f"{self.seed}/uniform/{index}")))
        return {
            "image": batch["image"],
            "length": batch["length"].astype(np.int32),
            "digits": batch["digits"].astype(np.int32),
            "uniform": uniform.random((self.batch_size, self.values), np.float32),
        }


class Joined:
    """The concatenated examples of several sequences."""

    def __init__(self, parts: Sequence[Examples]) -> None:
        """Concatenates `parts`."""
        self._parts = parts
        self._starts = np.array([0, *accumulate(map(len, parts))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a batch can have, as those of `Examples`."""
        return self._parts[0].names

    def batch(self, indices: Sequence[int], names: Sequence[str]) -> Batch:
        """Returns a batch as `Examples.batch` does, and raises the same errors."""
        places = np.array(indices)
        parts = np.searchsorted(self._starts, places, "right") - 1
        own = places - self._starts[parts]
        batches = [self._parts[part].batch(own[parts == part].tolist(), names) for part in np.unique(parts)]
        back = np.argsort(np.argsort(parts, kind="stable"))
        return {name: np.concatenate([batch[name] for batch in batches])[back] for name in names}


# Cached per process, since readers receive the source with each index.
@lru_cache(maxsize=1)
def _examples(directories: tuple[Path, ...]) -> Joined:
    return Joined([tfrecords.open(directory, "train") for directory in directories])


@lru_cache(maxsize=3)
def _epoch(source: Source, epoch: int) -> Batches:
    # Of its examples, `Batches` uses only their number and `batch`.
    examples = cast("Examples", _examples(source.directories))
    return Batches(examples, source.batch_size, source.seed, epoch, drop_remainder=True, names=_NAMES)


@contextmanager
def device_batches(source: Source, readers: int, place: Callable[[HostBatch], T]) -> Iterator[Iterator[T]]:
    """Yields an endless iterator over batches on the device, which a separate thread puts there.

    Args:
      source: Source of the batches.
      readers: Number of reading processes; 0 reads in the thread, in turns with Python's other work.
      place: Function that puts a batch on the device.

    Raises:
      UserError: As `Source.read`, when the iterator reaches the batch.
    """
    thread = ThreadPoolExecutor(1, "input")
    # Forked processes would inherit the threads and locks of a running framework.
    processes = ProcessPoolExecutor(readers, get_context("spawn")) if readers else None
    host = _ahead(processes, source.read, _PER_READER * readers) if processes else map(source.read, count())
    try:
        yield _ahead(thread, lambda _: place(next(host)), _ON_DEVICE)
    finally:
        thread.shutdown(cancel_futures=True)
        if processes:
            processes.shutdown(cancel_futures=True)


def _ahead(pool: Executor, work: Callable[[int], T], depth: int) -> Iterator[T]:
    """Yields the results of `work` for 0, 1, 2 and so on, computing `depth` of them ahead."""
    waiting = deque(pool.submit(work, index) for index in range(depth))
    for index in count(depth):
        waiting.append(pool.submit(work, index))
        yield waiting.popleft().result()
