"""manifest.json: the content of a dataset directory and how it was made.

The file is written last, so a directory with a manifest is a complete dataset.
It holds no time, path or runner, so the same inputs give the same bytes.
"""

import json
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Annotated, Any

from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES, MAX_RECORD_BYTES
from tfrecords.files.place import Place
from tfrecords.files.purpose import why_not
from tfrecords.files.storage import read_bytes
from tfrecords.record.labels import Labels
from tfrecords.record.scene import SCENE_ENCODINGS
from tfrecords.record.schema import SCHEMA_VERSION
from tfrecords.typed_json import Count, Rule, from_json, matching, one_of, parse_object, shorten

MANIFEST = "manifest.json"
ANNOTATIONS = "annotations.parquet"
DEAD_LETTERS = "dead_letters.jsonl"
UNKNOWN_SPLIT = "predict"
"""The split of pictures whose numbers need not be known: examples without one have length 0."""
SPLITS = ("train", "validation", "test", UNKNOWN_SPLIT)
"""Names of splits."""
READ, FIND = TASKS = ("read", "find")
"""What a dataset teaches: to read the number in an image cut out around it, or to find the numbers in a picture."""
_READ_VERSIONS = (1, SCHEMA_VERSION)
_Pixels = Annotated[int, Rule("an integer of 1 or more, or null", lambda size: size >= 1)]
GENERATION = r"generations/[0-9]{8}(-[0-9]{8})?(\.[0-9]{8})?"
"""Regular expression of the path of a generation in its stream; see `tfrecords.dataset.snapshots`."""
_SHARD_FILE = rf"({GENERATION}/)?[a-z][a-z0-9_]*-({'|'.join(SPLITS)})\.tfrecord-[0-9]{{5}}-of-[0-9]{{5}}"
_PLAIN_FILE = matching(r"[^./\\][^/\\]*", "the name of a file in the directory, which does not begin with a dot")


@dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file.

    Attributes:
      file: Name of the file; in a stream its path, `generations/00000042/NAME`.
      examples: Number of examples.
      bytes: Size of the file, bytes.
      sha256: SHA-256 of the file, hexadecimal.
    """

    file: Annotated[str, matching(_SHARD_FILE, "a shard's name, NAME-SPLIT.tfrecord-INDEX-of-COUNT")]
    examples: Count
    bytes: Count
    sha256: str


@dataclass(frozen=True)
class SplitInfo:
    """One split.

    Attributes:
      pictures: Number of source pictures with at least one example, each counted once for each of its numbers.
      examples: Number of examples.
      shards: Shards, in order.
    """

    pictures: Count
    examples: Count
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
    pictures: Count
    accepted: Count
    rejected: Count
    annotations_sha256: str
    pictures_sha256: str


@dataclass(frozen=True)
class ImageInfo:
    """Shape and encoding of the images.

    Attributes:
      shape: Height, width and channels; None for a size that differs between images.
      encoding: Encoding of the pixels: raw or png; of scenes jpeg too.
    """

    shape: tuple[_Pixels | None, _Pixels | None, Annotated[int, one_of(1, 3)]]
    encoding: Annotated[str, one_of(*SCENE_ENCODINGS)]

    @property
    def dynamic(self) -> bool:
        """Whether the images are raw and of several sizes; their pixels are then in another feature."""
        return self.encoding == "raw" and None in self.shape


@dataclass(frozen=True)
class WorkerVersions:
    """Versions of workers of a job, where some differ from the launcher's.

    Attributes:
      versions: Versions of the packages that decide bytes, by package.
      shards: Number of shards that these workers wrote; 0 if they only read annotations or wrote other files, or if
        a merge of directories has copied their records.
    """

    versions: dict[str, str]
    shards: Count


@dataclass(frozen=True)
class Manifest:
    """Description of a dataset directory.

    Attributes:
      name: Name of the dataset, the first part of its shards' names.
      image: Shape and encoding of the images.
      config: Configuration of the command that made the dataset.
      seed: Random seed of the dataset.
      versions: Versions of the packages that made the dataset, by package: the launcher's.
      sources: Subsets that were read.
      splits: Splits that were written, by name.
      dead_letters: Number of rejected pictures, by reason.
      files: SHA-256 of the other files of the directory, by name.
      labels: What the dataset's numbers may be; of schema version 1, at most five digits.
      schema_version: Schema version of the records and of this file: 1 or 2.
      worker_versions: Other versions that took part, with --allow-other-versions.
      task: One of `TASKS`. With "find" the records are scenes; see `tfrecords.record.scene`.
    """

    name: Annotated[str, matching("[a-z][a-z0-9_]*", "lower-case letters, digits and underscores, a letter first")]
    image: ImageInfo
    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    sources: list[SourceInfo]
    splits: dict[Annotated[str, one_of(*SPLITS)], SplitInfo]
    dead_letters: dict[str, Count]
    files: dict[Annotated[str, _PLAIN_FILE], str] = field(default_factory=dict)
    labels: Labels = field(default_factory=Labels)
    schema_version: int = SCHEMA_VERSION
    worker_versions: list[WorkerVersions] = field(default_factory=list)
    task: Annotated[str, one_of(*TASKS)] = READ

    def to_json(self) -> str:
        """Returns the text of the file; equal manifests give equal texts."""
        content = asdict(self)
        if not self.worker_versions:
            del content["worker_versions"]
        if self.task == READ:
            del content["task"]
        return json.dumps(content, indent=2) + "\n"

    def split(self, name: str) -> SplitInfo:
        """Returns one split.

        Raises:
          UserError: The dataset has no split of this name.
        """
        if name not in self.splits:
            raise UserError(f"The dataset {self.name} has the splits {', '.join(self.splits)}.", name)
        return self.splits[name]

    @classmethod
    def load(cls, directory: Place | Path | str) -> "Manifest":
        """Reads the manifest of a dataset directory, local or at an address that fsspec supports.

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
        if content["schema_version"] == 1:
            for newer in ("labels", "worker_versions", "task"):
                if newer in content:
                    rule = f"{name}: {newer} must be missing in a manifest of schema version 1."
                    raise UserError(rule, shorten(repr(content[newer])))
            content = {**content, "labels": asdict(Labels())}
        manifest = from_json(cls, {"worker_versions": [], "task": READ, **content}, name)
        if prod(size for size in manifest.image.shape if size is not None) > MAX_RECORD_BYTES:
            raise UserError(f"{name}: an image must fit a record, {MAX_RECORD_BYTES} bytes.", manifest.image.shape)
        for shard in (shard for split in manifest.splits.values() for shard in split.shards):
            if shard.bytes < shard.examples * FRAMING_BYTES:
                rule = f"{name}: {shard.file} must have {FRAMING_BYTES} bytes or more for each example."
                raise UserError(rule, f"{shard.examples} examples in {shard.bytes} bytes")
        return manifest


def read_manifest(directory: Place | Path | str) -> tuple[bytes, str]:
    """Returns the content of a dataset directory's manifest.json, and its path.

    Raises:
      UserError: The directory has no manifest.
    """
    place = Place(directory) / MANIFEST
    data = read_bytes(place)
    if data is None:
        raise UserError(
            f"{directory} is not a dataset directory: {why_not(directory, MANIFEST)}. "
            "`python -m beam_jobs prepare` writes one when it completes."
        )
    return data, str(place)


def parse_content(data: bytes, name: str) -> dict[str, Any]:
    """Returns the JSON object in the content of a manifest. Only its schema version is checked.

    Args:
      data: Content of the file.
      name: Name of the file in error messages.

    Raises:
      UserError: The content is no JSON object, or of another schema version.
    """
    what = "a JSON object with a schema_version"
    content = parse_object(data, name, what)
    if "schema_version" not in content:
        raise UserError(f"{name} must be {what}.", shorten(f"an object of {', '.join(content) or 'nothing'}"))
    version = content["schema_version"]
    if type(version) is not int:
        raise UserError(f"{name} must have an integer as its schema_version.", shorten(repr(version)))
    if version not in _READ_VERSIONS:
        made = "an older streetdigits: read it with that version, or prepare the dataset again"
        if version > SCHEMA_VERSION:
            made = "a newer streetdigits: upgrade streetdigits"
        read = " and ".join(map(str, _READ_VERSIONS))
        raise UserError(f"{name} was made by {made}; this version reads the schema versions {read}.", version)
    return content
