"""A split in batches of NumPy arrays, shuffled anew for each epoch, dealt out to any number of processes."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.record.collate import NAMES, Batch, check_names


@dataclass(frozen=True)
class Batches(Sequence[Batch]):
    """One epoch of a split as a sequence of batches, each read when it is asked for.

        for batch in Batches(tfrecords.open("svhn-records", "train"), 128, seed=0, epoch=3):
            step(batch["image"], batch["digits"])

    Attributes:
      examples: that `tfrecords.open` gave, or a slice of them.
      batch_size: examples a batch, of one process; the last batch may be shorter.
      seed: of the shuffling, the same in every process; None: in stored order.
      epoch: each is shuffled otherwise.
      rank, world_size: of `world_size` processes each takes every `world_size`-th example of the epoch, beginning
        with that of its rank: together all, and none twice.
      drop_remainder: all batches are full, and every process has as many: up to `batch_size * world_size - 1`
        examples are left out, others in each epoch.
      names: of a batch's arrays: attributes of `DigitExample`, and `text`. Fewer are read faster.
      order: which of the examples are this process's, in its order: (its examples,) int64.

    Raises:
      UserError: a number makes no sense; on reading, a damaged record, or pictures of several sizes in one batch.
    """

    examples: Examples
    batch_size: int
    seed: int | None = None
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    drop_remainder: bool = False
    names: Sequence[str] = NAMES
    order: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError("batch_size must be at least 1.", self.batch_size)
        if not 0 <= self.rank < self.world_size:
            raise UserError("rank must be 0..world_size - 1.", f"rank {self.rank} of {self.world_size}")
        check_names(self.names)
        order = epoch_order(len(self.examples), self.seed, self.epoch)
        object.__setattr__(self, "order", order[self.rank :: self.world_size])

    def __len__(self) -> int:
        if self.drop_remainder:
            return len(self.examples) // (self.batch_size * self.world_size)
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: Any) -> Any:
        """Returns a batch: arrays by the names of `DigitExample`'s attributes, `key` and `text` of strings."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        start = range(len(self))[operator.index(index)] * self.batch_size
        return self.examples.batch(self.order[start : start + self.batch_size].tolist(), self.names)


def epoch_order(count: int, seed: int | None, epoch: int) -> NDArray[np.int64]:
    """Returns the numbers 0..count-1 in an epoch's order, or in their own where there is no seed: (count,) int64."""
    return np.arange(count) if seed is None else permutation(count, f"{seed}/epoch/{epoch}")


def permutation(count: int, key: str) -> NDArray[np.int64]:
    """Returns the numbers 0..count-1 in an order that follows from the key: (count,) int64.

    The same on every machine and with every NumPy: it promises equal raw numbers from a bit generator (NEP 19).
    """
    return np.argsort(np.random.PCG64(stable_digest(key, 16)).random_raw(count), kind="stable")
