"""Measures how fast digitStruct.mat is read: the usual way, with h5py's low-level calls, and in bulk as we do.

    python -m benchmarks.digit_struct svhn/train/digitStruct.mat --first 400

The slow ways read only the first entries. "As usual" is what published readers do: h5py's high-level objects, with
every reference followed.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py

from beam_jobs.sources.svhn.digit_struct import FIELDS, count_entries, read_annotations
from beam_jobs.sources.svhn.entry import read_entry


def read_as_usual(path: Path, count: int) -> int:
    """Reads the first entries through h5py's high-level interface and returns their number."""
    with h5py.File(path) as file:
        names, boxes = file["digitStruct/name"], file["digitStruct/bbox"]
        for index in range(count):
            "".join(map(chr, file[names[index, 0]][:].ravel()))
            group = file[boxes[index, 0]]
            for field in FIELDS:
                values = group[field][:].ravel()
                [float(file[value][0, 0]) if isinstance(value, h5py.Reference) else float(value) for value in values]
    return count


def read_at_low_level(path: Path, count: int) -> int:
    """Reads the first entries through h5py's low-level calls and returns their number."""
    with h5py.File(path) as file:
        columns = [file[f"digitStruct/{column}"][:count].ravel() for column in ("name", "bbox")]
        for index, references in enumerate(zip(*columns, strict=True)):
            read_entry(file, "train", index, references, "left")
    return count


def read_in_bulk(path: Path, count: int) -> int:
    """Reads the first entries as the project does and returns their number."""
    return sum(1 for _ in read_annotations(path, "train", 0, count))


def speed(read: Callable[[Path, int], int], path: Path, count: int, repeats: int) -> float:
    """Returns pictures/s of the fastest repeat; the others were disturbed."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = read(path, count)
        times.append((time.perf_counter() - start) / done)
    return 1 / min(times)


def peak_mib() -> float:
    """Returns the peak memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)  # in bytes on macOS, in KiB elsewhere


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="path of a digitStruct.mat")
    parser.add_argument("--first", type=int, default=400, help="entries that the slow ways read (default: 400)")
    parser.add_argument("--repeats", type=int, default=3, help="runs per way; the fastest counts (default: 3)")
    return parser


def main() -> None:
    """Runs the benchmark and prints its table."""
    args = make_parser().parse_args()
    count = count_entries(args.path)
    first = min(args.first, count)
    ways = [  # ours first, since the peak memory of a process never falls
        ("ours, in bulk", read_in_bulk, count),
        ("low-level h5py", read_at_low_level, first),
        ("high-level h5py, as usual", read_as_usual, first),
    ]
    before = peak_mib()
    rows = []
    for name, read, entries in ways:
        rows.append((name, entries, speed(read, args.path, entries, args.repeats), peak_mib()))
    usual = rows[-1][2]
    print(f"{'way':<26}{'pictures':>9}{'pictures/s':>12}{'ratio':>8}{'peak MiB':>10}")
    for name, entries, per_s, peak in rows:
        print(f"{name:<26}{entries:>9}{per_s:>12,.0f}{per_s / usual:>8.1f}{peak:>10.0f}")
    print(f"Memory before the first: {before:.0f} MiB. File: {args.path.stat().st_size / 1024**2:.0f} MiB.")


if __name__ == "__main__":
    main()
