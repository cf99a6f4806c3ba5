"""What a dataset directory holds and how it was made: manifest.json.

The file is written last, so a directory with a manifest is a whole dataset.
It holds no time, path or runner: the same inputs make the same bytes.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.storage import join, read_bytes
from tfrecords.record.schema import SCHEMA_VERSION

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
    def load(cls, directory: Path | str) -> "Manifest":
        """Reads the manifest of a dataset directory, local or a URL that fsspec knows.

        Raises:
          UserError: there is none, it is not ours, or its schema is another version's.
        """
        data, name = read_manifest(directory)
        return cls.parse(data, name)

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Manifest":
        """Returns the manifest that a file's bytes hold; `name` is what errors call the file.

        Raises:
          UserError: it is not ours, or its schema is another version's.
        """
        content = parse_content(data, name)
        try:
            manifest = cls._from_dict(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{name} lacks a field of a manifest, or has one too many.", repr(error)) from error
        for split, info in manifest.splits.items():
            for number in (info.examples, *(n for shard in info.shards for n in (shard.examples, shard.bytes))):
                if type(number) is not int or number < 0:
                    raise UserError(f"{name}: {split} must be counted in whole numbers, 0 or above.", repr(number))
        return manifest

    @classmethod
    def _from_dict(cls, content: dict[str, Any]) -> "Manifest":
        splits = {
            name: SplitInfo(split["pictures"], split["examples"], [ShardInfo(**shard) for shard in split["shards"]])
            for name, split in content["splits"].items()
        }
        image = ImageInfo(tuple(content["image"]["shape"]), content["image"]["encoding"])
        sources = [SourceInfo(**source) for source in content["sources"]]
        return cls(**{**content, "splits": splits, "image": image, "sources": sources})


def read_manifest(directory: Path | str) -> tuple[bytes, str]:
    """Returns the bytes of a dataset directory's manifest.json, and its path.

    Raises:
      UserError: there is none.
    """
    path = join(str(directory), MANIFEST)
    data = read_bytes(path)
    if data is None:
        raise UserError(
            f"{directory} is not a dataset directory: it has no {MANIFEST}. "
            "`python -m beam_jobs prepare` makes one; an interrupted run leaves none."
        )
    return data, path


def parse_content(data: bytes, name: str) -> dict[str, Any]:
    """Returns the JSON object that a manifest's bytes hold: of this schema version, and otherwise unchecked.

    Args:
      data: of the file.
      name: what errors call it.

    Raises:
      UserError: it is no JSON object, or of another schema version.
    """
    try:
        content: dict[str, Any] = json.loads(data)
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name} must be a JSON object with a schema_version.", repr(error)) from error
    if type(version) is not int:
        raise UserError(f"{name} must have a schema_version that is a whole number.", repr(version))
    if version != SCHEMA_VERSION:
        made = "an older streetdigits: read it with that, or prepare it anew"
        if version > SCHEMA_VERSION:
            made = "a newer streetdigits: upgrade streetdigits"
        raise UserError(f"{name} was made by {made}; this one reads schema version {SCHEMA_VERSION}.", version)
    return content
