"""Measures how fast examples are read: our readers, tf.data, and other packages' readers, on the same images.

    python -m benchmarks.readers --data svhn-records --split train
    python -m benchmarks.readers --data svhn-records --split train --only tf.data,open,random --repeats 5

Every way reads all features of the same examples in its own process, on one and the same core if the system allows to
choose it. The files are in memory already. The clock starts when everything is imported and opened and a first batch
was read; the fastest of the repeats counts. "of tf.data" is the ratio to the first way, which stops at TensorFlow's
tensors and never converts them to NumPy arrays.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.own_process import choose, fastest
from benchmarks.common.table import markdown, verdict
from benchmarks.readers.job import Job
from benchmarks.readers.peers import make_file
from benchmarks.readers.ways import WAYS, Measured, conditions, measure, missing
from tfrecords.errors import UserError

Rows = dict[str, Measured]

_YARDSTICK = "tf.data"
_HEAD = ("way", "gives", "checks", "examples", "seconds", "examples/s", f"of {_YARDSTICK}")
_WORDS = 3
"""Columns of words."""
_MINIMUM_RATIO = 0.8
"""Minimum speed in order, of tf.data's."""
_MINIMUM_RANDOM_PER_S = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.examples < 1 or args.repeats < 1:
        parser.error(f"--examples and --repeats must be at least 1. Received: {args.examples} and {args.repeats}")
    try:
        names = choose(args.only, WAYS)
        job = Job.of(args.data, args.split, args.examples)
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
        absent = [name for name in names if missing(name)]
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output, ignore_cleanup_errors=True) as folder:
            rows = _measure(job, [name for name in names if name not in absent], args.repeats, Path(folder).resolve())
    except (OSError, UserError) as error:
        parser.error(str(error))
    if rows:
        print(table(rows), *targets(rows), sep="\n")
    print(*conditions(absent), sep="\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset directory that prepare made")
    add("--split", default="train", help="split to read, with images of one size (default: train)")
    add("--examples", type=int, default=20_000, help="maximum number of examples, from the first (default: 20000)")
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all)")
    add("--repeats", type=int, default=3, help="runs per way, in turn; the fastest counts (default: 3)")
    add(
        "--output",
        type=Path,
        help="folder for a temporary folder, which holds the images in other packages' formats: about 10 kB per "
        "image and format (default: the system's)",
    )
    return parser


def _measure(job: Job, names: list[str], repeats: int, folder: Path) -> Rows:
    """Returns the fastest run of each way, after writing and reading all files once."""
    for path in job.paths:
        path.read_bytes()
    files = {"": ""}
    for kind in dict.fromkeys(WAYS[name].files for name in names):
        if kind:
            print(f"writing {kind} ...", file=sys.stderr)
            files[kind] = str(make_file(kind, job, folder))
    titles = {name: WAYS[name].title for name in names}
    return fastest(titles, repeats, lambda name: measure(name, job.on(files[WAYS[name].files]), folder), "examples")


def table(rows: Rows) -> str:
    """Returns the rows as a Markdown table, followed by a note if they cannot be compared."""
    lines = [markdown(_HEAD, (_cells(name, row, rows) for name, row in rows.items()), _WORDS), ""]
    if len({row.examples for row in rows.values()}) > 1:
        lines.append("WRONG: not all ways read the same number of examples.")
    return "\n".join(lines)


def _cells(name: str, row: Measured, rows: Rows) -> tuple[str, ...]:
    way = WAYS[name]
    return (
        way.title,
        way.gives,
        way.checks,
        f"{row.examples:,}",
        f"{row.seconds:.2f}",
        f"{row.per_s:,.0f}",
        f"{row.per_s / rows[_YARDSTICK].per_s:.2f}" if _YARDSTICK in rows else "-",
    )


def targets(rows: Rows) -> list[str]:
    """Returns a line for each target with rows: its value, the minimum, and whether it is met."""
    lines = []
    if "open" in rows and _YARDSTICK in rows:
        ratio = rows["open"].per_s / rows[_YARDSTICK].per_s
        text = f"in order against {_YARDSTICK}: {ratio:.2f}, at least {_MINIMUM_RATIO:g}"
        lines.append(verdict(ratio >= _MINIMUM_RATIO, text))
    if "random" in rows:
        speed = rows["random"].per_s
        text = f"random access: {speed:,.0f} examples/s, at least {_MINIMUM_RANDOM_PER_S:,}"
        lines.append(verdict(speed >= _MINIMUM_RANDOM_PER_S, text))
    return lines


if __name__ == "__main__":
    sys.exit(main())
