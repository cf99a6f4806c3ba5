"""Progress of a job, which no local runner reports before it ends, and whose workers may be other processes.

Workers write their counts to small files in a local folder, and the progress bar reads these.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from tfrecords.progress import Progress, progress

_SECONDS_BETWEEN_READS = 0.5


def write_count(path: Path, count: int) -> None:
    """Writes what a worker has done of its part; another count of the same part replaces it."""
    # If the folder is gone, so is the job that reads it; a full disk is for the worker's own files to report.
    with contextlib.suppress(OSError):
        path.write_text(str(count))


@contextlib.contextmanager
def watch_counts(folder: Path | None, name: str, total: int, unit: str) -> Iterator[None]:
    """Shows the sum of the counts in a folder while the block runs; a part that is retried starts from 0 again.

    Args:
      folder: New folder of the counts; None where workers cannot reach one: nothing is counted then.
      name: Name in front of the progress.
      total: Number of things to do.
      unit: Name of the things, in the plural.
    """
    with progress(name, total, unit) as bar:
        if not folder:
            yield
            return
        folder.mkdir()
        finished = threading.Event()
        watcher = threading.Thread(target=_follow, args=(folder, bar, finished), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()


def _follow(folder: Path, bar: Progress, finished: threading.Event) -> None:
    """Moves the bar to the sum of all counts, repeatedly until `finished` and once afterwards."""
    counts: dict[str, int] = {}
    running = True
    while running:
        running = not finished.wait(_SECONDS_BETWEEN_READS)
        for path in folder.iterdir():
            # A file that is being rewritten is empty: the bar must not go backwards.
            counts[path.name] = int(path.read_text() or counts.get(path.name, 0))
        bar.move_to(sum(counts.values()))
