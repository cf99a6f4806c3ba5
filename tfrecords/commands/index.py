"""python -m tfrecords index: an index beside each TFRecord file, so that any record can be read by its number."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path
from tfrecords.files.publish import atomic_write
from tfrecords.files.record_file import scan
from tfrecords.files.storage import open_blob

EPILOG = """\
examples:
  python -m tfrecords index svhn-records
  python -m tfrecords index train.tfrecord more/*.tfrecord-*

prepare writes indexes itself; this is for TFRecords of any other origin. The index of data.tfrecord is data.idx, a
line a record: its offset and size in bytes, framing included, as NVIDIA DALI and the tfrecord package read it.
Files must be uncompressed. Each header's checksum is checked, the records' own only by validate.
"""
_SHARD = re.compile(r"[^.].*\.tfrecords?([.-].*)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="TFRecord file, or folder of files with .tfrecord in their names",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace indexes that are not of their files")


def run(args: argparse.Namespace) -> int:
    """Writes what is missing; names each file that has no index in the end."""
    shards = list(find_shards(args.paths))
    written = failed = 0
    with tqdm(shards, unit=" files", desc="index", mininterval=0.5, leave=False) as bar:
        for shard in bar:
            try:
                written += write_index(shard, args.overwrite)
            except UserError as error:
                failed += 1
                tqdm.write(f"error: {error}", file=sys.stderr)
    there = len(shards) - written - failed
    print(f"{written:,} indexes written beside their files, {there:,} were there and right, {failed:,} files have none")
    return 1 if failed else 0


def find_shards(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields the files among `paths`, and of the folders among them the files named as TFRecords are, sorted.

    Raises:
      UserError: one of them is not there, or a folder without any.
    """
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _SHARD.fullmatch(file.name) and file.is_file())
            if not found:
                raise UserError(f"{path} must hold files with .tfrecord in their names.")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise UserError("A TFRecord file or a folder of some must be given.", path)


def write_index(shard: Path, overwrite: bool = False) -> bool:
    """Writes the index of a TFRecord file beside it; returns False where it stood there already.

    Raises:
      UserError: the file is damaged, compressed, or no TFRecord file; or another index stands there, and
        `overwrite` is False.
    """
    starts, damage = scan(open_blob(str(shard)), str(shard))
    if damage:
        raise damage
    index = Path(index_path(str(shard)))
    data = format_index(stop - start for start, stop in pairwise(starts.tolist()))
    if index.exists():
        if index.read_bytes() == data:
            return False
        if not overwrite:
            raise UserError(f"{index} is not the index of {shard}: give --overwrite to replace it.")
    with atomic_write(index) as stream:
        stream.write(data)
    return True
