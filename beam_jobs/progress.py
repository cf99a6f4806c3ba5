"""How far a running job is: workers leave a count beside the shards, the launcher adds the counts up.

No local runner tells its metrics before it ends, and workers may be other processes,
so the counts go through small files in the output folder.
"""

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from beam_jobs import files

_FOLDER = ".progress"
_SECONDS_BETWEEN_COUNTS = 0.2
_Item = TypeVar("_Item")


class ShardProgress:
    """Counts one shard's pictures, for `watch_progress`; does nothing where the output is not local."""

    def __init__(self, output: str, shard: str) -> None:
        self._path = Path(output) / _FOLDER / shard if files.is_local(output) else None
        self._count = 0
        self._next = 0.0

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
        if self._path and self._path.parent.is_dir():
            self._path.write_text(str(self._count))


class watch_progress:  # noqa: N801  (reads as a verb where it is used)
    """Shows a bar of pictures while the block runs; a shard that is tried again starts its count again."""

    def __init__(self, output: str, pictures: int) -> None:
        self._folder = Path(output) / _FOLDER if files.is_local(output) else None
        self._bar = tqdm(total=pictures, unit=" pictures", desc="prepare", mininterval=0.5)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._folder:
            self._thread.join()
            self._show()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._bar.close()

    def _poll(self) -> None:
        while not self._done.wait(0.5):
            self._show()

    def _show(self) -> None:
        if self._folder:
            # A file may be read while it is being rewritten, and is empty then.
            counts = [path.read_text() for path in self._folder.iterdir()]
            self._bar.n = sum(int(count or 0) for count in counts)
            self._bar.refresh()
