"""The work that every way of reading shares: which examples, from which files.

job = Job.of(Path("svhn-records"), "train", 20_000)
for example in job.open(): ...
"""

from collections.abc import Callable, Iterator
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
"""Random seed of every shuffled way. The orders differ, since each library has its own."""
Pass = Callable[[], Iterator[Any]]
"""Function that reads all examples once, each time it is called."""


@dataclass(frozen=True)
class Job:
    """Work of one way.

    Attributes:
      data: Dataset directory.
      split: Split of the dataset.
      examples: Number of examples to read, from the first of the split.
      file: Path of the same examples in a peer's format, for a way that reads it; else empty.
    """

    data: str
    split: str
    examples: int
    file: str = ""

    @classmethod
    def of(cls, data: Path, split: str, at_most: int) -> "Job":
        """Returns the work on the first examples of a split.

        Raises:
          UserError: `data` is no dataset directory, has no such split, or the split is empty.
        """
        found = len(tfrecords.open(data, split))
        if not found:
            raise UserError(f"The split {split} of {data} must hold at least one example.", found)
        return cls(str(data.resolve()), split, min(found, at_most))

    def on(self, file: str) -> "Job":
        """Returns the same work, reading a file in a peer's format."""
        return replace(self, file=file)

    def open(self, verify: bool = True) -> Examples:
        """Returns the examples; `verify` is that of `tfrecords.open`."""
        return tfrecords.open(self.data, self.split, verify=verify)[: self.examples]

    @property
    def paths(self) -> list[Path]:
        """Paths of the shards that hold the examples, in order."""
        shards = self.open().manifest.split(self.split).shards
        starts = [0, *accumulate(shard.examples for shard in shards)]
        return [
            Path(self.data, shard.file) for shard, start in zip(shards, starts, strict=False) if start < self.examples
        ]


def arrays(example: DigitExample) -> dict[str, Any]:
    """Returns an example as arrays by attribute name, as Grain batches them."""
    return {name: np.asarray(value) for name, value in example.to_dict().items()}
