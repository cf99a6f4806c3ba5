"""Examples for Grain, JAX's data loader: a source with random access. This module does not import Grain."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples


class DigitSource:
    """A split as Grain's `RandomAccessDataSource`, for `grain.MapDataset.source` and `grain.DataLoader`.

        source = DigitSource(tfrecords.open("svhn-records", "train"))
        batches = iter(grain.MapDataset.source(source).seed(0).shuffle().repeat().batch(128).to_iter_dataset())

    Grain may read with threads and in processes: examples have no position, and copies open their own files. Grain's
    checkpoints hold the source's `repr` and refuse another source. The `repr` identifies the records by their digest,
    not by their path: a dataset that was moved is accepted, one with other records is not.

    JAX has no strings: drop `key` and `text` before a batch goes to a device.

    Attributes:
      examples: Examples from `tfrecords.open`, or a slice of them.
    """

    def __init__(self, examples: Examples) -> None:
        """Makes a source of the examples."""
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """Returns one example: read-only arrays by attribute of `DigitExample`, and `text`.

        `image` is (height, width, channels) uint8; `length`, `key` and `text` are arrays without a dimension.

        Raises:
          IndexError: The index is out of range.
          UserError: The file or the record is damaged.
        """
        return {name: np.asarray(value) for name, value in self.examples[index].to_dict().items()}

    def __repr__(self) -> str:
        return f"DigitSource({self.examples.identity})"
