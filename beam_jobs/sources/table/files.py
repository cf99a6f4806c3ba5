"""The tables of an input: one file, Hugging Face's folders with a metadata file, or a folder of tables.

A folder with `metadata.csv`, `metadata.jsonl` or `metadata.parquet`, or with folders that hold one, is read as Hugging
Face's `imagefolder` reads it: `file_name` is relative to the metadata's folder
(https://huggingface.co/docs/datasets/image_dataset#imagefolder).
"""

import re
from dataclasses import dataclass

from beam_jobs.sources.base import CORRECTIONS, FOR_VALIDATION, subset_of
from tfrecords.errors import UserError
from tfrecords.files.place import Place

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet",)
KNOWN = ("train", "test", "extra", *FOR_VALIDATION)
"""Names of folders, in lower case, that are subsets."""
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_DATA = "data"
"""Folder of the tables in a repository of Hugging Face's hub."""
_IN_FOLDERS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Endings of tables in a folder; .txt and .json are most often something else there."""
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.parquet")


@dataclass(frozen=True)
class Found:
    """Tables of an input.

    Attributes:
      tables: Table of each subset that is read, by the name that its file or folder gives it.
      unread: Paths of the other tables.
    """

    tables: dict[str, Place]
    unread: tuple[str, ...] = ()


def is_metadata(table: Place) -> bool:
    """Returns whether a table is the metadata file of Hugging Face's layout."""
    return table.name in _METADATA


def find_tables(place: Place, wanted: tuple[str, ...]) -> Found:
    """Returns the tables of an input.

    Args:
      place: Table, or folder.
      wanted: Names of subsets, also of folders whose names are not known.

    Raises:
      UserError: There is no table, or it is not clear which is meant.
    """
    if place.is_file():
        if place.suffix not in (*DELIMITED, *JSON_LINES, *PARQUET):
            suffixes = ", ".join((*DELIMITED, *JSON_LINES, *PARQUET))
            raise UserError(f"A table must end in one of {suffixes}.", place)
        return Found({subset_of(place.name): place})
    if not place.is_dir():
        raise UserError("The input must be a table or a folder that exists.", place)
    entries = place.entries()
    files = {entry.name: place / entry.name for entry in entries if not entry.is_folder}
    folders = _annotated_folders(place, [entry.name for entry in entries if entry.is_folder])
    if own := _metadata(place, files):
        return Found({subset_of(place.name): own}, tuple(str(table) for table in folders.values()))
    tables = {name: table for name, table in files.items() if table.suffix in _IN_FOLDERS and name not in CORRECTIONS}
    if folders:
        names = [name.lower() for name in wanted] or [name for name in folders if name in KNOWN]
        read = {name: table for name, table in folders.items() if name in names}
        others = [table for table in (*folders.values(), *tables.values()) if table not in read.values()]
        if not read:
            held = ", ".join(folders)
            rule = f"{place} holds metadata in the folders {held}; --subsets must choose among them."
            raise UserError(rule, ",".join(wanted) or f"none of {', '.join(KNOWN)}")
        return Found(read, tuple(sorted(map(str, others))))
    if not tables and any(entry.is_folder and entry.name == _DATA for entry in entries):
        return find_tables(place / _DATA, wanted)
    if not tables:
        rule = (
            f"The input must be a table, or a folder with {', '.join(_METADATA)} or tables ({', '.join(_IN_FOLDERS)})."
        )
        raise UserError(rule, place)
    return Found(_by_subset(place, tables))


def _metadata(folder: Place, names: dict[str, Place]) -> Place | None:
    """Returns the metadata file of a folder, if there is one.

    Raises:
      UserError: There are two.
    """
    found = [name for name in _METADATA if name in names]
    if len(found) > 1:
        raise UserError(f"{folder} must hold one metadata file; give the one to read as --input.", ", ".join(found))
    return names[found[0]] if found else None


def _annotated_folders(place: Place, names: list[str]) -> dict[str, Place]:
    """Returns the metadata file in each folder that holds one, by the folder's name in lower case."""
    found: dict[str, Place] = {}
    for name in names:
        folder = place / name
        table = _metadata(folder, {each: folder / each for each in _METADATA if (folder / each).is_file()})
        if table and name.lower() in found:
            rule = f"The names of the subsets in {place} must differ in more than their case."
            raise UserError(rule, f"{found[name.lower()].parent.name}, {name}")
        if table:
            found[name.lower()] = table
    return found


def _by_subset(place: Place, tables: dict[str, Place]) -> dict[str, Place]:
    """Returns the tables of a folder by the subset that the name of each gives.

    Raises:
      UserError: Two tables are the same subset.
    """
    found: dict[str, Place] = {}
    for name, table in tables.items():
        shard = _SHARD.fullmatch(name)
        if shard and int(shard[2]):
            continue
        subset = subset_of(name)
        if subset in found:
            rule = f"{place} must hold one table a subset; give the one to read as --input. Both are {subset}:"
            raise UserError(rule, f"{found[subset].name}, {name}")
        found[subset] = table
    if not found:
        raise UserError(f"{place} must hold the first of its Parquet shards, -00000-of-N.", ", ".join(tables))
    return found


def shards_of(table: Place) -> list[Place]:
    """Returns the files of a Parquet table: all of `train-00000-of-00003.parquet`, or the table itself."""
    shard = _SHARD.fullmatch(table.name)
    if not shard or int(shard[2]):
        return [table]
    return [table.parent / f"{shard[1]}-{index:05d}-of-{shard[3]}.parquet" for index in range(int(shard[3]))]
