"""manifest.json: the content of a dataset directory and how it was made.

The file is written last, so a directory with a manifest is a complete dataset.
It holds no time, path or runner, so the same inputs give the same bytes.
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
    """One TFRecord file.

    Attributes:
      file: Name of the file.
      examples: Number of examples.
      bytes: Size of the file, bytes.
      sha256: SHA-256 of the file, hexadecimal.
    """

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitInfo:
    """One split.

    Attributes:
      pictures: Number of source pictures with at least one example.
      examples: Number of examples.
      shards: Shards, in order.
    """

    pictures: int
    examples: int
    shards: list[ShardInfo]


@dataclass(frozen=True)
class SourceInfo:
    """One subset of the source.

    Attributes:
      subset: Name of the subset, as published: train, test, extra.
      pictures: Number of pictures in the annotations: accepted + rejected.
      accepted: Number of pictures that became examples.
      rejected: Number of pictures that became dead letters.
      annotations_sha256: SHA-256 of the annotation file, hexadecimal.
      pictures_sha256: SHA-256 of the lines "key size crc32c" of all readable pictures, in order of their keys.
    """

    subset: str
    pictures: int
    accepted: int
    rejected: int
    annotations_sha256: str
    pictures_sha256: str


@dataclass(frozen=True)
class ImageInfo:
    """Shape and encoding of the images.

    Attributes:
      shape: Height, width and channels; None for a size that differs between images.
      encoding: Encoding of the pixels: raw or png.
    """

    shape: tuple[int | None, int | None, int]
    encoding: str

    @property
    def dynamic(self) -> bool:
        """Whether the images are raw and of several sizes; their pixels are then in another feature."""
        return self.encoding == "raw" and None in self.shape


@dataclass(frozen=True)
class Manifest:
    """Description of a dataset directory.

    Attributes:
      name: Name of the dataset, the first part of its shards' names.
      image: Shape and encoding of the images.
      config: Configuration of the command that made the dataset.
      seed: Random seed of the dataset.
      versions: Versions of the packages that made the dataset, by package.
      sources: Subsets that were read.
      splits: Splits that were written, by name.
      dead_letters: Number of rejected pictures, by reason.
      files: SHA-256 of the other files of the directory, by name.
      schema_version: Schema version of the records and of this file.
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
        """Returns the text of the file; equal manifests give equal texts."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def split(self, name: str) -> SplitInfo:
        """Returns one split.

        Raises:
          UserError: The dataset has no split of this name.
        """
        if name not in self.splits:
            raise UserError(f"The dataset {self.name} has the splits {', '.join(self.splits)}.", name)
        return self.splits[name]

    @classmethod
    def load(cls, directory: Path | str) -> "Manifest":
        """Reads the manifest of a dataset directory, local or a URL that fsspec supports.

        Raises:
          UserError: The directory has no manifest, or the manifest is invalid or of another schema version.
        """
        data, name = read_manifest(directory)
        return cls.parse(data, name)

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Manifest":
        """Returns the manifest in the content of a file.

        Args:
          data: Content of the file.
          name: Name of the file in error messages.

        Raises:
          UserError: The manifest is invalid, or of another schema version.
        """
        content = parse_content(data, name)
        try:
            manifest = cls._from_dict(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{name} must have exactly the fields of a manifest.", repr(error)) from error
        for split, info in manifest.splits.items():
            for count in (info.examples, *(n for shard in info.shards for n in (shard.examples, shard.bytes))):
                if type(count) is not int or count < 0:
                    raise UserError(f"{name}: the counts of {split} must be integers of 0 or above.", repr(count))
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
    """Returns the content of a dataset directory's manifest.json, and its path.

    Raises:
      UserError: The directory has no manifest.
    """
    path = join(str(directory), MANIFEST)
    data = read_bytes(path)
    if data is None:
        raise UserError(
            f"{directory} is not a dataset directory: it has no {MANIFEST}. "
            "`python -m beam_jobs prepare` writes one when it completes."
        )
    return data, path


def parse_content(data: bytes, name: str) -> dict[str, Any]:
    """Returns the JSON object in the content of a manifest. Only its schema version is checked.

    Args:
      data: Content of the file.
      name: Name of the file in error messages.

    Raises:
      UserError: The content is no JSON object, or of another schema version.
    """
    try:
        content: dict[str, Any] = json.loads(data)
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name} must be a JSON object with a schema_version.", repr(error)) from error
    if type(version) is not int:
        raise UserError(f"{name} must have an integer as its schema_version.", repr(version))
    if version != SCHEMA_VERSION:
        made = "an older streetdigits: read it with that version, or prepare the dataset again"
        if version > SCHEMA_VERSION:
            made = "a newer streetdigits: upgrade streetdigits"
        raise UserError(f"{name} was made by {made}; this version reads schema version {SCHEMA_VERSION}.", version)
    return content
