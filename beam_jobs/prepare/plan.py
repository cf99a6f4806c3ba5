"""What a job will read and write, known before it starts: subsets, splits, shards."""

import math
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from beam_jobs import filesystem
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources.svhn import digit_struct
from tfrecords.dataset.manifest import SPLITS
from tfrecords.errors import UserError
from tfrecords.files.shards import ShardName, file_sha256

SUBSETS = ("train", "test", "extra")
_ENTRIES_PER_RANGE = 4000
_SUBSET_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Subset:
    """One folder of pictures and its annotation file.

    Attributes:
      name: as published, the first part of its pictures' keys.
      folder: that holds digitStruct.mat and the pictures.
      entries: how many pictures the annotations name.
      annotations_sha256: of the annotation file, hexadecimal.
    """

    name: str
    folder: str
    entries: int
    annotations_sha256: str

    @property
    def annotation_file(self) -> Path:
        return Path(self.folder) / digit_struct.FILE_NAME


@dataclass(frozen=True)
class Range:
    """Entries `start` to below `stop` of a subset: what one worker parses at a time."""

    subset: Subset
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """What a job will read and write.

    Attributes:
      config: how the dataset is made.
      subsets: what is read.
      shards: how many shards each split gets, in the order of `SPLITS`.
      output: the dataset directory.
      run_id: of this run alone: what it calls its scratch folder.
      alone: True where one worker works and a processor beside it has nothing to do.
    """

    config: PrepareConfig
    subsets: tuple[Subset, ...]
    shards: dict[str, int]
    output: str
    run_id: str
    alone: bool = False

    @property
    def pictures(self) -> int:
        """How many pictures the annotations name."""
        return sum(subset.entries for subset in self.subsets)

    @property
    def ranges(self) -> list[Range]:
        """The pieces in which annotations are parsed."""
        return [
            Range(subset, start, min(start + _ENTRIES_PER_RANGE, subset.entries))
            for subset in self.subsets
            for start in range(0, subset.entries, _ENTRIES_PER_RANGE)
        ]

    @property
    def shard_keys(self) -> list[tuple[str, int]]:
        """Split and number of every shard, in order."""
        return [(split, shard) for split, count in self.shards.items() for shard in range(count)]

    def shard_name(self, split: str, shard: int) -> ShardName:
        """Returns the name of one shard's file."""
        return ShardName(self.config.name, split, shard, self.shards[split])

    def path(self, name: str) -> str:
        """Returns the path of a file of the dataset directory."""
        return filesystem.join(self.output, name)

    @property
    def work(self) -> str:
        """The folder of all that is not part of the dataset; it goes when the dataset is whole."""
        return filesystem.join(self.output, ".prepare")

    @property
    def results(self) -> str:
        """The folder of what is known of the shards that are written."""
        return filesystem.join(self.work, "results")

    @property
    def scratch(self) -> str:
        """The folder of this run's unfinished files."""
        return filesystem.join(self.work, f"run-{self.run_id}")


def find_subsets(folder: Path, wanted: tuple[str, ...]) -> tuple[Subset, ...]:
    """Returns the subsets of an input folder.

    Args:
      folder: holds a folder for each subset, as SVHN's archives unpack; or is one such
        folder itself, whose subset is then called as it is, or as `wanted` says.
      wanted: names of subsets; empty for all that are there.

    Raises:
      UserError: nothing to read, or a wanted subset is not there.
    """
    if not folder.is_dir():
        raise UserError("The input must be a folder that exists.", folder)
    if (folder / digit_struct.FILE_NAME).is_file():
        if len(wanted) > 1 or not all(map(_SUBSET_NAME.fullmatch, wanted)):
            raise UserError(f"{folder} is one subset: give it one name, of letters, digits, - and _.", ",".join(wanted))
        found = {wanted[0] if wanted else folder.resolve().name.lower(): folder}
    else:
        there = {name: folder / name for name in SUBSETS if (folder / name / digit_struct.FILE_NAME).is_file()}
        if not there:
            raise UserError(
                f"The input must hold {digit_struct.FILE_NAME}, or folders that do: {', '.join(SUBSETS)}.", folder
            )
        missing = [name for name in wanted if name not in there]
        if missing:
            raise UserError(f"{folder} holds the subsets {', '.join(there)}.", ",".join(missing))
        found = {name: there[name] for name in there if not wanted or name in wanted}
    return tuple(_subset(name, path) for name, path in found.items())


def _subset(name: str, folder: Path) -> Subset:
    annotations = folder / digit_struct.FILE_NAME
    entries = digit_struct.count_entries(annotations)
    return Subset(name, str(folder), entries, file_sha256(annotations))


def make_plan(config: PrepareConfig, subsets: tuple[Subset, ...], output: str, alone: bool = False) -> Plan:
    """Returns the plan; shard counts follow from how many examples each split can expect."""
    pictures = dict.fromkeys(SPLITS, 0.0)
    for subset in subsets:
        if subset.name == "test":
            pictures["test"] += subset.entries
        else:
            for split, share in config.fractions.shares.items():
                pictures[split] += share * subset.entries
    examples = {split: count * max(1, config.jitters(split)) for split, count in pictures.items() if count}
    if not examples:
        raise UserError("The annotations must name at least one picture.", ", ".join(s.folder for s in subsets))
    per_shard = config.examples_per_shard
    if config.shards:
        per_shard = math.ceil(max(examples.values()) / config.shards)
    # The largest split must get the number asked for, whatever the rounding.
    shards = {split: max(1, round(count / per_shard)) for split, count in examples.items()}
    if config.shards:
        shards[max(examples, key=lambda split: examples[split])] = config.shards
    return Plan(config, subsets, shards, output, uuid.uuid4().hex, alone)
