"""How fast digitStruct.mat is read: the usual way, h5py's low-level calls, and ours.

    python benchmarks/digit_struct.py svhn/train/digitStruct.mat [--first 400]

The slow ways read the first entries only. "Usual" is what the published readers do: h5py's
high-level objects, every reference followed.
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
    """Reads the first entries through h5py's high-level interface and returns how many there were."""
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
    """Reads the first entries through h5py's low-level calls and returns how many there were."""
    with h5py.File(path) as file:
        columns = [file[f"digitStruct/{column}"][:count].ravel() for column in ("name", "bbox")]
        for index, references in enumerate(zip(*columns, strict=True)):
            read_entry(file, "train", index, references, "left")
    return count


def read_in_bulk(path: Path, count: int) -> int:
    """Reads the first entries as the project does and returns how many there were."""
    return sum(1 for _ in read_annotations(path, "train", 0, count))


def speed(read: Callable[[Path, int], int], path: Path, count: int, repeats: int) -> float:
    """Returns pictures/s, of the fastest of some repeats: the others were disturbed."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = read(path, count)
        times.append((time.perf_counter() - start) / done)
    return 1 / min(times)


def peak_mib() -> float:
    """Returns the most memory that this process has had so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)  # bytes there, KiB elsewhere


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a digitStruct.mat")
    parser.add_argument("--first", type=int, default=400, help="entries for the slow ways (default: 400)")
    parser.add_argument("--repeats", type=int, default=3, help="of each way; the fastest counts (default: 3)")
    args = parser.parse_args()
    count = count_entries(args.path)
    first = min(args.first, count)
    ways = [  # ours first: a process's peak of memory does not fall again
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
    print(f"Before the first: {before:.0f} MiB. File: {args.path.stat().st_size / 1024**2:.0f} MiB.")


if __name__ == "__main__":
    main()
