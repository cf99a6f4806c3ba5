"""What is unusual about the splits of a dataset, as lines to print: nothing of it is an error by itself."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.job.pictures import Read, content_digest
from beam_jobs.prepare.leaks import must_not_share
from tfrecords.dataset.manifest import SPLITS, SplitInfo

COLUMNS = ["key", "subset", "name", "split", "source_bytes", "source_crc32c", "reason"]
"""Columns of annotations.parquet that `shared_pictures` reads."""
_FEW_PICTURES = 20
_NAMED = 3
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class SharedPictures:
    """Pictures of one split that are in another one too, byte for byte.

    Attributes:
      split: Split of the pictures.
      other: Split that has them too.
      pictures: Number of them.
      total: Number of all pictures of the split.
      named: Keys of the first ones, each with that of an equal picture in the other split.
    """

    split: str
    other: str
    pictures: int
    total: int
    named: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        names = ", ".join(f"{key} = {twin}" for key, twin in self.named)
        more = ", ..." if self.pictures > len(self.named) else ""
        count = f"{self.pictures:,} of its {self.total:,} pictures"
        return f"{self.split} shares {count} with {self.other}, byte for byte ({names}{more})"


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


def shared_pictures(table: pa.Table, read: Read | None = None) -> list[SharedPictures]:
    """Returns, for each pair of splits that must not share pictures, those that they have in common, byte for byte.

    Args:
      table: Rows of all pictures, with `COLUMNS`.
      read: Function that returns a picture. Those of the same size and CRC-32C, which small pictures of one size can
        have by chance, are read again and compared; without it, they count as the same.
    """
    accepted = table.filter(pc.is_null(table["reason"]))
    totals = {row["values"]: row["counts"] for row in pc.value_counts(accepted["split"]).to_pylist()}
    shared: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for keys in _copies(accepted, read):
        for first, second in combinations(sorted(keys, key=SPLITS.index), 2):
            if must_not_share(first, second):
                shared[second, first] += [(key, keys[first][0]) for key in keys[second]]
    return [
        SharedPictures(split, other, len(pairs), totals[split], tuple(sorted(pairs)[:_NAMED]))
        for (split, other), pairs in sorted(shared.items())
    ]


def _copies(accepted: pa.Table, read: Read | None) -> Iterator[dict[str, list[str]]]:
    """Yields the sorted keys by split of each picture that several splits have."""
    several = _in_several_splits(accepted)
    found = (row for batch in accepted.select(COLUMNS[:-1]).to_batches(_BATCH_ROWS) for row in batch.to_pylist())
    rows = [row for row in found if _file(row["source_bytes"], row["source_crc32c"]) in several] if several else []
    copies: defaultdict[tuple[Any, ...], defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: str(row["key"])):
        same = (row["source_bytes"], row["source_crc32c"], read and _digest(f"{row['subset']}/{row['name']}", read))
        copies[same][row["split"]].append(row["key"])
    yield from (keys for keys in copies.values() if len(keys) > 1)


def _in_several_splits(accepted: pa.Table) -> set[int]:
    """Returns the sizes and checksums that several splits have, as `_file` joins them.

    In Python: Arrow's `group_by` imports its datasets, and pandas where it is installed, for 0.3 s. This takes 0.02 s
    for SVHN's train.
    """
    first: dict[int, str] = {}
    several = set()
    for batch in accepted.select(["source_bytes", "source_crc32c", "split"]).to_batches(_BATCH_ROWS):
        for size, crc32c, split in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if first.setdefault(file := _file(size, crc32c), split) != split:
                several.add(file)
    return several


def _file(size: int, crc32c: int) -> int:
    """Returns a size and a checksum of 32 bits as one number, which needs half the memory of a pair."""
    return size << 32 | crc32c


def _digest(picture: str, read: Read) -> bytes | None:
    try:
        return content_digest(read(picture))
    except OSError:
        return None  # as much alike as before
