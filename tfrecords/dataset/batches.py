"""A split in batches of NumPy arrays, in a new order for each epoch, divided among any number of processes."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.record.collate import Batch, check_names


@dataclass(frozen=True)
class Batches(Sequence[Batch]):
    """One epoch of a split as a sequence of batches. A batch is read when it is accessed.

        for batch in Batches(tfrecords.open("svhn-records", "train"), 128, seed=0, epoch=3):
            step(batch["image"], batch["digits"])

    Attributes:
      examples: Examples from `tfrecords.open`, or a slice of them.
      batch_size: Examples per batch of one process. The last batch may be shorter.
      seed: Random seed of the order, the same in every process; None keeps the stored order.
      epoch: Index of the epoch. Each epoch has another order.
      rank: Index of this process. It takes every `world_size`-th example of the epoch from that index on, so that
        each example appears exactly once across ranks.
      world_size: Number of processes.
      drop_remainder: Whether all batches are full and all processes have equally many. This leaves out up to
        `batch_size * world_size - 1` examples, others in each epoch.
      names: Names of the arrays: attributes of `DigitExample`, and `text`; of scenes those of `Scenes.names`, whose
        lists are padded. Fewer names are read faster. None for all.
      order: Indices of this process's examples, in order: (examples of the process,) int64.

    Raises:
      UserError: An argument is out of range. When a batch is read: a record is damaged, or the images of the batch
        differ in size.
    """

    examples: Examples
    batch_size: int
    seed: int | None = None
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    drop_remainder: bool = False
    names: Sequence[str] | None = None
    order: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError("batch_size must be at least 1.", self.batch_size)
        if not 0 <= self.rank < self.world_size:
            raise UserError("rank must be 0..world_size - 1.", f"rank {self.rank} of {self.world_size}")
        check_names(self.names or (), self.examples.names)
        order = epoch_order(len(self.examples), self.seed, self.epoch)
        object.__setattr__(self, "order", order[self.rank :: self.world_size])

    def __len__(self) -> int:
        if self.drop_remainder:
            return len(self.examples) // (self.batch_size * self.world_size)
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: Any) -> Any:
        """Returns a batch: arrays by attribute of `DigitExample`; those of `key` and `text` hold strings."""
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        start = range(len(self))[operator.index(index)] * self.batch_size
        return self.examples.batch(self.order[start : start + self.batch_size].tolist(), self.names)


def epoch_order(count: int, seed: int | None, epoch: int) -> NDArray[np.int64]:
    """Returns the indices 0..count-1 in the order of an epoch, or ascending without a seed: (count,) int64."""
    return np.arange(count) if seed is None else permutation(count, f"{seed}/epoch/{epoch}")


def permutation(count: int, key: str) -> NDArray[np.int64]:
    """Returns the indices 0..count-1 in an order that depends on the key only: (count,) int64.

    The order is the same on every machine and with every version of NumPy, which guarantees the raw output of a bit
    generator (NEP 19).
    """
    return np.argsort(np.random.PCG64(stable_digest(key, 16)).random_raw(count), kind="stable")
