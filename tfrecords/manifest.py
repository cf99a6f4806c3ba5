"""What a dataset directory holds and how it was made: manifest.json.

The file is written last, so a directory with a manifest is a whole dataset.
It holds no time, path or runner: the same inputs make the same bytes.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.schema import SCHEMA_VERSION

MANIFEST = "manifest.json"
ANNOTATIONS = "annotations.parquet"
DEAD_LETTERS = "dead_letters.jsonl"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file: its name, examples, size in bytes and SHA-256 (hexadecimal)."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitInfo:
    """One split: source pictures with at least one example, examples, and the shards in order."""

    pictures: int
    examples: int
    shards: list[ShardInfo]


@dataclass(frozen=True)
class SourceInfo:
    """One subset that was read.

    Attributes:
      subset: as published: train, test, extra.
      pictures: that the annotations name; accepted + rejected.
      accepted: that became examples.
      rejected: that became dead letters.
      annotations_sha256: of the annotation file, hexadecimal.
      pictures_sha256: over the lines "key size crc32c" of all pictures that could be read, in order of keys.
    """

    subset: str
    pictures: int
    accepted: int
    rejected: int
    annotations_sha256: str
    pictures_sha256: str


@dataclass(frozen=True)
class ImageInfo:
    """What the pictures are: shape (height, width, channels), None where it differs, and their encoding."""

    shape: tuple[int | None, int | None, int]
    encoding: str

    @property
    def dynamic(self) -> bool:
        """True for raw pictures of several sizes, whose pixels stand in another feature."""
        return self.encoding == "raw" and None in self.shape


@dataclass(frozen=True)
class Manifest:
    """A dataset directory's description.

    Attributes:
      name: of the dataset, the first part of its shards' names.
      image: what the pictures are.
      config: how it was made, as the command's configuration.
      seed: of every random choice.
      versions: of the packages that made it.
      sources: what was read, a subset each.
      splits: what was written, by split.
      dead_letters: how many pictures were rejected, by reason.
      files: SHA-256 of the other files of the directory, by name.
      schema_version: of the records and of this file.
    """

    name: str
    image: ImageInfo
    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    sources: list[SourceInfo]
    splits: dict[str, SplitInfo]
    dead_letters: dict[str, int]
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Returns the file's text; equal manifests give equal texts."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def split(self, name: str) -> SplitInfo:
        """Returns one split.

        Raises:
          UserError: the dataset has none of that name.
        """
        if name not in self.splits:
            raise UserError(f"The dataset {self.name} has the splits {', '.join(self.splits)}.", name)
        return self.splits[name]

    @classmethod
    def load(cls, directory: Path) -> "Manifest":
        """Reads the manifest of a dataset directory.

        Raises:
          UserError: there is none, it is not ours, or its schema is another version's.
        """
        path = directory / MANIFEST
        if not path.is_file():
            raise UserError(
                f"{directory} is not a dataset directory: it has no {MANIFEST}. "
                "`python -m beam_jobs prepare` makes one; an interrupted run leaves none."
            )
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Manifest":
        """Returns the manifest that a file's bytes hold; `name` is what errors call the file.

        Raises:
          UserError: it is not ours, or its schema is another version's.
        """
        try:
            content = json.loads(data)
            version = content["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{name} must be a JSON object with a schema_version.", repr(error)) from error
        if version != SCHEMA_VERSION:
            raise UserError(f"{name}: this streetdigits reads schema version {SCHEMA_VERSION}.", version)
        try:
            return cls._from_dict(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{name} lacks a field of a manifest, or has one too many.", repr(error)) from error

    @classmethod
    def _from_dict(cls, content: dict[str, Any]) -> "Manifest":
        splits = {
            name: SplitInfo(split["pictures"], split["examples"], [ShardInfo(**shard) for shard in split["shards"]])
            for name, split in content["splits"].items()
        }
        image = ImageInfo(tuple(content["image"]["shape"]), content["image"]["encoding"])
        sources = [SourceInfo(**source) for source in content["sources"]]
        return cls(**{**content, "splits": splits, "image": image, "sources": sources})
