"""Job monitoring: what workers count, the summary's metrics, and the progress bar of a running job.

No local runner tells its metrics before it ends, and workers may be other processes,
so the counts for the bar go through small files in the scratch folder.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from tqdm import tqdm

from beam_jobs import filesystem
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_shard import ShardResult

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
    return Path(plan.scratch, "progress", *names) if filesystem.is_local(plan.output) else None


_NAMESPACE = "streetdigits"


def count_shard(result: ShardResult) -> None:
    """Counts one shard that was made."""
    table = result.table
    sizes = [size for size in table.column("source_bytes").to_pylist() if size is not None]
    _count("pictures_read", len(sizes))
    _count("bytes_read", sum(sizes))
    _count("examples_written", result.info.examples)
    _count("bytes_written", result.info.bytes)
    _count("shards_written", 1)
    for reason in table.column("reason").drop_null().to_pylist():
        _count(f"dead_{reason}", 1)
    _distribute("picture_bytes", sizes)


def count_decoding(decode_us: list[int]) -> None:
    """Counts how long decoding each picture took, microseconds."""
    _distribute("picture_decode_us", decode_us)


def count_kept_shard() -> None:
    """Counts one shard that an earlier run finished."""
    _count("shards_kept", 1)


def read_metrics(result: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """Returns a finished pipeline's counters and distributions by name; empty ones where the runner has none."""
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    except NotImplementedError:
        return {}, {}
    counters = {metric.key.metric.name: metric.result for metric in found["counters"]}
    distributions = {metric.key.metric.name: metric.result for metric in found["distributions"]}
    return counters, distributions


def _count(name: str, value: int) -> None:
    Metrics.counter(_NAMESPACE, name).inc(value)


def _distribute(name: str, values: list[int]) -> None:
    distribution = Metrics.distribution(_NAMESPACE, name)
    for value in values:
        distribution.update(value)
