"""python -m tfrecords index: writes an index next to each TFRecord file, for random access."""

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from tfrecords.dataset.snapshots import is_stream, load_manifest
from tfrecords.errors import UserError
from tfrecords.files.index import format_index, index_path
from tfrecords.files.place import Place, place
from tfrecords.files.record_file import scan
from tfrecords.files.storage import open_blob, read_bytes
from tfrecords.flags import add_snapshot
from tfrecords.progress import print_line, progress_of

EPILOG = """\
examples:
  python -m tfrecords index svhn-records
  python -m tfrecords index train.tfrecord more/*.tfrecord-*
  python -m tfrecords index s3://bucket/records
  python -m tfrecords index stream --snapshot 41

prepare writes indexes itself; this command is for other TFRecord files. The
index of data.tfrecord is data.idx. It has one line per record, with its offset
and size in bytes, framing included: the format of NVIDIA DALI and of the
tfrecord package.

Of a stream, the shards of a snapshot are meant, in their folders.

Files must be uncompressed. The checksum of each header is checked; those of the
records are checked by validate only.
"""
_SHARD = re.compile(r"[^.].*\.tfrecords?([.-].*)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `index`."""
    paths = "TFRecord file, or folder of files with .tfrecord in their names; or its address"
    parser.add_argument("paths", type=place, nargs="+", metavar="PATH", help=paths)
    add_snapshot(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace indexes that do not match their files")


def run(args: argparse.Namespace) -> int:
    """Writes missing indexes, prints an error for each file without an index, and returns 1 if there is one.

    Raises:
      UserError: A path does not exist, is a folder without TFRecord files, or has no such snapshot.
    """
    shards = list(find_shards(args.paths, args.snapshot))
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


def find_shards(paths: Iterable[Place], snapshot: int | None = None) -> Iterator[Place]:
    """Yields the files among the paths, and the files with TFRecord names in the folders among them, sorted.

    Args:
      paths: Files, folders and streams; of a stream, the shards of a snapshot are yielded.
      snapshot: Number of the snapshot of every path; None for the newest one of a stream.

    Raises:
      UserError: A path does not exist, is a folder without TFRecord files, or has no such snapshot.
    """
    for path in paths:
        if snapshot is not None or is_stream(path):
            splits = load_manifest(path, snapshot).splits.values()
            yield from (path / shard.file for split in splits for shard in split.shards)
        elif path.is_dir():
            found = [path / name for name in path.names() if _SHARD.fullmatch(name)]
            if not found:
                raise UserError(f"{path} must hold files with .tfrecord in their names.")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise UserError("PATH must be a TFRecord file or a folder of TFRecord files.", path)


def write_index(shard: Place, overwrite: bool = False) -> bool:
    """Writes the index next to a TFRecord file; returns False if a correct index exists.

    Args:
      shard: Place of the TFRecord file.
      overwrite: Whether to replace an index that does not match the file.

    Raises:
      UserError: The file is damaged, compressed or no TFRecord file; or it has another index, and `overwrite` is False.
    """
    index = Place(index_path(shard.text))
    index.refuse_web()
    starts, damage = scan(open_blob(shard), shard.text)
    if damage:
        raise damage
    data = format_index(stop - start for start, stop in pairwise(starts.tolist()))
    existing = read_bytes(index)
    if existing == data:
        return False
    if existing is not None and not overwrite:
        raise UserError(f"{index} is not the index of {shard}: give --overwrite to replace it.")
    index.write([data])
    return True
