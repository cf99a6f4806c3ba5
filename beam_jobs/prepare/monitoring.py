"""Progress of the shards of a job, and its metrics."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter

from beam_jobs.job.progress import Count, at_most_every, watch_counts, write_count
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_shard import RESULT_SUFFIX, ShardResult
from tfrecords.errors import UserError

_SECONDS_BETWEEN_WRITES = 0.2
_NAMESPACE = "streetdigits"
_PICTURES_DONE = "pictures_done"
_SECONDS_BETWEEN_REQUESTS = 2.0
"""Seconds between two questions to a cluster; a bar needs no more."""
_SECONDS_BETWEEN_LISTINGS = 10.0
"""Seconds between two listings of a store, each of which costs money."""
_Item = TypeVar("_Item")


class ShardProgress:
    """Counts one shard's pictures for `watch_progress`: in a file if the output is local, and in Beam's metrics."""

    def __init__(self, plan: Plan, shard: str) -> None:
        """Takes the plan of the job and the shard's name."""
        folder = _progress_folder(plan)
        self._path = folder / shard if folder else None
        self._count = self._counted = 0
        self._next = 0.0

    def add(self, pictures: int) -> None:
        """Adds pictures to the count."""
        self._count += pictures

    def count(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yields `items`, and counts each when the next one is requested."""
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
        self._next = time.monotonic() + _SECONDS_BETWEEN_WRITES
        if self._path:
            write_count(self._path, self._count)
        _count(_PICTURES_DONE, self._count - self._counted)
        self._counted = self._count


def watch_progress(plan: Plan, counter: Callable[[str, str], int] | None = None) -> AbstractContextManager[None]:
    """Shows the number of pictures while the block runs; the count of a shard that is retried starts from 0 again.

    Args:
      plan: Plan of the job.
      counter: Function that returns one of the job's counters while it runs, by its namespace and name; None on a local
        runner, whose counts are in files.
    """
    others: list[Count] = []
    if counter:
        others.append(at_most_every(_SECONDS_BETWEEN_REQUESTS, lambda: counter(_NAMESPACE, _PICTURES_DONE)))
        # Not all runners report counters before the end.
        others.append(at_most_every(_SECONDS_BETWEEN_LISTINGS, lambda: _pictures_of_results(plan)))
    return watch_counts(_progress_folder(plan), "prepare", plan.pictures, "pictures", *others)


def _pictures_of_results(plan: Plan) -> int:
    """Returns about how many pictures the shards hold that are complete, by the number of their results."""
    try:
        complete = sum(name.endswith(RESULT_SUFFIX) for name in plan.results.names())
    # Of a store that does not answer now: the workers' troubles are what counts.
    except (OSError, UserError):
        return 0
    return plan.pictures * complete // len(plan.shard_keys)


def _progress_folder(plan: Plan) -> Path | None:
    """Returns the folder of the counts; None if the output is not local."""
    return None if plan.output.is_remote else plan.scratch.path / "progress"


def count_shard(result: ShardResult) -> None:
    """Adds one shard that was written to the metrics."""
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
    """Adds the decoding times of pictures, microseconds, to the metrics."""
    _distribute("picture_decode_us", decode_us)


def count_kept_shard() -> None:
    """Adds one shard that an earlier run completed to the metrics."""
    _count("shards_kept", 1)


def read_metrics(result: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """Returns a finished pipeline's counters and distributions by name; empty if the runner has none."""
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
