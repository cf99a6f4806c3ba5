"""Progress of the shards of a job, and its metrics on Beam, which is imported when they are needed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from beam_jobs.job.progress import Count, at_most_every, watch_counts, write_count
from beam_jobs.prepare.plan import RESULT_SUFFIX, Plan
from beam_jobs.prepare.tally import Tally
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
    """Counts one shard's pictures for `watch_progress`: in a file where there is a folder, and where it is told to."""

    def __init__(self, plan: Plan, shard: str, on_count: Callable[[int], None] | None = None) -> None:
        """Takes what is counted, and where.

        Args:
          plan: Plan of the job.
          shard: Name of the shard.
          on_count: Function of the number of pictures since its last call; None on a machine without Beam.
        """
        folder, self._on_count = _progress_folder(plan), on_count
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
        if self._on_count:
            self._on_count(self._count - self._counted)
        self._counted = self._count


def watch_progress(
    plan: Plan, counter: Callable[[str, str], int] | None = None, quiet_s: float = 0.0
) -> AbstractContextManager[None]:
    """Shows the number of pictures while the block runs; the count of a shard that is retried starts from 0 again.

    Args:
      plan: Plan of the job.
      counter: Function that returns one of the job's counters while it runs, by its namespace and name; None on a local
        runner, whose counts are in files.
      quiet_s: Time after which the number is shown, seconds.
    """
    others: list[Count] = []
    if counter:
        others.append(at_most_every(_SECONDS_BETWEEN_REQUESTS, lambda: counter(_NAMESPACE, _PICTURES_DONE)))
        # Not all runners report counters before the end.
        others.append(at_most_every(_SECONDS_BETWEEN_LISTINGS, lambda: _pictures_of_results(plan)))
    return watch_counts(_progress_folder(plan), "prepare", plan.pictures, "pictures", *others, quiet_s=quiet_s)


def _pictures_of_results(plan: Plan) -> int:
    """Returns about how many pictures the shards hold that are complete, by the number of their results."""
    try:
        complete = sum(name.endswith(RESULT_SUFFIX) for name in plan.results.names())
    # Of a store that does not answer now: the workers' troubles are what counts.
    except (OSError, UserError):
        return 0
    return plan.pictures * complete // len(plan.shard_keys)


def _progress_folder(plan: Plan) -> Path | None:
    """Returns the folder of the counts; None if the output is not local, and the plan names no other."""
    if plan.counts:
        return Path(plan.counts)
    return None if plan.output.is_remote else plan.scratch.path / "progress"


def count_pictures(pictures: int) -> None:
    """Adds pictures to the counter of Beam that moves the progress bar of a job on a cluster."""
    from apache_beam.metrics import Metrics

    Metrics.counter(_NAMESPACE, _PICTURES_DONE).inc(pictures)


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
