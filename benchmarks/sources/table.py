"""Tables against pandas: CSV with and without quotes, JSON lines and Parquet, with a box in each row.

`read_csv` alone leaves columns; the script that people write loops over its rows for the path, the number and the box
of each picture, so `itertuples` is what ours is measured against, and `read_csv` alone has a line to compare. Ours
yields complete annotations: checked names, boxes, duplicates, and a dead letter for each bad row.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from beam_jobs.sources.table import load
from beam_jobs.sources.table.source import SOURCE
from benchmarks.sources._read import read_all

_COLUMNS = ("file_name", "text", "left", "top", "width", "height")


def _rows(entries: int) -> Iterator[tuple[str, ...]]:
    """Yields the cells of each row."""
    for index in range(entries):
        box = (index % 50, index % 40, index % 30 + 10, index % 20 + 12)
        yield (f"images/picture_{index:06d}.png", f"{index % 100_000:05d}", *map(str, box))


def _write(folder: Path, entries: int) -> None:
    """Writes the same table in each format."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(_rows(entries))
    for name, dialect in (("plain.csv", csv.excel), ("quoted.csv", csv.unix_dialect)):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream, dialect).writerows([_COLUMNS, *rows])
    with (folder / "table.jsonl").open("w") as stream:
        stream.writelines(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in rows)
    columns = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "table.parquet")


def _ours(path: Path) -> int:
    """Returns the number of annotations that the source yields."""
    load.forget()
    return sum(1 for _ in read_all(SOURCE, path))


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes tables of `entries` rows into a folder, and returns the ways to read them.

    Each way reads everything once and returns the number of rows or annotations.
    """
    import pandas

    _write(folder, entries)

    def count(frame: Any) -> int:
        return sum(1 for _ in frame.itertuples(index=False))

    plain, quoted = folder / "plain.csv", folder / "quoted.csv"
    lines, parquet = folder / "table.jsonl", folder / "table.parquet"
    return {
        "pandas.read_csv, itertuples": lambda: count(pandas.read_csv(plain, dtype=str)),
        "ours": lambda: _ours(plain),
        "pandas.read_csv alone": lambda: len(pandas.read_csv(plain, dtype=str)),
        "pandas.read_csv, itertuples (quoted)": lambda: count(pandas.read_csv(quoted, dtype=str)),
        "ours (quoted)": lambda: _ours(quoted),
        "pandas.read_json, itertuples": lambda: count(pandas.read_json(lines, lines=True, dtype=str)),
        "ours (JSON lines)": lambda: _ours(lines),
        "pandas.read_parquet, itertuples": lambda: count(pandas.read_parquet(parquet)),
        "ours (Parquet)": lambda: _ours(parquet),
    }
