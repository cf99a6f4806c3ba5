"""Streams with snapshots, made by `prepare`'s own functions from drawn pictures: no watcher, no ledger."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare.config import config_from_flags
from beam_jobs.prepare.local import run_on_this_machine
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.stream import Stream
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.snapshots import (
    Part,
    Snapshot,
    Total,
    directory_name,
    flatten,
    part_manifest,
    snapshot_place,
)
from tfrecords.files.place import Place

FLAGS = {"validation_fraction": 0.2, "examples_per_shard": 40, "max_length": 5, "max_dead_fraction": 1.0}


class Grown:
    """A stream that a test lets grow.

    Attributes:
      folder: Folder of the stream.
      place: The same as a place.
      stream: Its configuration.
      parts: Parts of the newest snapshot.
      subsets: Subsets of the batches of each directory, by its path in the stream.
    """

    def __init__(self, folder: Path, **flags: object) -> None:
        """Starts a stream.

        Args:
          folder: New folder.
          **flags: Settings of `prepare` besides `FLAGS`.
        """
        folder.mkdir(parents=True)
        self.folder, self.place = folder, Place(folder)
        self.stream = Stream(self.place, config_from_flags({**FLAGS, **flags}))
        self.stream.save()
        self.parts: list[Part] = []
        self.subsets: dict[str, tuple[Subset, ...]] = {}

    def add(self, entry: int, *batches: Subset) -> Snapshot:
        """Makes the generation of batches, and the snapshot that has it in addition."""
        return self.commit(entry, [*self.parts, self.make(directory_name(entry), batches)])

    def merge(self, entry: int, count: int) -> Snapshot:
        """Replaces the first directories by one, as `compact` does, and makes the snapshot."""
        old = self.parts[:count]
        subsets = [subset for part in old for subset in self.subsets[part.directory]]
        merged = self.make(directory_name(old[0].first, old[-1].last), subsets)
        return self.commit(entry, [merged, *self.parts[count:]])

    def make(self, directory: str, subsets: Sequence[Subset]) -> Part:
        """Makes a dataset directory of subsets."""
        plan = plan_subsets(self.stream, tuple(subsets), self.place / directory)
        with lock_output(plan, overwrite=False):
            run_on_this_machine(plan, 1, "")
        self.subsets[directory] = tuple(subsets)
        return self.part(directory)

    def part(self, directory: str) -> Part:
        """Returns a directory with the digest of its manifest."""
        return Part(directory, hashlib.sha256((self.folder / directory / MANIFEST).read_bytes()).hexdigest())

    def commit(self, entry: int, parts: Sequence[Part]) -> Snapshot:
        """Writes a snapshot of parts, and the manifest of the stream."""
        manifests = [part_manifest(self.place, part) for part in parts]
        totals = {
            name: Total(
                sum(each.splits[name].pictures for each in manifests if name in each.splits),
                sum(each.splits[name].examples for each in manifests if name in each.splits),
            )
            for name in ("train", "validation", "test", "predict")
            if any(name in each.splits for each in manifests)
        }
        dead = sum((Counter(each.dead_letters) for each in manifests), Counter())
        batches = len({source.subset.partition("@")[0] for each in manifests for source in each.sources})
        snapshot = Snapshot(entry, list(parts), totals, dict(sorted(dead.items())), batches)
        assert snapshot_place(self.place, entry).create(snapshot.to_json())
        (self.place / MANIFEST).write([flatten(self.place, snapshot).to_json().encode()])
        self.parts = list(parts)
        return snapshot


def draw_batch(folder: Path, name: str, count: int, seed: int) -> Subset:
    """Draws pictures as SVHN unpacks them, and returns them as a batch of a stream."""
    options = ["--output", str(folder / name), "--count", str(count + 1), "--seed", str(seed), "--jobs", "1"]
    assert main("beam_jobs", "", COMMANDS, ["sample", *options, "--test-fraction", "0.01"]) == 0
    (subset,) = load_source("svhn").find_subsets(Input(Place(folder / name), ("train",)), SourceOptions())
    return replace(subset, name=name)


def make_stream(folder: Path) -> Grown:
    """Makes a stream of three batches of pictures, of which one is unreadable, in the snapshots 0, 1 and 3."""
    batches = [draw_batch(folder / "inbox", name, 12, seed) for seed, name in enumerate(("mon", "tue", "wed"))]
    (folder / "inbox" / "tue" / "train" / "3.png").write_bytes(b"no picture")
    grown = Grown(folder / "stream")
    for entry, batch in zip((0, 1, 3), batches, strict=True):
        grown.add(entry, batch)
    return grown
