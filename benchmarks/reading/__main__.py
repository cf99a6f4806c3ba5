"""Reads labelled pictures with our models and with other packages' readers, and prints how many numbers are right.

    python -m benchmarks.reading --input ../shared/data/svhn_photos --test-fraction 0.1
    python -m benchmarks.reading --input photos.csv --source table --run-dir pretrained runs/mine --only ours,rapidocr
    python -m benchmarks.reading --data records --split test

Pictures are those of any source of `prepare`, each in several views: cut out with --margins around the box, and
complete, without a box. Of a dataset directory the images are read, stretched back to the shape of what was cut out.
All that a reader returns but the digits is left out. Where several texts are found, the table names the rule that makes
most numbers of that reader right: the most confident text, the tallest one, or all from left to right.

Everything runs on one thread. Processor time is from the pixels to the number: neither files nor their decoding. A
reader that is not installed is left out, in a line that says what installs it.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beam_jobs.job.given import GivenData
from beam_jobs.sources import SOURCES
from beam_jobs.sources.base import SourceOptions
from benchmarks.common.own_process import choose
from benchmarks.common.table import markdown
from benchmarks.reading.measure import Answers, Score, View, answer_all, score, views_of
from benchmarks.reading.peers import PEERS, Ours, Peer, load_peer
from benchmarks.reading.pictures import Pictures, pictures_of_dataset, pictures_of_source
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.flags import add_flags, from_flags
from tfrecords.progress import progress_of
from trainer.pretrained import offered_finder

_OURS = "ours"
_HEAD = (
    "system",
    "shown",
    "whole numbers, 95 % interval",
    "coverage at 98 %",
    "nothing read",
    "other length",
    "other digit",
    "processor ms",
    "weights MB",
)
_WORDS = 3
"""Number of columns that are text."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_Answers = Mapping[tuple[str, str], Answers]


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--input", help="file or folder of labelled pictures, local or at an address")
    given.add_argument("--data", metavar="DIR", help="dataset directory, instead of pictures")
    add("--source", choices=tuple(SOURCES), default="svhn", help="format of --input (default: svhn)")
    add("--split", choices=("train", "validation", "test"), default="test", help="split of --data (default: test)")
    names = ", ".join((_OURS, *PEERS))
    add("--only", metavar="NAME,...", help=f"systems to run, out of {names} (default: all)")
    own = offered_finder()
    add("--finder", default=own.name if own else None, metavar="DIR", help="our finder (default: the package's)")
    add("--run-dir", nargs="+", default=["pretrained"], metavar="DIR", help="our models (default: pretrained)")
    add("--margins", nargs="*", type=float, default=[0.3, 0.0], metavar="X", help="margins of boxes (default: 0.3 0)")
    add("--no-box", action=argparse.BooleanOptionalAction, default=True, help="read complete pictures too")
    add("--test-fraction", type=float, default=0.0, metavar="X", help="share that prepare draws for test, 0..1")
    add("--only-test", action="store_true", help="read the split test alone")
    add("--limit", type=int, metavar="N", help="number of pictures to read, a random sample (default: all)")
    add("--json", type=Path, metavar="FILE", help="file for all scores")
    add_flags(parser, GivenData, SourceOptions, without=("source", "input"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the pictures, prints the tables and what was left out, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if (args.limit is not None and args.limit < 1) or not 0 <= args.test_fraction <= 1 or min(args.margins or [0]) < 0:
        received = f"{args.limit}, {args.test_fraction} and {args.margins}"
        parser.error(f"--limit must be at least 1, --test-fraction 0..1, --margins at least 0. Received: {received}")
    try:
        names = choose(args.only, (_OURS, *PEERS))
        _use_one_thread()
        pictures, views = _given(args)
        peers, missing = _load(names, args.run_dir, args.finder)
        shown = progress_of(pictures, "read pictures", pictures.total, "pictures")
        answers = answer_all(shown, peers, views)
    except (OSError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    tables = {title: _scores(answers, split) for title, split in _groups(args).items()}
    print(*_report(tables, peers), sep="\n")
    left_out = [f"left out: {count:,} ({reason})" for reason, count in sorted(pictures.left_out.items())]
    print(*left_out, *missing, sep="\n", end="\n" * bool(left_out or missing))
    if args.json:
        _write(args.json, tables, peers)
    return 0


def _use_one_thread() -> None:
    """Sets every library that reads pictures to one thread, before it is imported."""
    os.environ |= {**dict.fromkeys(_THREADS, "1"), "TF_NUM_INTEROP_THREADS": "1"}
    import cv2

    cv2.setNumThreads(1)


def _given(args: argparse.Namespace) -> tuple[Pictures, list[View]]:
    """Returns the pictures to read and how they are shown."""
    if args.data:
        return pictures_of_dataset(args.data, args.split, args.limit), [View("record", None, is_cut=True)]
    values = vars(args)
    data, options = from_flags(GivenData, values), from_flags(SourceOptions, values)
    pictures = pictures_of_source(data, options, args.test_fraction, args.only_test, args.limit)
    return pictures, views_of(args.margins, args.no_box)


def _load(names: Sequence[str], run_dirs: Sequence[str], finder: str | None) -> tuple[dict[str, Peer], list[str]]:
    """Returns the systems by name, and a line for each that is not installed."""
    others: dict[str, Peer] = {}
    missing = []
    # Before ours: PyTorch and what EasyOCR imports with it end a process that has loaded TensorFlow.
    for name in names:
        try:
            others |= {name: load_peer(name)} if name != _OURS else {}
        except UserError as error:
            missing.append(str(error))
    ours: dict[str, Peer] = {f"{_OURS} {each}": Ours(each, finder) for each in run_dirs} if _OURS in names else {}
    if not ours and not others:
        raise UserError("No system is left to read with.", "; ".join(missing))
    return {**ours, **others}, missing


def _groups(args: argparse.Namespace) -> dict[str, str | None]:
    """Returns the split of each table by its title; None for all pictures."""
    every: dict[str, str | None] = {"all pictures": None}
    return every | ({"the split test": "test"} if args.test_fraction and not args.only_test else {})


def _scores(answers: _Answers, split: str | None) -> dict[tuple[str, str], Score]:
    """Returns the scores by name of the system and title of the view; of those alone that have pictures."""
    return {
        key: score(each, split)
        for key, each in answers.items()
        if any(split in (None, found) for found, _ in each.labelled)
    }


def _report(tables: Mapping[str, Mapping[tuple[str, str], Score]], peers: Mapping[str, Peer]) -> Iterator[str]:
    for title, scores in tables.items():
        yield f"\n{title}, {max((each.pictures for each in scores.values()), default=0):,}:\n"
        # System by system, each in the order of its views.
        order = sorted(scores, key=lambda key: [*peers].index(key[0]))
        yield markdown(_HEAD, [_cells(peers[name], view, scores[name, view]) for name, view in order], _WORDS)


def _cells(peer: Peer, view: str, found: Score) -> tuple[str, ...]:
    with_finder = bool(found.rule) and peer.finder_megabytes
    return (
        peer.title,
        f"{view}, {found.rule}" if with_finder else view,
        f"{100 * found.accuracy:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f} %)",
        *(f"{100 * share:.1f} %" for share in (found.coverage, found.nothing, found.other_length, found.other_digit)),
        f"{found.milliseconds:.1f}",
        f"{_megabytes(peer, found):.1f}",
    )


def _megabytes(peer: Peer, found: Score) -> float:
    return peer.reader_megabytes + (peer.finder_megabytes if found.rule else 0.0)


def _write(path: Path, tables: Mapping[str, Mapping[tuple[str, str], Score]], peers: Mapping[str, Peer]) -> None:
    """Writes all scores as JSON: a list of rows by the title of their table."""
    rows: dict[str, list[dict[str, Any]]] = {
        title: [
            {
                "system": name,
                "title": peers[name].title,
                "view": view,
                **asdict(each),
                "megabytes": _megabytes(peers[name], each),
            }
            for (name, view), each in scores.items()
        ]
        for title, scores in tables.items()
    }
    with atomic_write(path) as stream:
        stream.write((json.dumps(rows, indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
