"""The first thing of a job on a cluster: its workers check that they see the launcher's paths.

`prepare` checks where it parses and where it writes, and sends a fault along with the annotations. `explore` checks in
steps of their own.

What a worker does not see is data of the job, not an exception: an exception makes an engine try the same again and
again, for minutes, before anyone hears of it. If there is such a fault, all that follows does nothing, so the job ends
within seconds. The texts reach the launcher as names of Beam's counters, which every engine reports at the end.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter

from beam_jobs.job.mounts import Mounts

_NAMESPACE = "streetdigits.unseen"
_CHECKS = 64
"""Elements that check: so many that each of an engine's workers gets some."""
Faults = beam.PCollection[str] | None
"""What workers do not see; None if they need nothing of the launcher's machine."""


class CheckMounts(beam.PTransform):
    """Checks on the workers what they see; yields what is wrong, nothing if all is right."""

    def __init__(self, mounts: Mounts) -> None:
        """Takes the paths."""
        super().__init__()
        self._mounts = mounts

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Applies the transform to the start of the pipeline."""
        return (
            root
            | "Checks" >> beam.Create(range(_CHECKS))
            | "Spread" >> beam.Reshuffle()
            | "Look" >> beam.FlatMap(_look, self._mounts)
        )


def check_mounts(pipeline: beam.Pipeline, mounts: Mounts) -> Faults:
    """Returns what the workers of a pipeline do not see."""
    return pipeline | "CheckMounts" >> CheckMounts(mounts) if mounts.reads or mounts.marker else None


def unless(items: Any, faults: Faults, label: str = "UnlessFaults") -> Any:
    """Returns a collection that is empty if there are faults.

    Args:
      items: Collection of any elements.
      faults: What is wrong.
      label: Name of the step.
    """
    if faults is None:
        return items
    return items | label >> beam.FlatMap(_none_if_any, beam.pvalue.AsIter(faults))


def unseen(result: Any) -> list[str]:
    """Returns what workers of a finished pipeline did not see, sorted."""
    with contextlib.suppress(NotImplementedError):
        found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
        return sorted(metric.key.metric.name for metric in found["counters"])
    return []


def counted_fault(mounts: Mounts) -> str | None:
    """Returns what this worker does not see, after the launcher was told of it by a counter, or None."""
    fault = mounts.fault()
    if fault:
        Metrics.counter(_NAMESPACE, fault).inc()
    return fault


def _look(_: int, mounts: Mounts) -> Iterator[str]:
    if fault := counted_fault(mounts):
        yield fault


def _none_if_any(item: Any, faults: Iterable[str]) -> list[Any]:
    return [] if any(True for _ in faults) else [item]
