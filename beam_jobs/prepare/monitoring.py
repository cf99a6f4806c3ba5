"""Progress of the shards of a job, and its metrics on Beam, which is imported when they are needed."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from beam_jobs import filesystem
from beam_jobs.job.progress import watch_counts, write_count
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.tally import Tally

_SECONDS_BETWEEN_WRITES = 0.2
_NAMESPACE = "streetdigits"
_Item = TypeVar("_Item")


class ShardProgress:
    """Counts one shard's pictures for `watch_progress`; does nothing if the output is not local."""

    def __init__(self, plan: Plan, shard: str) -> None:
        """Takes the plan of the job and the shard's name."""
        folder = _progress_folder(plan)
        self._path = folder / shard if folder else None
        self._count = 0
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


def watch_progress(plan: Plan) -> AbstractContextManager[None]:
    """Shows the number of pictures while the block runs; the count of a shard that is retried starts from 0 again."""
    return watch_counts(_progress_folder(plan), "prepare", plan.pictures, "pictures")


def _progress_folder(plan: Plan) -> Path | None:
    """Returns the folder of the counts; None if the output is not local."""
    return Path(plan.scratch, "progress") if filesystem.is_local(plan.output) else None


def report(tally: Tally) -> None:
    """Adds the metrics of a shard to those of Beam."""
    from apache_beam.metrics import Metrics

    for name, count in tally.counters.items():
        Metrics.counter(_NAMESPACE, name).inc(count)
    for name, values in tally.values.items():
        distribution = Metrics.distribution(_NAMESPACE, name)
        for value in values:
            distribution.update(value)


def read_metrics(result: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """Returns a finished pipeline's counters and distributions by name; empty if the runner has none."""
    from apache_beam.metrics.metric import MetricsFilter

    try:
        found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    except NotImplementedError:
        return {}, {}
    counters = {metric.key.metric.name: metric.result for metric in found["counters"]}
    distributions = {metric.key.metric.name: metric.result for metric in found["distributions"]}
    return counters, distributions
