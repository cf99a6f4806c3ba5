"""What every benchmark prints: a Markdown table, and a line for each target.

print(markdown(("way", "seconds"), [("loop", "1.0")]), verdict(True, "loop: 1.0 s, below 2"), sep="\\n")
"""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Returns a table whose columns line up as text too: the first `words` to the left, all others to the right."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if place < words else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    pad = [str.ljust if place < words else str.rjust for place in range(len(head))]
    lines = [_line([fit(cell, width) for fit, cell, width in zip(pad, row, widths, strict=True)]) for row in cells]
    return "\n".join([lines[0], _line(rule), *lines[1:]])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def verdict(met: bool, text: str) -> str:
    """Returns the line of a target."""
    return f"{'pass' if met else 'FAIL'}  {text}"
