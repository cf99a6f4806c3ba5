"""Measures the watcher (`python -m beam_jobs watch`), and checks its promises while it is killed.

    python -m benchmarks.watch
    python -m benchmarks.watch --kills 200 --drops 1000 --seed 7
    python -m benchmarks.watch --kills 0 --latency 60 --backlog 20000 --memory 300 --history 10000

The soak draws small labelled batches and drops them in seven ways: renamed when complete; file by file, with stalls;
with `_SUCCESS` at the end; as a copy of an earlier batch; with half of the annotations, and the rest later or never;
with a picture that comes late; and corrections of earlier batches. Meanwhile the watcher is killed with SIGKILL at
random moments and started again, and a reader takes 50 random records of the newest snapshot again and again. At the
end every promise is checked, each with `pass` or `FAIL`. The exit code is 1 if one is broken or a goal is missed.

Times by the clock depend on what else the machine does; processor time and ratios depend less on it.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.common.table import markdown, verdict
from benchmarks.watch.figures import Figure, backlog, history, latency, memory_and_files
from benchmarks.watch.promises import Promise, check_soak
from benchmarks.watch.soak import run_soak
from tfrecords.errors import UserError

_HEAD = ("measured", "found", "goal", "")
_MODES: dict[str, tuple[Callable[[Path, int], Iterator[Figure]], str]] = {
    "latency": (latency, "number of batches whose time from arrival to snapshot is measured"),
    "backlog": (backlog, "number of pictures of a full inbox, whose rate is compared with prepare's"),
    "memory": (memory_and_files, "number of small generations over which memory and files are counted"),
    "history": (history, "number of ledger entries whose cost is compared with that of ten"),
}


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="kills of the soak; 0 leaves it out (default: 30)")
    parser.add_argument("--drops", type=int, default=100, help="batches of the soak (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the soak (default: 0)")
    for name, (_, text) in _MODES.items():
        parser.add_argument(f"--{name}", type=int, default=0, metavar="N", help=f"{text}; 0 leaves it out")
    parser.add_argument("--output", type=Path, metavar="DIR", help="new folder for what is made, which is kept then")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its lines and its table, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    counts = [args.kills, args.drops, *(getattr(args, name) for name in _MODES)]
    if min(counts) < 0 or args.drops < 1:
        parser.error(f"Numbers must be 0 or more, and --drops 1 or more. Received: {min(counts)}")
    if args.output and args.output.exists():
        parser.error(f"--output must be a new folder. Received: {args.output}")
    folder = args.output or Path(tempfile.mkdtemp(prefix="benchmark-watch-"))
    try:
        good = _print_soak(folder / "soak", args.kills, args.drops, args.seed) if args.kills else True
        figures = [
            figure
            for name, (measure, _) in _MODES.items()
            if getattr(args, name)
            for figure in measure(folder / name, getattr(args, name))
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if not args.output:
            shutil.rmtree(folder, ignore_errors=True)
    if figures:
        print(markdown(_HEAD, [(each.what, each.found, each.goal, _word(each)) for each in figures]))
    return 0 if good and all(each.is_met for each in figures) else 1


def _word(figure: Figure) -> str:
    return "pass" if figure.is_met else "FAIL"


def _print_soak(folder: Path, kills: int, drops: int, seed: int) -> bool:
    """Runs the soak and prints a line for each promise; returns whether all are kept."""
    promises: list[Promise] = []
    soak = run_soak(folder, kills, drops, seed)
    print(f"{kills} kills, {drops} batches, seed {seed}")
    for promise in check_soak(soak):
        print(verdict(not promise.faults, str(promise)), flush=True)
        promises.append(promise)
    return not any(promise.faults for promise in promises)


if __name__ == "__main__":
    sys.exit(main())
