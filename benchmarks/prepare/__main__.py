"""Measures how fast pictures become TFRecords: a bare loop, prepare in each of its ways, and other pipelines.

    python -m benchmarks.prepare --input svhn/train
    python -m benchmarks.prepare --input svhn/train --pictures 16000 --only loop,prepare --repeats 3
    python -m benchmarks.prepare --input svhn/train --pictures 200000 --repeat-input 6 --keep-input large

Each way runs in its own process, and all write to the same disk. The seconds count from the last import; the column
"outside s" has the time that the process takes in addition, to start, import and exit. The peak memory is that of the
largest process; it is missing on systems without /proc.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.svhn.digit_struct import FILE_NAME
from beam_jobs.sources.svhn.source import SOURCE
from benchmarks.common.own_process import choose, fastest
from benchmarks.common.table import markdown, verdict
from benchmarks.digit_struct import read_as_usual, read_in_bulk, speed
from benchmarks.prepare.job import Job
from benchmarks.prepare.make_input import count_pictures, make_input, warm
from benchmarks.prepare.ways import WAYS, Measured, measure
from tfrecords.errors import UserError
from tfrecords.files.place import Place

Rows = dict[str, Measured]

_PARSE = "parse"
_PARSED_AS_USUAL = 1000
"""Entries that the slow parser reads: 4 s."""
_HEAD = ("way", "pictures", "examples", "seconds", "pictures/s", "of the loop", "processor s", "peak MB", "outside s")
_LARGE = 200_000
"""Pictures from which on starting workers no longer matters."""
_RATIOS = (
    ("1 worker against the loop", "prepare", "loop", 1.0),
    ("workers against bare processes", "prepare-workers", "processes", 0.92),
    ("workers against bare processes with SHA-256 and fsync", "prepare-workers", "lasting-processes", 0.92),
    ("kernel against Pillow and protobuf", "loop", "pillow", 2),
    ("1 worker against WriteToTFRecord", "prepare", "write-to-tfrecord", 2.5),
)
"""Targets: title, way, way that it is compared with, minimum ratio."""
_MINIMUM_IF_LARGE = {"prepare-workers": 0.97}
_MAXIMUM_MB = 300


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
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


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder as SVHN unpacks, or one of its subsets")
    add("--pictures", type=int, help="number of pictures to prepare, as a subset train (default: all)")
    add("--repeat-input", type=int, default=1, metavar="TIMES", help="copies of each picture, under new names")
    add(
        "--keep-input",
        type=Path,
        metavar="FOLDER",
        help="folder for the input that --pictures and --repeat-input make, reused by the next run: 3 ms per picture",
    )
    add("--workers", type=int, default=2, help="number of processes or threads (default: 2)")
    add(
        "--peer-pictures",
        type=int,
        default=4000,
        help="maximum number of pictures for WriteToTFRecord and TFDS, which are slow and hold all in memory "
        "(default: 4000)",
    )
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join([*WAYS, _PARSE])} (default: all)")
    add("--repeats", type=int, default=1, help="runs per way, in turn; the fastest counts (default: 1)")
    add("--output", type=Path, help="folder for a temporary folder (default: the system's)")
    return parser


def _input(args: argparse.Namespace, temporary: Path) -> Path:
    """Returns the folder to prepare: the given one, or one made from it.

    Raises:
      UserError: The input has no pictures, or too few.
    """
    available = count_pictures(args.input) * args.repeat_input
    pictures = args.pictures or available
    if not 0 < pictures <= available:
        raise UserError(
            "--pictures must be 1 to those of the input times --repeat-input.", f"{pictures} of {available}"
        )
    if args.pictures is None and args.repeat_input == 1:
        return Path(args.input).resolve()
    return make_input(args.input, (args.keep_input or temporary / "input").resolve(), pictures)


def _measure(args: argparse.Namespace, source: Path, names: list[str], folder: Path) -> Rows:
    """Returns the fastest run of each way; prints progress on standard error."""
    warm(source)
    full = Job(str(source), str(folder / "out"), count_pictures(source), args.workers)
    reduced = replace(full, pictures=min(full.pictures, args.peer_pictures))
    titles = {name: WAYS[name].title.format(workers=args.workers) for name in names}
    return fastest(
        titles, args.repeats, lambda name: measure(name, reduced if WAYS[name].peer else full, folder), "pictures"
    )


def table(rows: Rows, workers: int) -> str:
    """Returns the rows as a Markdown table, followed by notes on what can be compared."""
    lines = [markdown(_HEAD, (_cells(name, row, rows, workers) for name, row in rows.items())), ""]
    examples: dict[int, set[int]] = {}
    for row in rows.values():
        examples.setdefault(row.pictures, set()).add(row.examples)
    if len(examples) > 1:
        fewest = min(examples)
        lines.append(f"Slow ways, which hold all pictures in memory, got the first {fewest:,}: compare pictures/s.")
    if any(len(counts) > 1 for counts in examples.values()):
        lines.append("WRONG: not all ways made the same number of examples from the same pictures.")
    return "\n".join(lines)


def _cells(name: str, row: Measured, rows: Rows, workers: int) -> tuple[str, ...]:
    return (
        WAYS[name].title.format(workers=workers),
        f"{row.pictures:,}",
        f"{row.examples:,}",
        f"{row.seconds:.1f}",
        f"{row.per_s:,.0f}",
        f"{row.per_s / rows['loop'].per_s:.2f}" if "loop" in rows else "-",
        f"{row.processor_s:.1f}",
        f"{row.peak_mb:,.0f}" if row.peak_mb else "-",
        f"{row.outside_s:.1f}",
    )


def targets(rows: Rows) -> list[str]:
    """Returns a line for each target with rows: its ratio, the minimum, and whether it is met."""
    lines = []
    for title, name, other, minimum in _RATIOS:
        if name in rows and other in rows:
            is_large = rows[name].pictures >= _LARGE
            wanted = _MINIMUM_IF_LARGE.get(name, minimum) if is_large else minimum
            ratio = rows[name].per_s / rows[other].per_s
            size = f" ({rows[name].pictures:,} pictures)" if name in _MINIMUM_IF_LARGE else ""
            lines.append(verdict(ratio >= wanted, f"{title}{size}: {ratio:.2f}, at least {wanted:g}"))
    peaks = [row.peak_mb for name, row in rows.items() if name in ("prepare", "prepare-workers") and row.peak_mb]
    if peaks:
        text = f"prepare's largest process: {max(peaks):,.0f} MB, below {_MAXIMUM_MB}"
        lines.append(verdict(max(peaks) < _MAXIMUM_MB, text))
    return lines


def _compare_parsers(source: Path) -> str:
    """Returns a line with the speeds of both parsers of annotations, measured in this process."""
    subset = SOURCE.find_subsets(Input(Place(source)), SourceOptions())[0]
    path = Path(subset.path, FILE_NAME)
    few = min(_PARSED_AS_USUAL, subset.entries)
    naive = speed(read_as_usual, path, few, 1)
    bulk = speed(read_in_bulk, path, subset.entries, 3)
    return (
        f"Annotations alone: h5py's objects one by one {naive:,.0f}/s (the first {few:,}), "
        f"in bulk {bulk:,.0f}/s ({subset.entries:,}): {bulk / naive:,.0f} times"
    )


if __name__ == "__main__":
    sys.exit(main())
