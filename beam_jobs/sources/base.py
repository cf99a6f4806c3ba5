"""What `prepare` needs from a published format: the `Source` protocol.

A new format is a module with a `SOURCE` that implements the protocol, listed in `beam_jobs.sources.SOURCES`. Beam's
workers get a source by its name, so nothing of it is pickled but `Subset`s. Sources import neither each other nor
`prepare`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from beam_jobs.annotation import Annotation

DIGIT_ORDERS = ("left", "stored")
"""Reading orders of a picture's digits: by the left edges of their boxes, ties as stored; or as the source has them."""
FOR_VALIDATION = ("val", "valid", "validation", "dev")
"""Names that a subset for validation usually has."""
_SPLITS = {"test": "test", **dict.fromkeys(FOR_VALIDATION, "validation")}


def published_split(subset: str) -> str | None:
    """Returns the split that a subset is published as, by its name in any case; None if it is for training."""
    return _SPLITS.get(subset.lower())


@dataclass(frozen=True)
class Subset:
    """One published part of a source: pictures and their annotations.

    Attributes:
      name: Name as published, the first part of its pictures' keys: train, val, test, extra.
      folder: Path of the folder that holds it.
      entries: Number of pictures that the annotations name.
      annotations_sha256: SHA-256 of the annotations, hexadecimal.
    """

    name: str
    folder: str
    entries: int
    annotations_sha256: str


class Source(Protocol):
    """Reader of one published format; it has no state, so that every worker can load its own.

    Attributes:
      packages: Names of the installed packages that decide, for this format alone, a dataset's bytes.
    """

    packages: tuple[str, ...]

    def find_subsets(self, folder: Path, wanted: tuple[str, ...]) -> tuple[Subset, ...]:
        """Returns the subsets of an input folder, in the order in which they are read.

        Args:
          folder: Input folder.
          wanted: Names of the subsets to read; empty for all.

        Raises:
          UserError: The input cannot be read, or a wanted subset is missing.
        """

    def unread_folders(self, folder: Path, subsets: tuple[Subset, ...]) -> tuple[Path, ...]:
        """Returns the folders in an input folder that hold annotations and are in none of the subsets, sorted.

        Args:
          folder: Input folder.
          subsets: Subsets that are read.
        """

    def read_annotations(self, subset: Subset, start: int, stop: int, digit_order: str) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries; a bad entry becomes a rejected `Annotation`.

        Args:
          subset: Subset to read.
          start: Index of the first entry.
          stop: Index after the last entry.
          digit_order: One of `DIGIT_ORDERS`.

        Raises:
          UserError: The annotations as a whole cannot be read.
        """

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file.

        Args:
          subset: Subset of the picture.
          name: Name of the picture, as in its annotation.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
