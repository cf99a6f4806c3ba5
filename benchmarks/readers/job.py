"""What every way of reading the same examples shares: which they are, where they stand, what they hold.

job = Job.of(Path("svhn-records"), "train", 20_000)
for example in job.open(): ...
"""

from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

import tfrecords
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.record.schema import DigitExample

BATCH = 256
SEED = 0
"""Of every shuffled way. The orders differ: each library has its own."""


@dataclass(frozen=True)
class Job:
    """One way's work.

    Attributes:
      data: dataset directory.
      split: of it.
      examples: how many to read, the first of the split.
      file: the same examples in a peer's format, where a way reads that; else empty.
    """

    data: str
    split: str
    examples: int
    file: str = ""

    @classmethod
    def of(cls, data: Path, split: str, at_most: int) -> "Job":
        """Returns the work on the first examples of a split.

        Raises:
          UserError: not a dataset directory, no such split, or nothing in it.
        """
        found = len(tfrecords.open(data, split))
        if not found:
            raise UserError(f"The split {split} of {data} must hold at least one example.", found)
        return cls(str(data.resolve()), split, min(found, at_most))

    def on(self, file: str) -> "Job":
        """Returns the same work on a file."""
        return replace(self, file=file)

    def open(self, verify: bool = True) -> Examples:
        """Returns the examples."""
        return tfrecords.open(self.data, self.split, verify=verify)[: self.examples]

    @property
    def paths(self) -> list[Path]:
        """The shards that the examples stand in, in order."""
        shards = self.open().manifest.split(self.split).shards
        starts = [0, *accumulate(shard.examples for shard in shards)]
        return [
            Path(self.data, shard.file) for shard, start in zip(shards, starts, strict=False) if start < self.examples
        ]


def arrays(example: DigitExample) -> dict[str, Any]:
    """Returns an example as arrays by the names of its attributes, as Grain batches them."""
    return {name: np.asarray(value) for name, value in example.to_dict().items()}
