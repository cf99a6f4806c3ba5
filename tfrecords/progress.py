"""Progress of a command on standard error: a bar on a terminal, and one line per 10 % in a log file or a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO, TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
_PARTS = 10
"""Number of lines from the start to the end."""


class Progress(AbstractContextManager["Progress"], Protocol):
    """What is done of a known total. A context manager: a bar is removed or ended with its block."""

    def move_to(self, done: int) -> None:
        """Sets what is done; it may move back, when something is tried again."""

    def update(self, count: int = 1) -> None:
        """Adds to what is done."""

    def rename(self, name: str) -> None:
        """Changes the name in front of the bar or the lines."""

    def note(self, text: str) -> None:
        """Sets the text after a bar, which it shows with its next step; lines have none."""


def progress(name: str, total: int | None, unit: str, *, done: int = 0, keep: bool = True) -> Progress:
    """Returns the progress of a command, a bar if standard error is a terminal.

    Args:
      name: Name in front of it.
      total: Number of things to do; None if it is unknown: a bar counts then, and no line is printed.
      unit: Name of the things, in the plural; B for bytes, which are printed in megabytes or the like.
      done: Number of things that are done at the start.
      keep: Whether the bar stays when it is complete.
    """
    if not sys.stderr.isatty():
        return _Lines(name, total or 0, unit, done)
    style = {"unit": "B", "unit_scale": True} if unit == "B" else {"unit": f" {unit}", "mininterval": 0.5}
    return _Bar(desc=name, total=total, initial=done, leave=keep, **style)


def silent() -> Progress:
    """Returns progress that prints nothing."""
    return _Lines("", 0, "", 0)


def progress_of(items: Iterable[_Item], name: str, total: int, unit: str) -> Iterator[_Item]:
    """Yields `items`, and shows how many were taken."""
    with progress(name, total, unit, keep=False) as shown:
        for item in items:
            yield item
            shown.update()


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Prints a line on a stream, by default standard error, above a bar if there is one."""
    tqdm.write(line, file=stream or sys.stderr)


class _Bar(tqdm, Progress):  # type: ignore[misc]  # tqdm has no types
    """A bar of tqdm."""

    def move_to(self, done: int) -> None:
        self.n = done
        self.refresh()

    def rename(self, name: str) -> None:
        self.set_description(name)

    def note(self, text: str) -> None:
        self.set_postfix_str(text, refresh=False)


class _Lines(Progress):
    """A line whenever another tenth of the total is done, with the time since the start."""

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = done
        self._parts = self._complete_parts()
        self._start = time.monotonic()

    def move_to(self, done: int) -> None:
        self._done = done
        if (parts := self._complete_parts()) > self._parts:
            self._parts = parts
            count = f"{done:,} of {self._total:,} {self._unit}"
            if self._unit == "B":
                count = f"{done / 1e6:,.1f} of {self._total / 1e6:,.1f} MB"
            seconds = time.monotonic() - self._start
            print(f"{self._name}: {100 * parts // _PARTS} %, {count}, {seconds:,.0f} s", file=sys.stderr, flush=True)

    def update(self, count: int = 1) -> None:
        self.move_to(self._done + count)

    def rename(self, name: str) -> None:
        self._name = name

    def note(self, text: str) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def _complete_parts(self) -> int:
        return min(self._done * _PARTS // self._total, _PARTS) if self._total else 0
