"""python -m tfrecords validate: checks every checksum, count and record against the manifest and the schema."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator

from tfrecords.cards.croissant import CROISSANT
from tfrecords.cards.files import find_card_errors
from tfrecords.commands.dataset_errors import find_errors, find_manifest_errors
from tfrecords.commands.stream_errors import find_stream_errors
from tfrecords.dataset.manifest import Manifest, read_manifest
from tfrecords.dataset.snapshots import Snapshot, check_stream, find_snapshot, is_stream, load_content
from tfrecords.errors import printable
from tfrecords.files.place import Place, place
from tfrecords.flags import add_renamed, add_snapshot
from tfrecords.progress import print_line

__all__ = ["add_arguments", "find_errors", "find_manifest_errors", "run"]

EPILOG = """\
examples:
  python -m tfrecords validate svhn-records
  python -m tfrecords validate gs://bucket/svhn-records
  python -m tfrecords validate stream --snapshot 41

Exit code 0: the dataset is complete and correct. Exit code 1: it is not, and
the first errors are printed. If manifest.json breaks its own JSON schema
(tfrecords/manifest.schema.json), only these errors are printed, because all
other files are checked against the manifest. A remote shard is copied to a
temporary file (TMPDIR), and the next one while it is checked.

croissant.json, where there is one, must name the manifest's files with their
digests. README.md may be edited and is not checked.

Of a stream, each directory of the snapshot is checked as a dataset, then that
no batch is in two of them, and that the snapshot states their sums.
"""
_MAX_ERRORS = 20
_ATTEMPTS = 5
"""Looks at the cards of a stream that grows."""
_BETWEEN_S = 0.2
"""Time between two of these, seconds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `validate`."""
    parser.add_argument(
        "directory", type=place, metavar="DIR", help="dataset directory that prepare wrote, or its address"
    )
    add_snapshot(parser)
    limit = "number of errors after which to stop"
    parser.add_argument("--max-errors", type=int, default=_MAX_ERRORS, metavar="N", help=limit)
    add_renamed(parser, "--faults", "--max-errors", type=int)


def run(args: argparse.Namespace) -> int:
    """Prints the first errors and returns 1, or prints a summary and returns 0.

    Raises:
      UserError: DIR has no manifest or snapshot, or it is no JSON object or of another schema version.
    """
    errors, what = _find(args.directory, args.snapshot)
    if args.snapshot is None:
        errors = _with_cards(args.directory, errors)
    count = 0
    for count, error in enumerate(errors, start=1):
        print_line(f"error: {printable(error)}")
        if count == args.max_errors:
            print(f"stopped after {count} errors (--max-errors)", file=sys.stderr)
            break
    if count:
        print(f"{args.directory} is not valid: {count} errors", file=sys.stderr)
        return 1
    print(f"{what}, all checksums and records are correct")
    return 0


def _find(directory: Place, number: int | None) -> tuple[Iterable[str], str]:
    """Returns the errors of a dataset directory or a snapshot, and the beginning of the summary if there are none."""
    if number is not None:
        return _of_snapshot(directory, Snapshot.load(check_stream(directory, number), number))
    data, path = load_content(directory)
    if wrong := list(find_manifest_errors(data, path)):
        return wrong, ""
    manifest = Manifest.parse(data, path)
    if not (directory.has_listing and is_stream(directory)):
        examples = sum(split.examples for split in manifest.splits.values())
        shards = sum(len(split.shards) for split in manifest.splits.values())
        return find_errors(directory, manifest), f"{directory} is valid: {examples:,} examples in {shards:,} shards"
    if (snapshot := find_snapshot(directory, manifest)) is None:
        return [f"{path}: the manifest of none of the newest snapshots of the stream; the next start writes it"], ""
    errors, what = _of_snapshot(directory, snapshot)
    return _with_root(directory, snapshot, errors), what


def _with_cards(directory: Place, errors: Iterable[str]) -> Iterator[str]:
    """Yields the errors of a directory, and of croissant.json where its other files have none."""
    clean = True
    for error in errors:
        clean = False
        yield error
    if not clean:
        return
    if not (directory / CROISSANT).is_file():
        again = "the same `prepare` again, or the next start of a stream, writes it"
        print(f"note: {directory} has no {CROISSANT}, as older versions made it; {again}", file=sys.stderr)
        return
    for attempt in range(_ATTEMPTS):
        data, path = load_content(directory)
        manifest = Manifest.parse(data, path)
        grows = directory.has_listing and is_stream(directory)
        found = list(find_card_errors(directory, manifest, data, grows))
        if not found or not grows or attempt == _ATTEMPTS - 1:
            yield from found
            return
        time.sleep(_BETWEEN_S)  # a snapshot is being committed, whose cards come before its manifest


def _of_snapshot(stream: Place, snapshot: Snapshot) -> tuple[Iterator[str], str]:
    examples = sum(total.examples for total in snapshot.totals.values())
    count = len(snapshot.parts)
    directories = f"{count:,} director{'y' if count == 1 else 'ies'}"
    what = f"{stream}, snapshot {snapshot.snapshot}, is valid: {examples:,} examples in {directories}"
    return find_stream_errors(stream, snapshot), what


def _with_root(stream: Place, snapshot: Snapshot, errors: Iterable[str]) -> Iterator[str]:
    """Yields the errors of a snapshot; where it has none, that manifest.json is not the snapshot as one manifest."""
    clean = True
    for error in errors:
        clean = False
        yield error
    # Read again: of a stream that grows, another one may have replaced it.
    data, path = read_manifest(stream)
    manifest = Manifest.parse(data, path)
    is_same = load_content(stream, snapshot.snapshot)[0] == data
    if clean and not is_same and find_snapshot(stream, manifest) in (None, snapshot):
        yield f"{path}: not the manifest of snapshot {snapshot.snapshot}; the next start of the stream writes it"
