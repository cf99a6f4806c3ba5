"""Measures how fast each source reads its annotations, against the library call that it replaces.

    python -m benchmarks.sources
    python -m benchmarks.sources --only table,coco --entries 200000 --repeats 3

For each source a file, or a folder of files, with that many entries is written. Every way then reads all of them in its
own process, by turns; the fastest of the repeats counts. Seconds are processor time of all threads, which other work on
the machine changes less; only `places`, which waits for a server, is measured by the clock. Ours includes finding the
subsets, the digest of the annotations, every check and every annotation of every range. The library call stops at the
library's own objects; for tables at rows, since the script that ours replaces is `read_csv` and a loop over its rows.
`read_csv` alone, which leaves columns, has a line of its own. "MB" is the largest memory while reading, imports
included.
"""

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchmarks.sources as package
from benchmarks.common.own_process import choose, fastest, run_way, serve_way
from benchmarks.common.table import markdown, verdict
from tfrecords.errors import UserError

SOURCES = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
_OURS = "ours"
_MOST_MB = 1000
"""Largest memory that reading 200,000 entries may take."""
_HEAD = ("source", "way", "entries", "seconds", "entries/s", "of the library", "MB")


@dataclass(frozen=True)
class Job:
    """What a way reads: the entries of a source, written to a folder of the process's own."""

    source: str
    entries: int
    folder: str


@dataclass(frozen=True)
class Measured:
    """One run of a way: entries read, seconds of the source's clock and bytes of memory."""

    entries: int
    seconds: float
    peak: int

    @property
    def per_s(self) -> float:
        """Entries per second."""
        return self.entries / self.seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.entries < 1 or args.repeats < 1:
        parser.error(f"--entries and --repeats must be at least 1. Received: {args.entries} and {args.repeats}")
    try:
        names = choose(args.only, SOURCES)
    except UserError as error:
        parser.error(str(error))
    rows = {name: _measure(name, args.entries, args.repeats) for name in names}
    print(markdown(_HEAD, [line for name, ways in rows.items() for line in _lines(name, ways)], words=2))
    for name, ways in rows.items():
        print(*_targets(name, ways), sep="\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="A,B", help=f"sources to measure, of {', '.join(SOURCES)}")
    parser.add_argument("--entries", type=int, default=20_000, help="entries per source (default: 20000)")
    parser.add_argument("--repeats", type=int, default=2, help="runs per way (default: 2)")
    return parser


def _measure(source: str, entries: int, repeats: int) -> dict[str, Measured]:
    """Returns the fastest run of each way of a source, by the way's title."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        job = Job(source, entries, folder)
        titles, _, _ = run_way("benchmarks.sources", "", job, Path(folder))

        def measure(title: str) -> Measured:
            result, _, _ = run_way("benchmarks.sources", title, job, Path(folder))
            return Measured(**result)

        return fastest({title: f"{source}: {title}" for title in titles}, repeats, measure, "entries")


def _lines(source: str, ways: dict[str, Measured]) -> list[Sequence[str]]:
    library = next((run for title, run in ways.items() if title != _OURS), None)
    return [
        (
            source,
            title,
            f"{run.entries:,}",
            f"{run.seconds:.2f}",
            f"{run.per_s:,.0f}",
            f"{run.per_s / library.per_s:.2f}" if library else "",
            f"{run.peak / 1e6:,.0f}",
        )
        for title, run in ways.items()
    ]


def _targets(source: str, ways: dict[str, Measured]) -> list[str]:
    ours, others = ways.get(_OURS), [run for title, run in ways.items() if title != _OURS]
    if ours is None:
        return []
    lines = [verdict(ours.peak < _MOST_MB * 1e6, f"{source}: {ours.peak / 1e6:,.0f} MB, at most {_MOST_MB:,}")]
    if others:
        ratio = ours.per_s / others[0].per_s
        lines.append(verdict(ratio >= 1, f"{source}: {ratio:.2f} of the library call, at least 1"))
    return lines


def work(title: str, job: dict[str, Any]) -> Any:
    """Writes the entries and reads them one way; without a title, returns the titles of the ways.

    Args:
      title: Title of the way.
      job: Fields of a `Job`.
    """
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        module = importlib.import_module(f"benchmarks.sources.{job['source']}")
        ways = module.ways(Path(folder), job["entries"])
        if not title:
            return list(ways)
        _forget_peak()
        clock = getattr(module, "CLOCK", time.process_time)
        start = clock()
        entries = ways[title]()
        seconds = clock() - start
        return {"entries": entries, "seconds": seconds, "peak": _peak()}


def _forget_peak() -> None:
    """Makes Linux count the largest memory of this process anew (proc(5), clear_refs)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def _peak() -> int:
    """Returns the largest memory of this process, bytes; 0 without /proc."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[2].startswith("{"):
        serve_way(work)
    else:
        sys.exit(main())
