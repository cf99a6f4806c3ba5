"""Examples for Grain, JAX's data loader: a source with random access. This module does not import Grain."""

import re
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples

_FIRST_WITH_WHOLE_TEXT = (0, 2, 16)


class DigitSource:
    """A split as Grain's `RandomAccessDataSource`, for `grain.MapDataset.source` and `grain.DataLoader`.

        source = DigitSource(tfrecords.open("svhn-records", "train"))
        batches = iter(grain.MapDataset.source(source).seed(0).shuffle().repeat().batch(128).to_iter_dataset())

    Grain may read with threads and in processes: examples have no position, and copies open their own files. Grain's
    checkpoints hold the source's `repr` and refuse another source. The `repr` identifies the records by their digest,
    not by their path: a dataset that was moved is accepted, one with other records is not.

    JAX has no strings: drop `key` and `text` before a batch goes to a device.

    The items of a dataset of task "find" are those of `SceneExample`, whose lists differ in length: pad them in a `map`
    before `batch`, or give `batch` a `batch_fn`.

    Attributes:
      examples: Examples from `tfrecords.open`, or a slice of them.
    """

    def __init__(self, examples: Examples) -> None:
        """Makes a source of the examples; warns of a Grain that cuts their keys short."""
        self.examples = examples
        _check_grain()

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """Returns one example: arrays by attribute of `DigitExample`, and `text`; or of `SceneExample`.

        `image` is (height, width, channels) uint8; `length`, `key` and `text` are arrays without a dimension.

        Raises:
          IndexError: The index is out of range.
          UserError: The file or the record is damaged.
        """
        found = self.examples[index].to_dict()
        # Without a number there would be no string to take the type from.
        return {name: np.asarray(value, str if name == "texts" else None) for name, value in found.items()}

    def __repr__(self) -> str:
        return f"DigitSource({self.examples.identity})"


def _check_grain() -> None:
    """Warns if the installed Grain stacks text in worker processes with the length of a batch's first."""
    try:
        installed = version("grain")
    except PackageNotFoundError:
        return
    if tuple(map(int, re.findall(r"\d+", installed)[:3])) < _FIRST_WITH_WHOLE_TEXT:
        warnings.warn(
            f"Grain before 0.2.16 cuts key and text short in worker processes (grain.DataLoader): use 0.2.16 or later, "
            f"which needs Python 3.11. Received: {installed}",
            stacklevel=3,
        )
