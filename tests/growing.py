"""A stream that grows when a test says so: real shards of one drawn dataset, dealt to generations."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfrecords.dataset.manifest import MANIFEST, Manifest, ShardInfo, SplitInfo
from tfrecords.dataset.snapshots import STREAM, Part, Snapshot, Total, directory_name, flatten, number_name
from tfrecords.files.index import index_path
from tfrecords.files.place import Place


class Growing:
    """A stream whose generations hold shards of a dataset, so that all pictures are different ones.

    Attributes:
        path: Folder of the stream.
        parts: Generations of the newest snapshot.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        """Starts an empty stream.

        Args:
            folder: Folder of the stream, made here.
            source: Dataset directory of many shards.
        """
        self.path, self._source = folder, source
        self._manifest = Manifest.load(source)
        self._used = {"train": 0, "validation": 0}
        self.parts: list[Part] = []
        folder.mkdir()
        (folder / STREAM).write_text(json.dumps({"version": 1, "has_boxes": True, "settings": {}}))

    def grow(self, number: int, train: int = 1, validation: int = 0) -> None:
        """Commits a snapshot with a new generation of some shards."""
        name = directory_name(number)
        (self.path / name).mkdir(parents=True)
        splits = {}
        for split, count in (("train", train), ("validation", validation)):
            first = self._used[split]
            self._used[split] += count
            splits[split] = self._copied(name, self._manifest.split(split).shards[first : first + count])
        data = replace(self._manifest, splits=splits).to_json().encode()
        (self.path / name / MANIFEST).write_bytes(data)
        self.parts.append(Part(name, hashlib.sha256(data).hexdigest()))
        self.commit(number, self.parts)

    def commit(self, number: int, parts: Sequence[Part]) -> None:
        """Writes a snapshot of some generations, and the manifest of the newest one."""
        totals = {"train": Total(1, 1)}
        snapshot = Snapshot(number, list(parts), totals, {}, len(parts))
        (self.path / "snapshots").mkdir(exist_ok=True)
        (self.path / MANIFEST).write_text(flatten(Place(self.path), snapshot).to_json())
        (self.path / "snapshots" / number_name(number)).write_bytes(snapshot.to_json())

    def _copied(self, name: str, shards: Sequence[ShardInfo]) -> SplitInfo:
        for shard in shards:
            for file in (shard.file, Path(index_path(shard.file)).name):
                shutil.copy(self._source / file, self.path / name / file)
        examples = sum(shard.examples for shard in shards)
        return SplitInfo(examples, examples, list(shards))
