"""Dataset directory of a run: its manifest, read once, and the images of its splits."""

import hashlib
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import MANIFEST, Manifest, read_manifest
from tfrecords.errors import UserError
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
    """

    directory: Path
    manifest: Manifest
    manifest_sha256: str

    @classmethod
    def open(cls, directory: Path) -> "Records":
        """Reads the manifest of a dataset directory.

        Raises:
          UserError: The directory is not a dataset directory, or its schema is of another version.
        """
        _refuse_others(directory)
        content, name = read_manifest(directory)
        return cls(directory, Manifest.parse(content, name), hashlib.sha256(content).hexdigest())

    def images(self, split: str) -> ImageCache:
        """Returns the images and labels of a split.

        The files of the split are checked at once, rather than in the middle of an epoch.

        Raises:
          UserError: The dataset has no such split, the split is empty, or a file is missing or of the wrong size.
        """
        for shard in self.manifest.split(split).shards:
            path = self.directory / shard.file
            if not path.is_file():
                raise UserError(f"{path}: there is no such shard.")
            if (found := path.stat().st_size) != shard.bytes:
                raise UserError(f"{path} must be of {shard.bytes} bytes, as the manifest states.", found)
        return ImageCache(self.directory, split, self.manifest)

    def describe(self) -> dict[str, Any]:
        """Returns the facts of the dataset that config.json records."""
        return {
            "name": self.manifest.name,
            "manifest_sha256": self.manifest_sha256,
            "examples": {name: split.examples for name, split in self.manifest.splits.items()},
            "crop": self.manifest.config["crop"],
            **asdict(self.manifest.labels),
        }


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
