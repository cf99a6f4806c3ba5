"""The table of `benchmarks.prepare`, and what its rows are held against.

    print(table(rows, workers=2), *targets(rows), sep="\\n")

prints both.
"""

from benchmarks.common.table import markdown, verdict
from benchmarks.prepare.ways import WAYS, Measured

Rows = dict[str, Measured]

_HEAD = ("way", "pictures", "examples", "seconds", "pictures/s", "of the loop", "peak MB", "outside s")
_LARGE = 200_000  # pictures: by then starting workers no longer shows
_RATIOS = (
    ("in process against the loop", "prepare", "loop", 0.95),
    ("worker processes against the loop", "prepare-processes", "loop", 1.45),
    ("kernel against Pillow and protobuf", "loop", "pillow", 2),
    ("in process against WriteToTFRecord", "prepare", "write-to-tfrecord", 2.5),
)
_OF_LARGE = {"prepare-processes": 1.7}
_MB_BELOW = 400


def table(rows: Rows, workers: int) -> str:
    """Returns the rows as a Markdown table, and below it what it does not show."""
    lines = [markdown(_HEAD, (_cells(name, row, rows, workers) for name, row in rows.items())), ""]
    examples: dict[int, set[int]] = {}
    for row in rows.values():
        examples.setdefault(row.pictures, set()).add(row.examples)
    if len(examples) > 1:
        few = min(examples)
        lines.append(f"Slow ways, which hold all pictures in memory, got the first {few:,}: compare their pictures/s.")
    if any(len(numbers) > 1 for numbers in examples.values()):
        lines.append("WRONG: not all ways made the same number of examples of the same pictures.")
    return "\n".join(lines)


def _cells(name: str, row: Measured, rows: Rows, workers: int) -> tuple[str, ...]:
    return (
        WAYS[name].title.format(workers=workers),
        f"{row.pictures:,}",
        f"{row.examples:,}",
        f"{row.seconds:.1f}",
        f"{row.per_s:,.0f}",
        f"{row.per_s / rows['loop'].per_s:.2f}" if "loop" in rows else "-",
        f"{row.peak_mb:,.0f}" if row.peak_mb else "-",
        f"{row.outside_s:.1f}",
    )


def targets(rows: Rows) -> list[str]:
    """Returns a line for each target whose rows are there: what it is, what it must be, whether it is met."""
    lines = []
    for title, name, other, at_least in _RATIOS:
        if name in rows and other in rows:
            large = rows[name].pictures >= _LARGE
            wanted = _OF_LARGE.get(name, at_least) if large else at_least
            ratio = rows[name].per_s / rows[other].per_s
            where = f" ({rows[name].pictures:,} pictures)" if name in _OF_LARGE else ""
            lines.append(verdict(ratio >= wanted, f"{title}{where}: {ratio:.2f}, at least {wanted:g}"))
    peaks = [row.peak_mb for name, row in rows.items() if name.startswith("prepare") and row.peak_mb]
    if peaks:
        lines.append(
            verdict(max(peaks) < _MB_BELOW, f"prepare's largest process: {max(peaks):,.0f} MB, below {_MB_BELOW}")
        )
    return lines
