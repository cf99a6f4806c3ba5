"""What a job reads and writes, fixed before it starts: subsets, splits and shards."""

import math
import uuid
from dataclasses import dataclass, field, replace

from beam_jobs import filesystem
from beam_jobs.job.given import Range, ranges_of, reads_remote
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.survey import Survey, survey
from beam_jobs.prepare.versions import versions
from beam_jobs.sources.base import Subset, published_split
from tfrecords.dataset.manifest import SPLITS
from tfrecords.errors import UserError
from tfrecords.files.shards import ShardName


@dataclass(frozen=True)
class Plan:
    """What a job reads and writes.

    Attributes:
      config: How the dataset is made.
      subsets: Subsets to read.
      shards: Number of shards per split, in the order of `SPLITS`.
      output: Path of the dataset directory.
      run_id: Unique name of this run, for its scratch folder.
      survey: What was found in the annotations.
      writes_in_background: Whether a worker writes a shard in a second thread while it makes the next one.
      versions: Versions of the launcher's packages that decide the dataset's bytes, by package.
      allow_other_versions: Whether workers may have others.
    """

    config: PrepareConfig
    subsets: tuple[Subset, ...]
    shards: dict[str, int]
    output: str
    run_id: str
    survey: Survey
    writes_in_background: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    allow_other_versions: bool = False

    @property
    def pictures(self) -> int:
        """Number of entries to read: numbers, and pictures without one."""
        return sum(self.survey.kept.values())

    @property
    def reads_remote(self) -> bool:
        """Whether pictures are at an address: in the folder that a subset names for them, or with its annotations."""
        return reads_remote(self.subsets)

    @property
    def ranges(self) -> list[Range]:
        """Ranges of entries that together cover every subset once."""
        return ranges_of(self.subsets)

    @property
    def shard_keys(self) -> list[tuple[str, int]]:
        """Split and index of every shard, in order."""
        return [(split, shard) for split, count in self.shards.items() for shard in range(count)]

    def shard_name(self, split: str, shard: int) -> ShardName:
        """Returns the name of one shard's file."""
        return ShardName(self.config.name, split, shard, self.shards[split])

    def path(self, name: str) -> str:
        """Returns the path of a file in the dataset directory."""
        return filesystem.join(self.output, name)

    @property
    def work(self) -> str:
        """Folder of everything that is not part of the dataset; deleted once the dataset is complete."""
        return filesystem.join(self.output, ".prepare")

    @property
    def results(self) -> str:
        """Folder of the results of the shards that are written."""
        return filesystem.join(self.work, "results")

    @property
    def scratch(self) -> str:
        """Folder of this run's unfinished files."""
        return filesystem.join(self.work, f"run-{self.run_id}")


def make_plan(
    config: PrepareConfig,
    subsets: tuple[Subset, ...],
    output: str,
    writes_in_background: bool = False,
    allow_other_versions: bool = False,
) -> Plan:
    """Returns the plan; the number of shards follows from the examples that each split can expect.

    Where a subset is published for validation, none is drawn: the plan's configuration has a validation fraction of 0.
    Where no number has a box, each picture is stored whole: the plan's crops are as large as its records, without
    jitter, unless the configuration stores complete crops anyway. The longest number is that of the annotations, if the
    configuration leaves it open.

    Args:
      config: How the dataset is made.
      subsets: Subsets to read.
      output: Path of the dataset directory.
      writes_in_background: Whether a worker writes a shard while it makes the next one.
      allow_other_versions: Whether workers may have other versions than this process.

    Raises:
      UserError: The annotations name no picture.
    """
    if any(subset.entries and published_split(subset.name) == "validation" for subset in subsets):
        config = replace(config, validation_fraction=0.0)
    found = survey(config, subsets)
    config = replace(config, max_length=found.longest)
    if not found.has_boxes and not config.whole_crops:
        # A window of a picture that is the number would cut the number.
        crop = replace(config.crop, crop_size=config.crop.record_size, jitters=0)
        config = replace(config, crop=crop)
    examples = {
        split: pictures * max(1, config.jitters(split))
        for split, pictures in _expected_pictures(config, found.kept).items()
        if pictures
    }
    if not examples:
        raise UserError("The annotations must name at least one picture.", ", ".join(s.path for s in subsets))
    per_shard = config.examples_per_shard
    if config.shards:
        per_shard = math.ceil(max(examples.values()) / config.shards)
    shards = {split: max(1, round(count / per_shard)) for split, count in examples.items()}
    if config.shards:
        # Rounding must not change the number that was asked for.
        shards[max(examples, key=lambda split: examples[split])] = config.shards
    return Plan(
        config,
        subsets,
        shards,
        output,
        uuid.uuid4().hex,
        found,
        writes_in_background,
        versions(config.source),
        allow_other_versions,
    )


def _expected_pictures(config: PrepareConfig, entries: dict[str, int]) -> dict[str, float]:
    """Returns the number of pictures that each split can expect of the entries of each subset."""
    pictures = dict.fromkeys(SPLITS, 0.0)
    for subset, count in entries.items():
        if fixed := config.fractions.fixed(subset):
            pictures[fixed] += count
        else:
            for split, share in config.fractions.shares.items():
                pictures[split] += share * count
    return pictures
