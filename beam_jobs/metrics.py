"""What a job counts while it runs: in the runner's own pages, and in the summary at the end."""

from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter

from beam_jobs.shard_result import ShardResult

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
