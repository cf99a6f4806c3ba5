"""The table of `benchmarks.readers`, and what its rows are held against.

    print(table(rows), *targets(rows), sep="\\n")

prints both.
"""

from benchmarks.common.table import markdown, verdict
from benchmarks.readers.ways import WAYS, Measured

Rows = dict[str, Measured]

_YARDSTICK = "tf.data"
_HEAD = ("way", "gives", "checks", "examples", "seconds", "examples/s", f"of {_YARDSTICK}")
_WORDS = 3  # columns
_OF_YARDSTICK = 0.8
_RANDOM_PER_S = 50_000


def table(rows: Rows) -> str:
    """Returns the rows as a Markdown table, and below it whether they can be compared."""
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
    """Returns a line for each target whose rows are there: what it is, what it must be, whether it is met."""
    lines = []
    if "open" in rows and _YARDSTICK in rows:
        ratio = rows["open"].per_s / rows[_YARDSTICK].per_s
        text = f"in order against {_YARDSTICK}: {ratio:.2f}, at least {_OF_YARDSTICK:g}"
        lines.append(verdict(ratio >= _OF_YARDSTICK, text))
    if "random" in rows:
        speed = rows["random"].per_s
        text = f"random access: {speed:,.0f} examples/s, at least {_RANDOM_PER_S:,}"
        lines.append(verdict(speed >= _RANDOM_PER_S, text))
    return lines
