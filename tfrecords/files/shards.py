"""Names and digests of shard files."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tfrecords.errors import UserError

_NAME = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)-(?P<split>[a-z][a-z0-9_]*)\.tfrecord-(?P<index>\d{5})-of-(?P<count>\d{5})"
)


@dataclass(frozen=True, order=True)
class ShardName:
    """File name of one shard, in the form of TensorFlow Datasets: `svhn-train.tfrecord-00003-of-00064`.

    Attributes:
      name: Name of the dataset, lower case with underscores.
      split: Name of the split: train, validation or test.
      index: Index of the shard, from 0.
      count: Number of shards of the split, at most 99,999.
    """

    name: str
    split: str
    index: int
    count: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(str(self)) or not 0 <= self.index < self.count:
            raise UserError(
                "A shard's name must be NAME-SPLIT.tfrecord-INDEX-of-COUNT, names in lower case, INDEX below COUNT.",
                str(self),
            )

    def __str__(self) -> str:
        return f"{self.name}-{self.split}.tfrecord-{self.index:05d}-of-{self.count:05d}"

    @classmethod
    def parse(cls, text: str) -> "ShardName":
        """Returns the parts of a shard's file name.

        Raises:
          UserError: The text is no shard's name.
        """
        match = _NAME.fullmatch(text)
        if not match:
            raise UserError("A shard's name must be NAME-SPLIT.tfrecord-INDEX-of-COUNT.", text)
        return cls(match["name"], match["split"], int(match["index"]), int(match["count"]))


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal, in constant memory."""
    with path.open("rb") as stream:
        return stream_sha256(stream)


def stream_sha256(stream: BinaryIO) -> str:
    """Returns the SHA-256 of the rest of an open file, hexadecimal, in constant memory."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
