"""How fast a model's batches come from the shards: training_dataset beside a bound, and beside other packages.

    python -m benchmarks.input --data svhn-records
    python -m benchmarks.input --data svhn-records --only memory-map,training --repeats 5
    python -m benchmarks.input --data svhn-records --only training --steps 200

Every way gives a shuffled epoch of the training split in batches of 256: uint8 pictures, lengths, digits, keys. Each
runs in a process of its own, on one and the same core where the system lets it be chosen, with the files in memory
already. The bound, a NumPy memory map over arrays of fixed size, only copies. Grain and PyTorch read every feature of
a record; training_dataset reads those that training needs. --steps compares training steps on real input with steps
on batches that are in memory already, on all cores or the first GPU.
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
_PER_S = 90_000
_OF_IN_MEMORY = 0.95
Rows = dict[str, Measured]


def main(argv: Sequence[str] | None = None) -> int:
    parser = _make_parser()
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


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset directory that prepare made")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--repeats", type=int, default=3, help="of all ways in turn; the fastest counts (default: 3)")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for a temporary folder, which gets the arrays of the memory map (default: the system's)",
    )
    parser.add_argument("--steps", type=int, default=0, help="training steps to compare; 0: none (default)")
    parser.add_argument("--model", default="compact", help="whose steps (default: compact)")
    parser.add_argument("--batch-size", type=int, default=16, help="examples a step (default: 16)")
    return parser


def _measure(job: Job, names: list[str], repeats: int, folder: Path) -> Rows:
    """Returns the fastest run of each way, after all files are made and read once."""
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
    """Returns the rows as a Markdown table, whether they can be compared, and whether the target is met."""
    lines = [markdown(_HEAD, (_cells(name, row, rows) for name, row in rows.items()), words=2), ""]
    if len({row.examples for row in rows.values()}) > 1:
        lines.append("WRONG: not all ways gave the same number of examples.")
    if "training" in rows:
        speed = rows["training"].per_s
        lines.append(verdict(speed >= _PER_S, f"training_dataset: {speed:,.0f} examples/s, at least {_PER_S:,}"))
    return lines


def _cells(name: str, row: Measured, rows: Rows) -> tuple[str, ...]:
    ratios = (f"{row.per_s / rows[other].per_s:.2f}" if other in rows else "-" for other in ("memory-map", "training"))
    way = WAYS[name]
    return way.title, way.checks, f"{row.examples:,}", f"{row.seconds:.2f}", f"{row.per_s:,.0f}", *ratios


def steps_line(steps: Steps) -> str:
    """Returns the line of the target for steps."""
    text = f"steps on real input against steps in memory: {steps.ratio:.3f}, at least {_OF_IN_MEMORY:g}"
    return verdict(steps.ratio >= _OF_IN_MEMORY, f"{text} ({steps.real:.2f} and {steps.in_memory:.2f} steps/s)")


if __name__ == "__main__":
    sys.exit(main())
