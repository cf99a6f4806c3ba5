"""python -m tfrecords diff: prints what differs between two dataset directories, or snapshots of a stream."""

import argparse
import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tfrecords.dataset.manifest import FIND
from tfrecords.dataset.snapshots import split_number
from tfrecords.errors import UserError, printable
from tfrecords.files.place import place
from tfrecords.progress import progress

if TYPE_CHECKING:
    from tfrecords.dataset.compare import Difference

EPILOG = """\
examples:
  python -m tfrecords diff stream@41 stream@42
  python -m tfrecords diff old-records new-records --limit 100
  python -m tfrecords diff s3://bucket/stream@41 stream --json > changes.json

STREAM@41 is snapshot 41 of a stream, STREAM its newest one. Numbers are
compared by their keys:

  added       only B has the number
  removed     only A has it: deleted, rejected or not read
  moved       it is in another split
  relabelled  it has another text
  recut       crop box or offset of an image differ, or the number of its images
  redrawn     pixels or boxes of characters differ, at the same place
  reencoded   the same examples in other bytes, as PNG in place of raw pixels

Datasets of prepare --task find are compared picture by picture; there, recut
is with other boxes of numbers or characters, and redrawn with other pixels.

Order and shards do not count, so a snapshot and its compacted form are equal.
Files with equal digests in both manifests are not read: `validate` checks that
files are as their manifests state.

Exit code 0: no number differs. Exit code 1: some differ. Exit code 2: A or B
cannot be read.
"""
_LIMIT = 20
_TROUBLE = 2
_WORDS = {"recut": "cut at another place", "redrawn": "with other pixels or boxes", "reencoded": "in other bytes"}
_WORDS_OF_SCENES = {**_WORDS, "recut": "with other boxes", "redrawn": "with other pixels"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `diff`."""
    for name, which in (("A", "first"), ("B", "second")):
        text = f"{which} dataset directory, stream, or STREAM@N for a snapshot; or its address"
        parser.add_argument(name.lower(), type=place, metavar=name, help=text)
    parser.add_argument(
        "--limit", type=_count, default=_LIMIT, metavar="N", help="number of keys to print of each kind"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the differences; returns 0 if there is none, 1 if there are some, 2 if a dataset cannot be read."""
    from tfrecords.dataset.compare import State, compare

    try:
        before, after = (State.open(*split_number(each)) for each in (args.a, args.b))
        examples = sum(info.examples for side in (before, after) for info in side.manifest.splits.values())
        with progress("diff", examples, "examples", keep=False) as bar:
            found = compare(before, after, args.limit, bar.update)
    except (UserError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return _TROUBLE
    if args.json:
        print(json.dumps(_content(args, found), indent=2))
    else:
        print("\n".join(map(printable, _lines(args, found, before.manifest.task == FIND))))
    return 0 if found.is_equal else 1


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, not {text!r}")
    return int(text)


def _content(args: argparse.Namespace, found: "Difference") -> dict[str, Any]:
    splits = {name: {"a": before, "b": after} for name, (before, after) in found.examples.items()}
    changes = {kind: asdict(change) for kind, change in found.changes.items()}
    return {"a": args.a.text, "b": args.b.text, "equal": found.is_equal, "examples": splits, **changes}


def _lines(args: argparse.Namespace, found: "Difference", are_scenes: bool) -> list[str]:
    lines = [f"A: {args.a}", f"B: {args.b}", "", f"{'examples of':<14}{'A':>12}{'B':>12}{'difference':>12}"]
    for name, (before, after) in found.examples.items():
        lines.append(f"{name:<14}{before:>12,}{after:>12,}{after - before:>+12,}")
    lines.append("")
    for kind, change in found.changes.items():
        if not change.count:
            continue
        plural = "s" * (change.count != 1)
        words, what = (_WORDS_OF_SCENES, "picture") if are_scenes else (_WORDS, "number")
        lines.append(f"{change.count:,} {what}{plural} {words.get(kind, kind)}")
        lines += [f"  {key}" for key in change.keys]
        if change.count > len(change.keys) > 0:
            lines.append(f"  and {change.count - len(change.keys):,} more")
    if found.is_equal:
        lines.append("equal: both hold the same examples")
    return lines
