"""What differs between the annotations.parquet of two datasets, picture by picture."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

KINDS = {
    "removed": "no longer in the source",
    "added": "new in the source",
    "changed": "with a file of other bytes",
    "relabelled": "with another number",
    "reboxed": "with other boxes",
    "rejected": "that prepare treats otherwise",
    "moved": "in another split or shard",
    "recut": "cut at another place",
    "reordered": "at another place in the order of the source",
}
"""Kinds of differences, in the order in which one explains those after it, each as what follows "3 pictures"."""
COLUMNS = (
    *("key", "index", "text", "boxes", "box", "split", "shard", "source_bytes", "source_crc32c"),
    *("source_height", "source_width", "crop_box", "stage", "reason", "detail"),
)
"""Columns of annotations.parquet that are compared. Subset and name are parts of the key, the length is the text's."""
_BATCH_ROWS = 10_000
_NO_FAULT = "accepted"
Row = dict[str, Any]


@dataclass
class Changed:
    """Rows with one kind of difference.

    Attributes:
      count: Their number.
      lines: The first of them, each with its key, its shard, and what it was and is.
    """

    count: int = 0
    lines: list[str] = field(default_factory=list)


def compare_tables(before: pa.Table, after: pa.Table, limit: int) -> dict[str, Changed]:
    """Returns what differs between the rows of two tables, by kind; nothing where no row differs.

    Args:
      before: Table with `COLUMNS`, of the first dataset.
      after: That of the second one.
      limit: Largest number of lines of each kind.
    """
    first, second = (_with_unique_keys(table.select(COLUMNS)) for table in (before, after))
    found: dict[str, Changed] = {kind: Changed() for kind in KINDS}
    position = pc.index_in(first["key"], second["key"].combine_chunks())
    is_new = pc.invert(pc.is_in(second["key"], first["key"].combine_chunks()))
    for kind, lone in (("removed", first.filter(position.is_null())), ("added", second.filter(is_new))):
        for row in _rows(lone):
            _add(found[kind], row, "", limit)
    both, matching = first.filter(position.is_valid()), second.take(position.drop_null())
    is_complete = not (found["removed"].count or found["added"].count)
    for start in range(0, both.num_rows, _BATCH_ROWS):
        pair = both.slice(start, _BATCH_ROWS), matching.slice(start, _BATCH_ROWS)
        if pair[0].equals(pair[1]):
            continue
        for old, new in zip(*(table.to_pylist() for table in pair), strict=True):
            for kind, text in differences(old, new).items():
                # A picture more or less moves all that follow it.
                if kind != "reordered" or is_complete:
                    _add(found[kind], old, text, limit)
    return {kind: changed for kind, changed in found.items() if changed.count}


def differences(old: Row, new: Row) -> dict[str, str]:
    """Returns how two rows of one key differ: what the first has and the second has, by kind.

    Args:
      old: Row of the first table, with `COLUMNS`.
      new: Row of the second one.
    """
    found = {}
    if all(row["source_bytes"] is not None for row in (old, new)) and _file(old) != _file(new):
        found["changed"] = f"{_file(old)}, now {_file(new)}"
    if old["text"] != new["text"]:
        found["relabelled"] = f"{old['text'] or 'none'}, now {new['text'] or 'none'}"
    if (old["boxes"], old["box"]) != (new["boxes"], new["box"]):
        found["reboxed"] = f"{_boxes(old)}, now {_boxes(new)}"
    if _verdict(old) != _verdict(new):
        found["rejected"] = f"{_verdict(old)}, now {_verdict(new)}"
    elif (old["split"], old["shard"]) != (new["split"], new["shard"]):
        found["moved"] = f"now {_shard(new)}"
    elif old["crop_box"] != new["crop_box"] and "reboxed" not in found:
        found["recut"] = f"{_edges(old['crop_box'])}, now {_edges(new['crop_box'])}"
    if old["index"] != new["index"]:
        found["reordered"] = f"{old['index']}, now {new['index']}"
    return found


def _with_unique_keys(table: pa.Table) -> pa.Table:
    """Returns the table with a number after each key that an earlier row has: rejected rows may repeat one."""
    if len(pc.unique(table["key"])) == table.num_rows:
        return table
    seen: Counter[str] = Counter()
    keys = []
    for key in table["key"].to_pylist():
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key} (row {seen[key]} of this key)")
    return table.set_column(0, "key", pa.array(keys, pa.string()))


def _rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(_BATCH_ROWS):
        yield from batch.to_pylist()


def _add(changed: Changed, row: Row, text: str, limit: int) -> None:
    changed.count += 1
    if len(changed.lines) < limit:
        changed.lines.append(f"{row['key']} ({_shard(row)}){text and ': '}{text}")


def _shard(row: Row) -> str:
    return "in no shard" if row["split"] is None else f"{row['split']} shard {row['shard']}"


def _file(row: Row) -> str:
    return f"{row['source_bytes']:,} bytes with CRC-32C {row['source_crc32c']:08x}"


def _verdict(row: Row) -> str:
    return _NO_FAULT if row["reason"] is None else f"{row['reason']} ({row['detail']})"


def _boxes(row: Row) -> str:
    return " ".join(map(_edges, row["boxes"] or ([row["box"]] if row["box"] else []))) or "none"


def _edges(box: dict[str, float] | None) -> str:
    return "none" if box is None else "[" + ", ".join(f"{edge:g}" for edge in box.values()) + "]"
