"""How fast pictures become TFRecords: a bare loop, prepare in each of its ways, and what others write.

    python -m benchmarks.prepare --input svhn/train
    python -m benchmarks.prepare --input svhn/train --pictures 16000 --only loop,prepare --repeats 3
    python -m benchmarks.prepare --input svhn/train --pictures 200000 --repeat-input 6 --keep-input large

Each way runs in a process of its own, and all write to the same disk. The seconds count from when everything is
imported; what a process takes besides, to start, import and exit, stands under "outside". The peak of memory is that
of the largest process; there is none where there is no /proc.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_jobs.sources.svhn.digit_struct import FILE_NAME
from beam_jobs.sources.svhn.source import SOURCE
from benchmarks.common.own_process import choose, fastest
from benchmarks.digit_struct import read_as_usual, read_in_bulk, speed
from benchmarks.prepare.input import count_pictures, make_input, warm
from benchmarks.prepare.job import Job
from benchmarks.prepare.report import Rows, table, targets
from benchmarks.prepare.ways import WAYS, measure
from tfrecords.errors import UserError

_PARSE = "parse"
_PARSED_AS_USUAL = 1000  # entries: 4 s


def main(argv: Sequence[str] | None = None) -> int:
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        only = choose(args.only, [*WAYS, _PARSE])
    except UserError as error:
        parser.error(str(error))
    for folder in (args.output, args.keep_input):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve()
        try:
            source = _input(args, folder)
        except UserError as error:
            parser.error(str(error))
        ways = [name for name in only if name != _PARSE]
        rows = _measure(args, source, ways, folder) if ways else {}
        if rows:
            print(table(rows, args.workers), *targets(rows), sep="\n")
        if _PARSE in only:
            print(_compare_parsers(source))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="folder as SVHN unpacks, or one of its subsets")
    parser.add_argument("--pictures", type=int, help="prepare the first N (default: all), as a subset train")
    parser.add_argument(
        "--repeat-input", type=int, default=1, metavar="TIMES", help="take each picture so often, under new names"
    )
    parser.add_argument(
        "--keep-input",
        type=Path,
        metavar="FOLDER",
        help="where --pictures and --repeat-input make their input, for the next run too: 3 ms a picture",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes or threads (default: 2)")
    parser.add_argument(
        "--peer-pictures",
        type=int,
        default=4000,
        help="at most for WriteToTFRecord and TFDS, which are slow and hold all in memory (default: 4000)",
    )
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join([*WAYS, _PARSE])}")
    parser.add_argument("--repeats", type=int, default=1, help="of all ways in turn; the fastest of each counts")
    parser.add_argument("--output", type=Path, help="folder for a temporary folder (default: the system's)")
    return parser


def _input(args: argparse.Namespace, temporary: Path) -> Path:
    """Returns the folder to prepare: the one that is there, or one made of it.

    Raises:
      UserError: there is none, or it has too few pictures.
    """
    there = count_pictures(args.input) * args.repeat_input
    pictures = args.pictures or there
    if not 0 < pictures <= there:
        raise UserError("--pictures must be 1 to those of the input times --repeat-input.", f"{pictures} of {there}")
    if args.pictures is None and args.repeat_input == 1:
        return Path(args.input).resolve()
    return make_input(args.input, (args.keep_input or temporary / "input").resolve(), pictures)


def _measure(args: argparse.Namespace, source: Path, names: list[str], folder: Path) -> Rows:
    """Returns the fastest run of each way; says on stderr what is going on."""
    warm(source)
    everything = Job(str(source), str(folder / "out"), count_pictures(source), args.workers)
    few = replace(everything, pictures=min(everything.pictures, args.peer_pictures))
    titles = {name: WAYS[name].title.format(workers=args.workers) for name in names}
    return fastest(
        titles, args.repeats, lambda name: measure(name, few if WAYS[name].peer else everything, folder), "pictures"
    )


def _compare_parsers(source: Path) -> str:
    """Measures both ways of reading annotations, here: memory is not at stake."""
    subset = SOURCE.find_subsets(source, ())[0]
    path = Path(subset.folder, FILE_NAME)
    few = min(_PARSED_AS_USUAL, subset.entries)
    naive = speed(read_as_usual, path, few, 1)
    bulk = speed(read_in_bulk, path, subset.entries, 3)
    return (
        f"Annotations alone: h5py's objects one by one {naive:,.0f}/s (the first {few:,}), "
        f"in bulk {bulk:,.0f}/s ({subset.entries:,}): {bulk / naive:,.0f} times"
    )


if __name__ == "__main__":
    sys.exit(main())
