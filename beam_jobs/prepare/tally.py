"""Metrics of a job: what its shards have read and written, as counts and as values by name."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from beam_jobs.prepare.load_picture import PictureRow
from beam_jobs.prepare.publish_shard import ShardResult


@dataclass(frozen=True)
class Distribution:
    """Values of one metric, as Beam summarises them.

    Attributes:
      count: Number of values, at least 1.
      sum: Sum of the values.
      min: Smallest value.
      max: Largest value.
    """

    count: int
    sum: int
    min: int
    max: int

    @property
    def mean(self) -> float:
        """Mean value."""
        return self.sum / self.count


@dataclass(frozen=True)
class Tally:
    """Metrics of one or several shards.

    Attributes:
      counters: Counts by name.
      values: Values by name, whose distribution is of interest.
    """

    counters: Counter[str] = field(default_factory=Counter)
    values: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: "Tally") -> None:
        """Adds the metrics of other shards."""
        self.counters.update(other.counters)
        for name, values in other.values.items():
            self.values[name] += values

    @property
    def distributions(self) -> dict[str, Distribution]:
        """Distributions by name, of those that have values."""
        found = ((name, values) for name, values in self.values.items() if values)
        return {name: Distribution(len(each), sum(each), min(each), max(each)) for name, each in found}


def tally_kept() -> Tally:
    """Returns the metrics of a shard that an earlier run completed."""
    return Tally(Counter(shards_kept=1))


def tally_shard(result: ShardResult, rows: Iterable[PictureRow]) -> Tally:
    """Returns the metrics of a shard that was written.

    Args:
      result: Shard.
      rows: Rows of its pictures.
    """
    tally = Tally()
    rows = [row for row in rows if not row.is_again]
    sizes = [row.file.bytes for row in rows if row.file]
    tally.counters.update(
        pictures_read=len(sizes),
        bytes_read=sum(sizes),
        examples_written=result.info.examples,
        bytes_written=result.info.bytes,
        shards_written=1,
    )
    tally.counters.update(f"dead_{reason}" for reason in result.table.column("reason").drop_null().to_pylist())
    tally.values["picture_bytes"] += sizes
    tally.values["picture_decode_us"] += [row.decode_us for row in rows if row.decode_us is not None]
    return tally
