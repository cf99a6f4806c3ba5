"""Pictures, numbers, and pictures without a number of a dataset for finding, as lines to print."""

from dataclasses import astuple, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.prepare.annotations_table import rows_with
from tfrecords.dataset.manifest import Manifest

COLUMNS = ["split", "text"]
"""Columns of annotations.parquet that `count_scenes` reads."""


@dataclass(frozen=True)
class SceneCounts:
    """What a split or a dataset holds.

    Attributes:
      pictures: Number of pictures, each of which is an example.
      numbers: Number of numbers in them.
      negatives: Number of pictures without a number.
    """

    pictures: int
    numbers: int
    negatives: int

    def __add__(self, other: "SceneCounts") -> "SceneCounts":
        mine, others = astuple(self), astuple(other)
        return SceneCounts(*(one + another for one, another in zip(mine, others, strict=True)))

    def __str__(self) -> str:
        return f"{self.pictures:,} pictures with {self.numbers:,} numbers, {self.negatives:,} of them without one"


def count_scenes(manifest: Manifest, table: pa.Table) -> dict[str, SceneCounts]:
    """Returns the counts of each split.

    A split's pictures are counted once for each of their numbers in the manifest, and once if they have none.

    Args:
      manifest: Manifest of the dataset.
      table: Rows of all annotations, with `COLUMNS`; rejected ones have no split.
    """
    found = {}
    for name, info in manifest.splits.items():
        numbers = pc.count(rows_with(table, "split", name)["text"]).as_py()
        found[name] = SceneCounts(info.examples, numbers, info.pictures - numbers)
    return found
