"""Progress of a job, which no local runner reports before it ends, and whose workers may be on other machines.

Workers write their counts to small files in a folder that the launcher sees too, or a cluster reports them, or the
files that are complete say how far the job is: the progress bar shows whichever is furthest.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tfrecords.progress import Progress, progress

_SECONDS_BETWEEN_READS = 0.5
Count = Callable[[], int]
"""Function that returns what is done by now, as far as it can see."""


def write_count(path: Path, count: int) -> None:
    """Writes what a worker has done of its part; another count of the same part replaces it."""
    # If the folder is gone, so is the job that reads it; a full disk is for the worker's own files to report.
    with contextlib.suppress(OSError):
        path.write_text(str(count))


@contextlib.contextmanager
def watch(counts: Sequence[Count], name: str, total: int, unit: str, quiet_s: float = 0.0) -> Iterator[None]:
    """Shows the largest of some counts while the block runs.

    Args:
      counts: Counts of the same things.
      name: Name in front of the progress.
      total: Number of things to do.
      unit: Name of the things, in the plural.
      quiet_s: Time after which it is shown, seconds; a block that ends before shows nothing.
    """
    finished = threading.Event()

    def show() -> None:
        if quiet_s and finished.wait(quiet_s):
            return
        with progress(name, total, unit) as bar:
            _follow(counts, bar, total, finished)

    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def watch_counts(
    folder: Path | None, name: str, total: int, unit: str, *others: Count, quiet_s: float = 0.0
) -> contextlib.AbstractContextManager[None]:
    """Shows the sum of the counts in a folder while the block runs; a part that is retried starts from 0 again.

    Args:
      folder: New folder of the counts; None where workers cannot reach one.
      name: Name in front of the progress.
      total: Number of things to do.
      unit: Name of the things, in the plural.
      *others: Other counts, which are shown where they are larger.
      quiet_s: Time after which it is shown, seconds.
    """
    if folder:
        folder.mkdir()
        others = (_sum_of(folder), *others)
    return watch(others, name, total, unit, quiet_s)


def at_most_every(seconds: float, count: Count) -> Count:
    """Returns a count that is asked again only after some seconds, for one that is a request to a service."""
    asked, last = float("-inf"), 0

    def ask() -> int:
        nonlocal asked, last
        if time.monotonic() - asked >= seconds:
            last = count()
            # From the end of a slow answer: the service has other things to do.
            asked = time.monotonic()
        return last

    return ask


def _sum_of(folder: Path) -> Count:
    """Returns the count that is the sum of the counts in a folder."""
    counts: dict[str, int] = {}

    def add_up() -> int:
        # Deleted with the job.
        with contextlib.suppress(FileNotFoundError):
            for path in folder.iterdir():
                # A file that is being rewritten is empty: the bar must not go backwards.
                counts[path.name] = int(path.read_text() or counts.get(path.name, 0))
        return sum(counts.values())

    return add_up


def _follow(counts: Sequence[Count], bar: Progress, total: int, finished: threading.Event) -> None:
    """Moves the bar to the largest count, repeatedly until `finished` and once afterwards."""
    running = True
    while running:
        running = not finished.wait(_SECONDS_BETWEEN_READS)
        # A bundle that is tried again is counted twice by a cluster.
        bar.move_to(min(max((count() for count in counts), default=0), total))
