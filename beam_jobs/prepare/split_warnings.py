"""What is unusual about the splits of a dataset, as lines to print: nothing of it is an error."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import pyarrow as pa
import pyarrow.compute as pc

from tfrecords.dataset.manifest import SPLITS, SplitInfo

COLUMNS = ["split", "source_bytes", "source_crc32c", "reason"]
"""Columns of annotations.parquet that `shared_pictures` reads."""
_FEW_PICTURES = 20
_FILE = ["source_bytes", "source_crc32c"]


def few_validation_pictures(splits: dict[str, SplitInfo]) -> Iterator[str]:
    """Yields a line if there is something to train on, and too little to choose an epoch by.

    Args:
      splits: Splits of a dataset by name.
    """
    pictures = {name: info.pictures for name, info in splits.items()}
    found = pictures.get("validation", 0)
    if pictures.get("train", 0) and found < _FEW_PICTURES:
        count = f"only {found} picture{'s' * (found != 1)}" if found else "no picture"
        yield f"the split validation has {count}, too few to compare epochs by (see --validation-fraction)"


def shared_pictures(table: pa.Table) -> Iterator[str]:
    """Yields a line for each pair of splits that have picture files in common, byte for byte.

    Args:
      table: Rows of all pictures, with `COLUMNS`. Files of the same size and CRC-32C count as the same.
    """
    read = table.filter(pc.field("reason").is_null())
    files = read.group_by([*_FILE, "split"]).aggregate([([], "count_all")])
    copies = files.group_by(_FILE).aggregate([("split", "list"), ("count_all", "list")])
    copies = copies.filter(pc.greater(pc.list_value_length(copies["split_list"]), 1))
    shared: Counter[tuple[str, str]] = Counter()
    for splits, counts in zip(copies["split_list"].to_pylist(), copies["count_all_list"].to_pylist(), strict=True):
        count = dict(zip(splits, counts, strict=True))
        for first, second in combinations(sorted(splits, key=SPLITS.index), 2):
            shared[second, first] += count[second]
    for (split, other), pictures in sorted(shared.items()):
        total = pc.sum(pc.equal(read["split"], split)).as_py()
        yield f"{split} shares {pictures:,} of its {total:,} pictures with {other}, byte for byte"
