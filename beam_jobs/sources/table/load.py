"""A table as entries of subsets. It is parsed once a process, and ranges are served from that."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from beam_jobs.sources.base import PICTURE_SUFFIXES, SourceOptions, check_subset_names, own_name
from beam_jobs.sources.table.columns import Chooser, Fault, Rows
from beam_jobs.sources.table.delimited import read_delimited
from beam_jobs.sources.table.files import DELIMITED, KNOWN, PARQUET, is_metadata, shards_of
from beam_jobs.sources.table.json_lines import read_json_lines
from beam_jobs.sources.table.numbers import Entries, clean_name, make_entries
from beam_jobs.sources.table.parquet import read_parquet
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_MOST_SUBSETS = 20
"""Values of a split column; one with more is something else."""
_KEPT_TABLES = 4
"""Tables that a process keeps: ranges of train, validation and test come in any order."""
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
      sha256: SHA-256 of its files and of the names of pictures without a row, hexadecimal.
      subsets: Entries of each subset, by name; the empty name is that of a table that has only one.
      embedded: Name of the column that holds the pictures themselves, or empty.
    """

    sha256: str
    subsets: dict[str, Entries]
    embedded: str = ""

    def entries(self, name: str) -> Entries:
        """Returns the entries of a subset."""
        return self.subsets[own_name(name, self.subsets)]


def load(path: str, pictures: str, options: SourceOptions) -> Table:
    """Returns a table; the last ones are kept.

    Args:
      path: Path or address of the table.
      pictures: Path or address of the folder of its pictures.
      options: How the table is to be read.

    Raises:
      UserError: The table cannot be read.
    """
    # One thread parses, the others wait for it.
    with _LOCK:
        return _load(path, pictures, options)


def forget() -> None:
    """Forgets the tables, which may have changed."""
    _load.cache_clear()


@lru_cache(maxsize=_KEPT_TABLES)
def _load(path: str, pictures: str, options: SourceOptions) -> Table:
    place, folder = Place(path), Place(pictures)
    digest = hashlib.sha256()
    rows, embedded = _read(place, Chooser(path, options), digest)
    published = is_metadata(place) and not embedded
    parts = _partition(path, rows, published)
    subsets = {name: make_entries(part) for name, part in parts.items()}
    if not embedded and folder.has_listing and (published or folder != place.parent):
        missing = _pictures_without_row(folder, subsets)
        for name, added in _assigned(missing, subsets, rows, published).items():
            subsets[name] = replace(subsets[name], unnamed=tuple(added))
        digest.update("\n".join(missing).encode("utf-8", "surrogateescape"))
    if not any(map(len, subsets.values())):
        raise UserError(f"{path} must have a row below its header.", "no row")
    return Table(digest.hexdigest(), subsets, embedded)


def _read(place: Place, chooser: Chooser, digest: "hashlib._Hash") -> tuple[Rows, str]:
    """Returns the rows of a table, and the name of the column that holds the pictures, if one does."""
    if place.suffix in PARQUET:
        shards = shards_of(place)
        for shard in shards:
            digest.update(shard.sha256().encode())
        read = read_parquet(shards, chooser.choose)
        return read.rows, read.embedded
    data = place.read_bytes()
    digest.update(data)
    reader = read_delimited if place.suffix in DELIMITED else read_json_lines
    return reader(str(place), data, chooser.choose), ""


def _partition(path: str, rows: Rows, published: bool) -> dict[str, Rows]:
    """Returns the rows of each subset, by name in sorted order.

    Subsets are the values of the split column. Without one, those of a metadata file are the first folders of its
    pictures, if all of these are names of subsets: `train/1.png`. (`datasets` 5.2 does not read such a file.)
    """
    names = _split_names(rows) or (_first_folders(rows) if published else None)
    if names is None:
        return {"": rows}
    indices: dict[str, list[int]] = {name: [] for name in sorted(set(names) - {""})}
    if len(indices) > _MOST_SUBSETS:
        rule = f"{path}: the split column must have at most {_MOST_SUBSETS} values; --split-column chooses another."
        raise UserError(rule, f"{len(indices)} values")
    try:
        check_subset_names(tuple(indices))
    except UserError as error:
        raise UserError(f"{path}, split column: {error}") from error
    # Rows that name no subset are rejected, in train.
    first = "train" if "train" in indices else next(iter(indices), "")
    faults = {**{i: _no_split(rows) for i, name in enumerate(names) if not name}, **rows.faults}
    for index, name in enumerate(names):
        indices.setdefault(name or first, []).append(index)
    return {name: _select(rows, chosen, faults) for name, chosen in indices.items()}


def _no_split(rows: Rows) -> Fault:
    return "no_split", "a row must name its subset in the split column.", None


def _split_names(rows: Rows) -> list[str] | None:
    """Returns the subset's name of each row, empty if it has none; None if there is no split column."""
    if rows.columns.split is None:
        return None
    return [value.strip().lower() if isinstance(value, str) else "" for value in rows.values[-1]]


def _first_folders(rows: Rows) -> list[str] | None:
    """Returns the first folder of each row's picture, in lower case; None if not all of them are known names."""
    cleaned = (clean_name(value) for value in rows.values[0])
    names = [name.partition("/")[0].lower() if isinstance(name, str) and "/" in name else "" for name in cleaned]
    known = all(name in KNOWN for index, name in enumerate(names) if index not in rows.faults)
    return names if known and any(names) else None


def _select(rows: Rows, indices: Sequence[int], faults: dict[int, Fault]) -> Rows:
    """Returns some of the rows."""
    values: list[Sequence[Any]] = [[column[index] for index in indices] for column in rows.values]
    lines = [rows.lines[index] for index in indices]
    kept = {new: faults[old] for new, old in enumerate(indices) if old in faults}
    return replace(rows, values=values, lines=lines, faults=kept)


def _pictures_without_row(folder: Place, subsets: dict[str, Entries]) -> list[str]:
    """Returns the names of the pictures in a folder that no row names, sorted."""
    named = {name for entries in subsets.values() for name in entries.names}
    return [name for name in folder.walk() if name not in named and _is_picture(name)]


def _is_picture(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in PICTURE_SUFFIXES


def _assigned(missing: list[str], subsets: dict[str, Entries], rows: Rows, published: bool) -> dict[str, list[str]]:
    """Returns the pictures that no row names by subset: that of their first folder, else the first."""
    by_folder = published and rows.columns.split is None
    found: dict[str, list[str]] = {name: [] for name in subsets}
    for name in missing:
        folder = name.partition("/")[0].lower()
        found[folder if by_folder and folder in found else next(iter(found))].append(name)
    return found
