"""What a job reads and writes, fixed before it starts: subsets, splits and shards."""

import math
import uuid
from dataclasses import dataclass, field, replace

from beam_jobs.job.given import Range, ranges_of, reads_remote
from beam_jobs.job.mounts import Mounts, mounts_of
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.fixes import NONE, Fixes
from beam_jobs.prepare.survey import Survey, survey
from beam_jobs.prepare.versions import versions
from beam_jobs.sources.base import Subset, published_split
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import FIND, SPLITS, ImageInfo
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.shards import ShardName

WORK = ".prepare"
"""Name of the folder in an output that holds everything that is not part of the dataset."""
RESULTS = "results"
"""Name of the folder in it that holds what is known of each shard that is written."""
RESULT_SUFFIX = ".arrow"
"""Ending of the name of a shard's result."""


@dataclass(frozen=True)
class Plan:
    """What a job reads and writes.

    Attributes:
      config: How the dataset is made.
      subsets: Subsets to read.
      shards: Number of shards per split, in the order of `SPLITS`.
      output: Place of the dataset directory.
      run_id: Unique name of this run, for its scratch folder.
      survey: What was found in the annotations.
      hashes_in_background: Whether the thread that writes a shard digests it too, since it has a processor of its own.
      versions: Versions of the launcher's packages that decide the dataset's bytes, by package.
      allow_other_versions: Whether workers may have others.
      mounts: Local paths that every worker must see; none if all workers are on this machine.
      counts: Local folder for the counts of pictures where the output is at an address; empty if there is none.
      image_splits: Splits that decide the shape of the images; nothing for those of the plan.
      about: What the owner of the pictures states of them, for the cards; None of a generation of a stream, which has
        no cards of its own.
      fixes: Corrections of the source's labels.
    """

    config: PrepareConfig
    subsets: tuple[Subset, ...]
    shards: dict[str, int]
    output: Place
    run_id: str
    survey: Survey
    hashes_in_background: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    allow_other_versions: bool = False
    mounts: Mounts = field(default_factory=Mounts)
    counts: str = ""
    image_splits: tuple[str, ...] = ()
    about: About | None = None
    fixes: Fixes = NONE

    @property
    def image(self) -> ImageInfo:
        """Shape and encoding of the images."""
        return self.config.image_info(list(self.image_splits or self.shards))

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

    def on_cluster(self) -> "Plan":
        """Returns the plan of a job whose workers may be on other machines."""
        return replace(self, mounts=mounts_of(self.subsets).writing(self.output, self.scratch))

    def shard_name(self, split: str, shard: int) -> ShardName:
        """Returns the name of one shard's file."""
        return ShardName(self.config.name, split, shard, self.shards[split])

    def path(self, name: str) -> Place:
        """Returns the place of a file in the dataset directory."""
        return self.output / name

    @property
    def work(self) -> Place:
        """Folder of everything that is not part of the dataset; deleted once the dataset is complete."""
        return self.output / WORK

    @property
    def claim(self) -> Place:
        """Claim of an output that is not local, on which nothing else can be a lock."""
        return self.work / "claim.json"

    @property
    def results(self) -> Place:
        """Folder of the results of the shards that are written."""
        return self.work / RESULTS

    @property
    def scratch(self) -> Place:
        """Folder of this run's unfinished files."""
        return self.work / f"run-{self.run_id}"


def make_plan(
    config: PrepareConfig,
    subsets: tuple[Subset, ...],
    output: Place,
    allow_other_versions: bool = False,
    about: About | None = None,
    fixes: Fixes = NONE,
) -> Plan:
    """Returns the plan; the number of shards follows from the examples that each split can expect.

    Where a subset is published for validation, none is drawn: the plan's configuration has a validation fraction of 0.
    Where no number has a box, each picture is stored whole: the plan's crops are as large as its records, without
    jitter, unless the configuration stores complete crops anyway. The longest number is that of the annotations, if the
    configuration leaves it open. Datasets for finding need boxes.

    Args:
      config: How the dataset is made.
      subsets: Subsets to read.
      output: Place of the dataset directory.
      allow_other_versions: Whether workers may have other versions than this process.
      about: What the owner of the pictures states of them; None for nothing.
      fixes: Corrections of the source's labels; the plan's configuration states their digest and their counts.

    Raises:
      UserError: The annotations name no picture, no number has a box, with a configuration for finding, or a key of the
        fixes is that of no annotation.
    """
    if fixes.sha256:
        config = replace(
            config,
            fixes_sha256=fixes.sha256,
            fixes_dropped=fixes.dropped,
            fixes_relabelled=fixes.relabelled,
        )
    if any(subset.entries and published_split(subset.name) == "validation" for subset in subsets):
        config = replace(config, validation_fraction=0.0)
    found = survey(config, subsets, fixes)
    config = for_boxes(replace(config, max_length=found.longest), found.has_boxes)
    need_boxes(config, found, subsets)
    if not any(found.kept.values()):
        raise UserError("The annotations must name at least one picture.", ", ".join(s.path for s in subsets))
    return Plan(
        config,
        subsets,
        count_shards(config, found.kept),
        output,
        uuid.uuid4().hex,
        found,
        versions=versions(config.source),
        allow_other_versions=allow_other_versions,
        about=about or About(),
        fixes=fixes,
    )


def need_boxes(config: PrepareConfig, found: Survey, subsets: tuple[Subset, ...]) -> None:
    """Checks that a dataset for finding has a place to find.

    Args:
      config: How the dataset is made.
      found: What was found in the annotations.
      subsets: Subsets that have them.

    Raises:
      UserError: No number has a box, with a configuration for finding.
    """
    if config.task == FIND and not found.has_boxes:
        rule = "--task find needs the boxes of numbers or of their characters, and no number of the input has one."
        raise UserError(rule, f"--source {config.source}, {', '.join(subset.path for subset in subsets)}")


def for_boxes(config: PrepareConfig, has_boxes: bool) -> PrepareConfig:
    """Returns the configuration that fits pictures with boxes, or those that are a number each: stored whole."""
    if has_boxes or config.whole_crops or config.task == FIND:
        return config
    # A window of a picture that is the number would cut the number.
    return replace(config, crop=replace(config.crop, crop_size=config.crop.record_size, jitters=0))


def note_of_whole(config: PrepareConfig) -> str:
    """Returns the line about pictures that are stored whole, as `for_boxes` decides."""
    size = config.crop.record_size
    return f"note: no number has a box, so each picture is stored whole (--crop-size {size} --jitters 0)"


def count_shards(config: PrepareConfig, entries: dict[str, int]) -> dict[str, int]:
    """Returns the number of shards of each split that the entries of the subsets give pictures."""
    examples = {
        split: pictures * max(1, config.jitters(split))
        for split, pictures in _expected_pictures(config, entries).items()
        if pictures
    }
    per_shard: float = config.examples_per_shard
    if config.shards:
        per_shard = math.ceil(max(examples.values()) / config.shards)
    shards = {split: max(1, round(count / per_shard)) for split, count in examples.items()}
    if config.shards:
        # Rounding must not change the number that was asked for.
        shards[max(examples, key=lambda split: examples[split])] = config.shards
    return shards


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
