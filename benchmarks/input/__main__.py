"""Measures how fast training batches come from the shards: training_dataset, an upper bound, and other packages.

    python -m benchmarks.input --data svhn-records
    python -m benchmarks.input --data svhn-records --only memory-map,training --repeats 5
    python -m benchmarks.input --data svhn-records --only training --steps 200

Every way gives a shuffled epoch of the training split in batches of 256: uint8 images, lengths, digits, keys. Each
runs in its own process, on one and the same core if the system allows to choose it, with the files in memory already.
The upper bound, a NumPy memory map over arrays of fixed size, only copies. Grain and PyTorch read every feature of a
record; training_dataset reads those that training needs. --steps compares training steps on real input with steps on
batches that are in memory already, on all cores or the first GPU.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tfrecords
from benchmarks.common.own_process import choose, fastest
from benchmarks.common.table import markdown, verdict
from benchmarks.input.pipelines import write_arrays
from benchmarks.input.steps import Steps, compare_steps
from benchmarks.input.ways import ARRAYS, MODULE, WAYS
from benchmarks.readers.job import Job
from benchmarks.readers.ways import Measured, conditions, measure, missing
from tfrecords.errors import UserError

_HEAD = ("way", "checks", "examples", "seconds", "examples/s", "of the memory map", "of training_dataset")
_MINIMUM_PER_S = 90_000
_MINIMUM_OF_IN_MEMORY = 0.95
Rows = dict[str, Measured]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.repeats < 1 or args.steps < 0:
        parser.error(f"--repeats must be at least 1, --steps 0 or more. Received: {args.repeats} and {args.steps}")
    try:
        names = choose(args.only, WAYS)
        job = Job.of(args.data, "train", len(tfrecords.open(args.data, "train")))
        absent = [name for name in names if missing(name, WAYS)]
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output) as folder:
            rows = _measure(job, [name for name in names if name not in absent], args.repeats, Path(folder).resolve())
        print(*report(rows), sep="\n")
        if args.steps:
            print(steps_line(compare_steps(args.data, args.model, args.steps, args.batch_size)))
    except (OSError, UserError) as error:
        parser.error(str(error))
    print(*conditions(absent, WAYS), sep="\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset directory that prepare made")
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all)")
    add("--repeats", type=int, default=3, help="runs per way, in turn; the fastest counts (default: 3)")
    add(
        "--output",
        type=Path,
        help="folder for a temporary folder, which holds the arrays of the memory map (default: the system's)",
    )
    add("--steps", type=int, default=0, help="number of training steps to compare; 0 compares none (default: 0)")
    add("--model", default="compact", help="architecture of the compared steps (default: compact)")
    add("--batch-size", type=int, default=16, help="examples per compared step (default: 16)")
    return parser


def _measure(job: Job, names: list[str], repeats: int, folder: Path) -> Rows:
    """Returns the fastest run of each way, after writing and reading all files once."""
    for path in job.paths:
        path.read_bytes()
    files = {"": ""}
    if any(WAYS[name].files for name in names):
        print(f"writing {ARRAYS} ...", file=sys.stderr)
        files[ARRAYS] = str(write_arrays(job, folder / ARRAYS))
    titles = {name: WAYS[name].title for name in names}
    return fastest(
        titles, repeats, lambda name: measure(name, job.on(files[WAYS[name].files]), folder, MODULE), "examples"
    )


def report(rows: Rows) -> list[str]:
    """Returns the rows as a Markdown table, a note if they cannot be compared, and the line of the target."""
    lines = [markdown(_HEAD, (_cells(name, row, rows) for name, row in rows.items()), words=2), ""]
    if len({row.examples for row in rows.values()}) > 1:
        lines.append("WRONG: not all ways gave the same number of examples.")
    if "training" in rows:
        speed = rows["training"].per_s
        text = f"training_dataset: {speed:,.0f} examples/s, at least {_MINIMUM_PER_S:,}"
        lines.append(verdict(speed >= _MINIMUM_PER_S, text))
    return lines


def _cells(name: str, row: Measured, rows: Rows) -> tuple[str, ...]:
    ratios = (f"{row.per_s / rows[other].per_s:.2f}" if other in rows else "-" for other in ("memory-map", "training"))
    way = WAYS[name]
    return way.title, way.checks, f"{row.examples:,}", f"{row.seconds:.2f}", f"{row.per_s:,.0f}", *ratios


def steps_line(steps: Steps) -> str:
    """Returns the line of the target of steps."""
    text = f"steps on real input against steps in memory: {steps.ratio:.3f}, at least {_MINIMUM_OF_IN_MEMORY:g}"
    return verdict(steps.ratio >= _MINIMUM_OF_IN_MEMORY, f"{text} ({steps.real:.2f} and {steps.in_memory:.2f} steps/s)")


if __name__ == "__main__":
    sys.exit(main())
