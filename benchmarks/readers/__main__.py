"""How fast examples are read: each of our doors, tf.data, and other packages' readers, on the same pictures.

    python -m benchmarks.readers --data svhn-records --split train
    python -m benchmarks.readers --data svhn-records --split train --only tf.data,open,random --repeats 5

Every way reads all features of the same examples in a process of its own, on one and the same core where the system
lets it be chosen. The files are in memory already. Before the clock starts everything is imported and opened and a
first batch was read; the fastest of the repeats counts. "of tf.data" is the ratio to the first way, which stops at
TensorFlow's tensors: nobody turns them into NumPy arrays.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.own_process import choose, fastest
from benchmarks.readers.files import make
from benchmarks.readers.job import Job
from benchmarks.readers.report import Rows, table, targets
from benchmarks.readers.ways import WAYS, conditions, measure, missing
from tfrecords.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    parser = _make_parser()
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


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset directory that prepare made")
    parser.add_argument("--split", default="train", help="to read; pictures of one size (default: train)")
    parser.add_argument("--examples", type=int, default=20_000, help="the first N, or all (default: 20000)")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--repeats", type=int, default=3, help="of all ways in turn; the fastest counts (default: 3)")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for a temporary folder, which gets the pictures in other packages' formats: some 10 kB a "
        "picture and format (default: the system's)",
    )
    return parser


def _measure(job: Job, names: list[str], repeats: int, folder: Path) -> Rows:
    """Returns the fastest run of each way, after all files are made and read once."""
    for path in job.paths:
        path.read_bytes()
    files = {}
    for name in names:
        kind = WAYS[name].files
        if kind and kind not in files:
            print(f"writing {kind} ...", file=sys.stderr)
            files[kind] = str(make(kind, job, folder))
    titles = {name: WAYS[name].title for name in names}
    return fastest(
        titles, repeats, lambda name: measure(name, job.on(files.get(WAYS[name].files, "")), folder), "examples"
    )


if __name__ == "__main__":
    sys.exit(main())
