"""Runs the digit systems end to end, prepare, train and evaluate, and prints their table.

    python -m benchmarks.systems
    python -m benchmarks.systems --data ../shared/data --only mnist_cnn_1,optdigits_cnn --seeds 3
    python -m benchmarks.systems --seeds 3 --curves docs/systems-curves.svg

The data folder has one folder of pictures per source: mnist, optdigits and svhn_photos. A system whose folder is
missing is skipped, and named at the end. A finished run is not trained again, and a stopped one is resumed. Records,
runs and results are in the folder of --output, with the table as systems.md and systems.json. Minutes are those of the
training, on a machine that may be busy with other work: compare processor minutes, which are summed over all cores.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.own_process import choose
from benchmarks.systems.catalogue import DATASETS, SYSTEMS, require_pictures
from benchmarks.systems.run import Result, run_system
from benchmarks.systems.table import table, targets, write_tables
from tfrecords.errors import UserError

_DATA = os.environ.get("DIGITS_TEST_DATA", "../shared/data")
_DEFAULT_OUTPUT = "examples"


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folders = ", ".join(dataset.folder for dataset in DATASETS.values())
    add = parser.add_argument
    add("--data", type=Path, default=_DATA, help=f"folder with {folders} (default: $DIGITS_TEST_DATA, or {_DATA})")
    add("--only", metavar="NAME,...", help=f"systems to run, out of {', '.join(SYSTEMS)} (default: all)")
    add(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="number of runs per system, with seeds 0 to N - 1 (default: 1)",
    )
    add("--output", type=Path, default=_DEFAULT_OUTPUT, help=f"folder for all files (default: {_DEFAULT_OUTPUT})")
    add("--curves", type=Path, metavar="FILE", help="SVG file for the learning curves of the first seed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the systems, prints and writes their table, and returns the exit code: 1 if a command failed."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    try:
        names = choose(args.only, SYSTEMS)
    except UserError as error:
        parser.error(str(error))
    # The commands run in the repository's folder.
    data, output = args.data.absolute(), args.output.absolute()
    skipped, failed = _missing(names, data), {}
    rows: dict[str, list[Result]] = {}
    for name in (name for name in names if name not in skipped):
        try:
            rows[name] = [run_system(name, data, output, seed) for seed in range(args.seeds)]
        except (RuntimeError, UserError) as error:
            failed[name] = f"{name} failed: {error}"
            print(f"error: {failed[name]}", file=sys.stderr)
    if rows:
        print("", table(rows), "", *targets(rows), sep="\n")
        print("The table is in", " and ".join(map(str, write_tables(rows, {**skipped, **failed}, output))))
    print(*skipped.values(), sep="\n", end="\n" * bool(skipped))
    print(f"Of {len(names)} systems {len(rows)} ran, {len(skipped)} were skipped, {len(failed)} failed.")
    if args.curves and rows:
        _draw(rows, output, args.curves)
    return int(bool(failed))


def _missing(names: Sequence[str], data: Path) -> dict[str, str]:
    """Returns the reasons to skip systems whose pictures are not there, by system."""
    reasons = {}
    for name in names:
        try:
            require_pictures(name, data)
        except UserError as error:
            reasons[name] = f"{name} was skipped: {error}"
    return reasons


def _draw(rows: dict[str, list[Result]], output: Path, path: Path) -> None:
    from benchmarks.systems.curves import draw_curves

    draw_curves({name: results[0] for name, results in rows.items()}, output, path)
    print(f"The learning curves are in {path}.")


if __name__ == "__main__":
    sys.exit(main())
