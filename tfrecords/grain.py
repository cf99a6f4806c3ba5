"""Examples for Grain, JAX's data loading: a source of any of them at once. Grain itself is not imported here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples


class DigitSource:
    """A split as Grain's `RandomAccessDataSource`, for `grain.MapDataset.source` and `grain.DataLoader`.

        source = DigitSource(tfrecords.open("svhn-records", "train"))
        batches = iter(grain.MapDataset.source(source).seed(0).shuffle().repeat().batch(128).to_iter_dataset())

    Grain reads with threads and in processes; it may: examples know no position, and copies open their own files.
    Its checkpoints hold the source's `repr` and refuse another one's. That names the records by their digest, not by
    their place: a dataset that was moved is still the same, one that was made anew otherwise is not.

    JAX has no strings: leave `key` and `text` out before a batch goes to a device.

    Attributes:
      examples: that `tfrecords.open` gave, or a slice of them.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """Returns one example: read-only arrays by the names of `DigitExample`'s attributes, and `text`.

        `image` is (height, width, channels) uint8; `length`, `key` and `text` are arrays without a dimension.

        Raises:
          IndexError: there is none of this number.
          UserError: the file or the record is damaged.
        """
        return {name: np.asarray(value) for name, value in self.examples[index].to_dict().items()}

    def __repr__(self) -> str:
        return f"DigitSource({self.examples.identity})"
