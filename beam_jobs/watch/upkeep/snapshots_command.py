"""`python -m beam_jobs snapshots`: the snapshots of a stream as a table, and pins, which keep one."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from beam_jobs.watch.stream import Stream
from beam_jobs.watch.summary import counted_words
from tfrecords.dataset.manifest import SPLITS
from tfrecords.dataset.pins import pin, pinned, unpin
from tfrecords.dataset.snapshots import (
    STREAM,
    Part,
    Snapshot,
    is_stream,
    part_manifest,
    snapshot_numbers,
    snapshot_place,
)
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place

EPILOG = """\
examples:
  the newest twenty, with their examples and files:
    python -m beam_jobs snapshots STREAM
  all of them, for programs, a JSON object a line:
    python -m beam_jobs snapshots STREAM --all --json
  keep snapshot 42 for good, and no longer:
    python -m beam_jobs snapshots STREAM --pin baseline 42
    python -m beam_jobs snapshots STREAM --unpin baseline

watch deletes snapshots that are neither among the newest nor young
(--keep-snapshots, --keep-days), and none that is pinned. Training that follows
a stream pins what it has read. To read a snapshot, give --snapshot N.
"""
_SHOWN = 20
"""Snapshots that are listed unasked."""


@dataclass(frozen=True)
class _Row:
    """One snapshot.

    Attributes:
      snapshot: Number.
      pictures: Number of source pictures with at least one example.
      examples: Number of examples of each split.
      directories: Number of dataset directories.
      files: Number of TFRecord files.
      dead_letters: Number of rejected pictures, by reason.
      pins: Names of its pins.
    """

    snapshot: int
    pictures: int
    examples: dict[str, int]
    directories: int
    files: int
    dead_letters: dict[str, int]
    pins: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("stream", type=place, metavar="STREAM", help="stream, local or at an address, as s3://")
    parser.add_argument("--all", action="store_true", help=f"list all, not only the newest {_SHOWN}")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line instead of a table")
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--pin", nargs=2, metavar=("NAME", "N"), help="keep snapshot N until --unpin NAME, instead of listing"
    )
    change.add_argument("--unpin", metavar="NAME", help="delete a pin, instead of listing")


def run(args: argparse.Namespace) -> int:
    """Lists the snapshots, or pins one.

    Raises:
      UserError: There is no stream, snapshot or pin of this name, or a file is damaged.
    """
    stream: Place = args.stream
    if not is_stream(stream):
        raise UserError(f"{stream} must be a stream: it has no {STREAM}.", stream)
    if args.pin:
        name, text = args.pin
        if not text.isdecimal():
            raise UserError("--pin needs a name and the number of a snapshot.", text)
        pin(stream, name, int(text))
        print(f"snapshot {int(text)} of {stream} is kept until --unpin {name}")
    elif args.unpin:
        if not unpin(stream, args.unpin):
            raise UserError(f"{stream} has {', '.join(pinned(stream)) or 'no pins'}.", args.unpin)
        print(f"{args.unpin} keeps no snapshot of {stream} any more")
    else:
        _list(stream, args.all, args.json)
    return 0


def _list(stream: Place, is_all: bool, is_json: bool) -> None:
    """Prints the snapshots, the newest last."""
    numbers = snapshot_numbers(stream)
    shown = numbers if is_all else numbers[-_SHOWN:]
    rows = _rows(stream, shown)
    if is_json:
        for row in rows:
            print(json.dumps(asdict(row)))
        return
    for line in _table(list(rows), counted_words(Stream.load(stream).config.task)[0]):
        print(line)
    if not numbers:
        print(f"{stream} has no snapshot yet")
    if len(shown) < len(numbers):
        print(f"{len(numbers) - len(shown):,} older ones: --all lists them")


def _rows(stream: Place, numbers: Iterable[int]) -> Iterator[_Row]:
    """Yields the rows of snapshots; those that are deleted meanwhile are left out."""
    pins: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in pinned(stream).items():
        pins[number].append(name)
    files: dict[Part, int] = {}
    for number in numbers:
        try:
            snapshot = Snapshot.load(stream, number)
            missing = (part for part in snapshot.parts if part not in files)
            files |= {part: _files(stream, part) for part in missing}
        except UserError:
            if snapshot_place(stream, number).is_file():
                raise
            continue
        yield _Row(
            snapshot=number,
            pictures=sum(total.pictures for total in snapshot.totals.values()),
            examples={name: snapshot.totals[name].examples for name in SPLITS if name in snapshot.totals},
            directories=len(snapshot.parts),
            files=sum(files[part] for part in snapshot.parts),
            dead_letters=snapshot.dead_letters,
            pins=pins[number],
        )


def _files(stream: Place, part: Part) -> int:
    """Returns the number of TFRecord files with examples in a directory."""
    shards = (shard for info in part_manifest(stream, part).splits.values() for shard in info.shards)
    return sum(bool(shard.examples) for shard in shards)


def _table(rows: list[_Row], counted: str) -> Iterator[str]:
    """Yields the lines of the table; a column for each split that a row has, and one for what annotations count."""
    if not rows:
        return
    splits = [name for name in SPLITS if any(name in row.examples for row in rows)]
    titles = ["snapshot", counted, *splits, "directories", "files", "rejected"]
    yield "".join(f"{title:>{_width(title)}}" for title in titles) + "  pins"
    for row in rows:
        numbers = [row.pictures, *(row.examples.get(name, 0) for name in splits), row.directories, row.files]
        numbers.append(sum(row.dead_letters.values()))
        cells = [str(row.snapshot), *(f"{number:,}" for number in numbers)]
        line = "".join(f"{cell:>{_width(title)}}" for title, cell in zip(titles, cells, strict=True))
        yield f"{line}  {', '.join(row.pins)}".rstrip()


def _width(title: str) -> int:
    return max(len(title), 9) + 2
