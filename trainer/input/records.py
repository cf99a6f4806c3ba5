"""Dataset directory of a run: its manifest, read once, and the images of its splits."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import FIND, MANIFEST, Manifest, ShardInfo, read_manifest
from tfrecords.dataset.reader import Examples
from tfrecords.dataset.reader import open as open_split
from tfrecords.dataset.snapshots import Part, Snapshot, flatten
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.input.cached import CachedExamples, CachedImages
from trainer.input.scenes import Images, SceneImages
from trainer.run.cache_folder import DEFAULT_GB, CacheFolder
from trainer.run.directory import CONFIG, path_beside

_ANNOTATIONS, _SUBSETS = "digitStruct.mat", ("train", "test", "extra")
"""File and folders by which SVHN's pictures are recognised."""


@dataclass(frozen=True)
class Records:
    """An open dataset directory. It is opened once and handed to everything that reads it.

    Attributes:
      directory: Dataset directory.
      manifest: Content of its manifest.json.
      manifest_sha256: SHA-256 of manifest.json, hexadecimal. It identifies the dataset down to each shard.
      cache: Folder for copies of shards from an address; local data needs none.
      snapshot: Number of the snapshot of a stream; None for an ordinary dataset, or for a stream's newest one as its
        manifest.json has it.
    """

    directory: Place
    manifest: Manifest
    manifest_sha256: str
    cache: CacheFolder
    snapshot: int | None = None
    _known: dict[Part, Manifest] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, directory: Place | Path, cache: CacheFolder | None = None, snapshot: int | None = None) -> "Records":
        """Reads the manifest of a dataset directory.

        Args:
          directory: Dataset directory.
          cache: Folder for copies of shards from an address; None takes the default one.
          snapshot: Number of a snapshot, if the directory is a stream; None for what its manifest.json says.

        Raises:
          UserError: The directory is not a dataset directory, or its schema is of another version; or it has no such
            snapshot.
        """
        place = directory if isinstance(directory, Place) else Place(directory)
        if not place.is_remote:
            _refuse_others(place.path)
        cache = cache or CacheFolder.of(None, DEFAULT_GB)
        if snapshot is not None:
            known: dict[Part, Manifest] = {}
            manifest = flatten(place, Snapshot.load(place, snapshot), known)
            return cls(place, manifest, _sha256(manifest), cache, snapshot, known)
        content, name = read_manifest(place.text)
        return cls(place, Manifest.parse(content, name), hashlib.sha256(content).hexdigest(), cache)

    def at(self, snapshot: int) -> "Records":
        """Returns another snapshot of the stream; the manifests of what both have are not read again.

        Args:
          snapshot: Number of the snapshot.

        Raises:
          UserError: There is no such snapshot, a file of it is damaged, or its images or labels are of another kind.
        """
        manifest = flatten(self.directory, Snapshot.load(self.directory, snapshot), self._known)
        if _kind(manifest) != _kind(self.manifest):
            rule = f"The snapshots of {self.directory} must have one kind of images and labels."
            raise UserError(rule, f"another one in snapshot {snapshot} than in {self.snapshot}")
        return replace(self, manifest=manifest, manifest_sha256=_sha256(manifest), snapshot=snapshot)

    def inputs(self, split: str) -> Images:
        """Returns what a split teaches with: `images`, or `scenes` of a dataset that teaches to find numbers."""
        return self.scenes(split) if self.manifest.task == FIND else self.images(split)

    def scenes(self, split: str) -> SceneImages:
        """Returns the pictures of a split and the boxes of their numbers; its files are checked as by `images`.

        Raises:
          UserError: The dataset has no such split, the split is empty, or a file is missing or of the wrong size.
        """
        self._check(self.manifest.split(split).shards)
        return SceneImages(self.examples(split))

    def images(self, split: str) -> ImageCache:
        """Returns the images and labels of a split.

        The files of the split are checked at once, rather than in the middle of an epoch; at an address, whether they
        are there, since each is compared with its digest when it is fetched.

        Raises:
          UserError: The dataset has no such split, the split is empty, or a file is missing or of the wrong size.
        """
        self._check(self.manifest.split(split).shards)
        if self.directory.is_remote:
            return CachedImages(self.directory, self.manifest, split, self.cache)
        return ImageCache(self.directory.path, split, self.manifest)

    def move(self, images: Images, split: str) -> None:
        """Moves the images of another snapshot to this one, after a check of the files that are new.

        Args:
          images: Images that `inputs` returned for another snapshot of the same stream.
          split: Name of the split.

        Raises:
          UserError: The snapshot has no such split, the split is empty, or a new file is missing or of the wrong size.
        """
        known = set(images.shards)
        self._check([shard for shard in self.manifest.split(split).shards if shard not in known])
        if isinstance(images, SceneImages):
            images.move_to(self.examples(split))
        else:
            images.move_to(self.manifest)

    def _check(self, shards: Sequence[ShardInfo]) -> None:
        """Raises a UserError if a shard is missing or of the wrong size."""
        if self.directory.is_remote:
            self._check_names(shards)
            return
        for shard in shards:
            path = self.directory.path / shard.file
            if not path.is_file():
                raise UserError(f"{path}: there is no such shard.")
            if (found := path.stat().st_size) != shard.bytes:
                raise UserError(f"{path} must be of {shard.bytes} bytes, as the manifest states.", found)

    def examples(self, split: str) -> Examples:
        """Returns the examples of a split, for a look at some of them.

        Raises:
          UserError: The dataset has no such split.
        """
        if self.directory.is_remote:
            return CachedExamples(self.directory, self.manifest, split, self.cache)
        return open_split(self.directory.path, split, manifest=self.manifest)

    def _check_names(self, shards: Sequence[ShardInfo]) -> None:
        """Raises a UserError if a shard is missing at an address; servers of the web list no names."""
        if not self.directory.has_listing:
            return
        there = set(self.directory.names())
        # Those of a stream are in many folders, and each is compared with its digest anyway.
        if missing := [shard.file for shard in shards if "/" not in shard.file and shard.file not in there]:
            raise UserError(f"{self.directory / missing[0]}: there is no such shard.")

    def describe(self) -> dict[str, Any]:
        """Returns the facts of the dataset that config.json records."""
        return {
            "name": self.manifest.name,
            "manifest_sha256": self.manifest_sha256,
            "examples": {name: split.examples for name, split in self.manifest.splits.items()},
            **({"task": FIND} if self.manifest.task == FIND else {"crop": self.manifest.config["crop"]}),
            **asdict(self.manifest.labels),
            **({} if self.snapshot is None else {"snapshot": self.snapshot}),
        }


def _kind(manifest: Manifest) -> tuple[object, ...]:
    """Returns what all snapshots of a stream have in common; pictures to find numbers in have no crops."""
    return manifest.task, manifest.image, manifest.labels, manifest.config.get("crop")


def _sha256(manifest: Manifest) -> str:
    """Returns the digest that a manifest.json with this content has."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def _refuse_others(directory: Path) -> None:
    """Raises a UserError that says what to do if a folder holds a run, or SVHN's pictures, instead of records."""
    if (directory / MANIFEST).exists():
        return
    if (directory / CONFIG).is_file():
        raise UserError("--data must be a dataset directory, not a run directory.", directory)
    folders = (directory, *(directory / subset for subset in _SUBSETS))
    if not any((folder / _ANNOTATIONS).is_file() for folder in folders):
        return
    options = ["--source", "svhn", "--input", str(directory), "--output", str(path_beside(directory, "-records"))]
    command = shlex.join(["python", "-m", "beam_jobs", "prepare", *options])
    raise UserError(
        f"{directory} holds pictures with their {_ANNOTATIONS}, not records: prepare them with `{command}`."
    )
