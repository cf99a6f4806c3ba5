"""The work that every way of preparing shares: input, output, and the assignment of pictures to shards.

    job = Job("svhn", "out", pictures=1000, workers=2)
    for (split, shard), annotations in job.gather().items(): ...

iterates over the shards that prepare would write.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation
from beam_jobs.prepare.assign import shard_of, split_of
from beam_jobs.prepare.check_label import check_label
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import Plan, make_plan
from beam_jobs.prepare.publish_shard import digest_of
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.svhn.source import SOURCE
from tfrecords.files.framing import FRAMING_BYTES
from tfrecords.files.place import Place

_HEADER_BYTES = 12


@dataclass(frozen=True)
class Job:
    """Work of one way.

    Attributes:
      input: Input folder, as SVHN unpacks.
      output: Output folder, which does not exist yet.
      pictures: Number of pictures to prepare, from the start of the input.
      workers: Number of workers, for the ways with several.
    """

    input: str
    output: str
    pictures: int
    workers: int

    @cached_property
    def plan(self) -> Plan:
        """Plan that prepare makes for these pictures."""
        return make_plan(PrepareConfig(), tuple(self._subsets()), Place(self.output))

    def _subsets(self) -> Iterator[Subset]:
        left = self.pictures
        for subset in SOURCE.find_subsets(Input(Place(Path(self.input))), SourceOptions()):
            if left:
                yield replace(subset, entries=min(subset.entries, left))
            left -= min(subset.entries, left)

    def annotations(self) -> Iterator[Annotation]:
        """Yields the annotations of all pictures."""
        for subset in self.plan.subsets:
            yield from SOURCE.read_annotations(subset, 0, subset.entries, self.plan.config.digit_order, SourceOptions())

    def split_of(self, annotation: Annotation) -> str:
        """Returns the split that prepare assigns a picture to."""
        config = self.plan.config
        return split_of(annotation.subset, annotation.key, config.seed, config.fractions)

    def gather(self) -> dict[tuple[str, int], list[Annotation]]:
        """Returns the annotations of each shard, as prepare's GroupByKey gathers them."""
        plan = self.plan
        shards: dict[tuple[str, int], list[Annotation]] = {key: [] for key in plan.shard_keys}
        for annotation in self.annotations():
            split = self.split_of(annotation)
            checked = check_label(annotation, plan.config.labels, split)
            shards[split, shard_of(annotation.key, plan.config.seed, plan.shards[split])].append(checked)
        return shards

    def read(self, key: str) -> bytes:
        """Returns the file content of the picture with a key, as prepare reads it."""
        subset, picture = key.split("/", 1)
        return filesystem.read_local(f"{self._folders[subset]}/{picture}")

    @cached_property
    def _folders(self) -> dict[str, str]:
        return {subset.name: subset.path for subset in self.plan.subsets}

    def write(self, key: tuple[str, int], records: list[bytes], lasting: bool = False) -> None:
        """Writes a shard's framed records with one open and one call.

        Args:
          key: Split and index of the shard.
          records: Framed records.
          lasting: Whether to do what a manifest needs: digest the file, and wait until it is on the disk.
        """
        folder = Path(self.output)
        folder.mkdir(exist_ok=True)
        with (folder / str(self.plan.shard_name(*key))).open("wb", buffering=1 << 20) as stream:
            stream.writelines(records)
            if lasting:
                digest_of(records)
                stream.flush()
                os.fsync(stream.fileno())


def count_records(folder: Path) -> int:
    """Returns the number of records in all TFRecord files of a folder, without checking checksums."""
    count = 0
    for path in folder.rglob("*tfrecord*"):
        with path.open("rb") as stream:
            while header := stream.read(_HEADER_BYTES):
                stream.seek(struct.unpack_from("<Q", header)[0] + FRAMING_BYTES - _HEADER_BYTES, 1)
                count += 1
    return count
