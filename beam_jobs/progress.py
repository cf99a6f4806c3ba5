"""How far a running job is: workers leave a count beside the shards, the launcher adds the counts up.

No local runner tells its metrics before it ends, and workers may be other processes,
so the counts go through small files in the scratch folder.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from beam_jobs import files
from beam_jobs.plan import Plan

_SECONDS_BETWEEN_COUNTS = 0.2
_Item = TypeVar("_Item")


class ShardProgress:
    """Counts one shard's pictures, for `watch_progress`; does nothing where the output is not local."""

    def __init__(self, plan: Plan, shard: str) -> None:
        self._path = _folder(plan, shard)
        self._count = 0
        self._next = 0.0

    def add(self, pictures: int) -> None:
        """Counts `pictures` more."""
        self._count += pictures

    def count(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yields `items`, counting each when the next is asked for."""
        for item in items:
            yield item
            self._count += 1
            if time.monotonic() >= self._next:
                self._write()

    def __enter__(self) -> "ShardProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def _write(self) -> None:
        self._next = time.monotonic() + _SECONDS_BETWEEN_COUNTS
        if self._path:
            # Where the folder is gone, so is the job that watches it; and a full disk is for the shard to report.
            with contextlib.suppress(OSError):
                self._path.write_text(str(self._count))


class watch_progress:  # noqa: N801  (reads as a verb where it is used)
    """Shows a bar of pictures while the block runs; a shard that is tried again starts its count again."""

    def __init__(self, plan: Plan) -> None:
        self._folder = _folder(plan)
        self._bar = tqdm(total=plan.pictures, unit=" pictures", desc="prepare", mininterval=0.5)
        self._counts: dict[str, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> None:
        if self._folder:
            self._folder.mkdir()
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._folder:
            self._thread.join()
            self._show()
        self._bar.close()

    def _poll(self) -> None:
        while not self._done.wait(0.5):
            self._show()

    def _show(self) -> None:
        if self._folder:
            for path in self._folder.iterdir():
                # A file may be read while it is being rewritten, and is empty then: the bar never goes back.
                self._counts[path.name] = int(path.read_text() or self._counts.get(path.name, 0))
            self._bar.n = sum(self._counts.values())
            self._bar.refresh()


def _folder(plan: Plan, *names: str) -> Path | None:
    return Path(plan.scratch, "progress", *names) if files.is_local(plan.output) else None
