"""python -m tfrecords index: writes an index next to each TFRecord file, for random access."""

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path
from tfrecords.files.publish import atomic_write
from tfrecords.files.record_file import scan
from tfrecords.files.storage import open_blob
from tfrecords.flags import local_path
from tfrecords.progress import print_line, progress_of

EPILOG = """\
examples:
  python -m tfrecords index svhn-records
  python -m tfrecords index train.tfrecord more/*.tfrecord-*

prepare writes indexes itself; this command is for other TFRecord files. The
index of data.tfrecord is data.idx. It has one line per record, with its offset
and size in bytes, framing included: the format of NVIDIA DALI and of the
tfrecord package.

Files must be uncompressed. The checksum of each header is checked; those of the
records are checked by validate only.
"""
_SHARD = re.compile(r"[^.].*\.tfrecords?([.-].*)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `index`."""
    paths = "TFRecord file, or folder of files with .tfrecord in their names"
    parser.add_argument("paths", type=local_path, nargs="+", metavar="PATH", help=paths)
    parser.add_argument("--overwrite", action="store_true", help="replace indexes that do not match their files")


def run(args: argparse.Namespace) -> int:
    """Writes missing indexes, prints an error for each file without an index, and returns 1 if there is one.

    Raises:
      UserError: A path does not exist, or is a folder without TFRecord files.
    """
    shards = list(find_shards(args.paths))
    written = failed = 0
    for shard in progress_of(shards, "index", len(shards), "files"):
        try:
            written += write_index(shard, args.overwrite)
        except UserError as error:
            failed += 1
            print_line(f"error: {error}")
    existing = len(shards) - written - failed
    print(f"{written:,} indexes written, {existing:,} existing indexes are correct, {failed:,} files have no index")
    return 1 if failed else 0


def find_shards(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields the files among the paths, and the files with TFRecord names in the folders among them, sorted.

    Raises:
      UserError: A path does not exist, or is a folder without TFRecord files.
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
            raise UserError("PATH must be a TFRecord file or a folder of TFRecord files.", path)


def write_index(shard: Path, overwrite: bool = False) -> bool:
    """Writes the index next to a TFRecord file; returns False if a correct index exists.

    Args:
      shard: Path of the TFRecord file.
      overwrite: Whether to replace an index that does not match the file.

    Raises:
      UserError: The file is damaged, compressed or no TFRecord file; or it has another index, and `overwrite` is False.
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
