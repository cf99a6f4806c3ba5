"""The output of every benchmark: a Markdown table and one line per target.

print(markdown(("way", "seconds"), [("loop", "1.0")]), verdict(True, "loop: 1.0 s, below 2"), sep="\\n")
"""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Returns a table whose columns line up as text too.

    Args:
      head: Titles of the columns.
      rows: Cells, row by row.
      words: Number of columns, from the left, that are left-aligned; the others are right-aligned.
    """
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if column < words else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    pad = [str.ljust if column < words else str.rjust for column in range(len(head))]
    lines = [_line([fit(cell, width) for fit, cell, width in zip(pad, row, widths, strict=True)]) for row in cells]
    return "\n".join([lines[0], _line(rule), *lines[1:]])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def verdict(met: bool, text: str) -> str:
    """Returns the line of a target: whether it is met, and the text."""
    return f"{'pass' if met else 'FAIL'}  {text}"
