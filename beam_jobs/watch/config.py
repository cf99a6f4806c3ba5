"""What one call of `watch` reads and writes, and how its stream's configuration is chosen."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any

from beam_jobs.job.given import DATA
from beam_jobs.lineage import check_target
from beam_jobs.prepare.config import PrepareConfig, config_from_flags, refuse_crops
from beam_jobs.prepare.plan import for_boxes, need_boxes
from beam_jobs.prepare.survey import survey
from beam_jobs.sources import SOURCES
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.stream import Stream, flat_settings
from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import setting, settings_of

WITHOUT = ("limit", "shards", "on_leak", "max_dead_fraction")
"""Settings of `prepare` that are about a complete dataset."""
_AUTO, _OFF = "auto", "off"
_MOST_WORKERS = 1024
_LONGEST_POLL_S = 86_400.0
_LARGEST_PORT = 65_535
_PACE, _ENDING, _KEEPING = "generations", "end", "keeping"


@dataclass(frozen=True, kw_only=True)
class WatchJob:
    """What one call reads and writes; nothing of it is saved. The help line of each setting describes it."""

    source: str = setting(
        MISSING,
        "format of the batches; `python -m beam_jobs sources` explains each",
        choices=tuple(SOURCES),
        group=DATA,
    )
    input: str = setting(
        MISSING,
        "folder where batches arrive, a folder or file each, local or at an address, as s3://; or a log, as "
        "kafka://HOST:9092/TOPIC, or lines://FOLDER with growing files of JSON lines",
        group=DATA,
    )
    output: str = setting(MISSING, "stream to create or to continue, local or at an address, as s3://", group=DATA)
    workers: str = setting(
        _AUTO,
        "number of worker processes on this machine; auto: one per processor that may be used, and no other process "
        "for generations below 2,000 pictures",
        group=DATA,
    )
    every: float = setting(10.0, "seconds after the first ready batch at which a generation is made", group=_PACE)
    pictures: int = setting(8000, "largest number of pictures of a generation; a larger batch is one", group=_PACE)
    poll: float = setting(1.0, "seconds between two looks at the input", group=_PACE)
    settle: float = setting(5.0, "seconds without a change after which a batch without a marker is read", group=_PACE)
    marker: str = setting("_SUCCESS", "name of the file that marks a batch as complete", group=_PACE)
    patience: float = setting(600.0, "seconds without a change after which an incomplete batch is refused", group=_PACE)
    after: str = setting(
        "keep",
        "what to do with a batch that is in a snapshot: keep, delete or archive:DIR",
        group=_PACE,
    )
    once: bool = setting(False, "end when all that is there has been made", group=_ENDING)
    until_idle: float | None = setting(None, "end when nothing was ready or waiting for so many seconds", group=_ENDING)
    metrics_port: int | None = setting(
        None, "port of this machine at which /metrics has the status in Prometheus' format", group=_KEEPING
    )
    compact: str = setting(
        _AUTO, "whether small generations are merged while nothing arrives", choices=(_AUTO, _OFF), group=_KEEPING
    )
    keep_snapshots: int = setting(50, "number of newest snapshots to keep", group=_KEEPING)
    keep_days: float = setting(7.0, "days for which older snapshots are kept", group=_KEEPING)
    openlineage: str | None = setting(
        None,
        "file to which OpenLineage events of the run are appended, or http:// address to which they are posted",
        group=_KEEPING,
    )

    def __post_init__(self) -> None:
        """Checks the values, before anything large is imported.

        Raises:
          UserError: One cannot be used.
        """

        def check(good: bool, rule: str, received: object) -> None:
            if not good:
                raise UserError(rule, received)

        workers = self.workers == _AUTO or (self.workers.isdecimal() and 1 <= int(self.workers) <= _MOST_WORKERS)
        check(workers, f"--workers must be {_AUTO} or 1..{_MOST_WORKERS}.", self.workers)
        check(self.pictures >= 1, "--pictures must be at least 1.", self.pictures)
        check(self.keep_snapshots >= 1, "--keep-snapshots must be at least 1.", self.keep_snapshots)
        check(0 < self.poll <= _LONGEST_POLL_S, f"--poll must be above 0, and {_LONGEST_POLL_S:g} at most.", self.poll)
        for name in ("every", "settle", "patience", "keep_days", "until_idle"):
            value = getattr(self, name)
            check(value is None or value >= 0, f"--{name.replace('_', '-')} must be 0 or more.", value)
        check(
            not (self.once and self.until_idle is not None), "--once and --until-idle must not be given both.", "both"
        )
        kind, _, folder = self.after.partition(":")
        after = self.after in ("keep", "delete") or (kind == "archive" and folder != "")
        check(after, "--after must be keep, delete or archive:DIR.", self.after)
        port = self.metrics_port
        check(port is None or 1 <= port <= _LARGEST_PORT, f"--metrics-port must be 1..{_LARGEST_PORT}.", port)
        for place in (self.input, self.output):
            Place(place)
        check_target(self.openlineage)

    @property
    def worker_count(self) -> int | None:
        """Number of worker processes that was asked for; None to choose."""
        return None if self.workers == _AUTO else int(self.workers)

    @property
    def compacts(self) -> bool:
        """Whether small generations are merged."""
        return self.compact == _AUTO

    @property
    def places(self) -> dict[str, str | None]:
        """Places that workers read and write, by their flags."""
        return {"--input": self.input, "--output": self.output}


def new_config(values: Mapping[str, Any]) -> PrepareConfig:
    """Returns the configuration of a new stream, by the flags that were given.

    Raises:
      UserError: A setting is not allowed, or a stream must have it fixed.
    """
    config = replace(config_from_flags(values), max_dead_fraction=1.0)
    Stream(Place("."), config)  # refuses what a stream leaves no choice about
    return config


def check_given(stream: Stream, values: Mapping[str, Any]) -> None:
    """Checks that the flags that were given are those with which a stream was started.

    Args:
      stream: Stream, as it is saved.
      values: Flags that were given, by setting.

    Raises:
      UserError: One differs, or is about crops, which a stream for finding does not have.
    """
    if values.get("task", stream.config.task) == stream.config.task == FIND:
        refuse_crops(values)
    saved = flat_settings(stream.config)
    # Where pictures are stored whole, what the flags say of crops is not what is saved.
    decided = () if stream.has_boxes or stream.config.whole_crops else ("crop_size", "jitters")
    # First the task, from which others follow.
    for name in ("task", *settings_of(PrepareConfig)):
        if name in values and name not in decided and values[name] != saved[name]:
            flag = f"--{name.replace('_', '-')}"
            rule = f"{stream.place} was started with {flag} {saved[name]}, which cannot change: leave {flag} out."
            raise UserError(rule, values[name])


def begin(place: Place, config: PrepareConfig, batches: list[Batch]) -> Stream | None:
    """Returns the stream of a configuration, whose crops fit its first batches; None while these do not say.

    A picture without a number is a record of a stream for finding, which waits for no number.

    Args:
      place: Folder of the stream.
      config: Configuration, as the flags say.
      batches: Batches of the first entry.

    Raises:
      UserError: The annotations of a batch cannot be read, or no number has a box, with a configuration for finding.
    """
    subsets = tuple(subset for batch in batches for subset in batch.subsets)
    found = survey(config, subsets)
    need_boxes(config, found, subsets)
    if config.task != FIND and not found.has_numbers:
        return None
    return Stream(place, for_boxes(config, found.has_boxes), found.has_boxes)
