"""What is known of a dataset: what it is, how it was made, what its owner states, and counts of its numbers."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import ANNOTATIONS, FIND, Manifest
from tfrecords.dataset.publications import is_published, publication_of, stated
from tfrecords.dataset.tfds_metadata import description
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.nested import flatten
from tfrecords.typed_json import from_json, parse_object

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = "about.json"
"""Name of the file with what the owner states. It is not in the manifest, by whose digest trainings know a dataset."""
STATISTICS_COLUMNS = ["text", "split", "source_height", "source_width"]
"""Columns of annotations.parquet that `count_numbers` needs."""


@dataclass(frozen=True)
class Statistics:
    """Counts of the numbers of a dataset that became examples.

    Attributes:
      lengths: Number of numbers by their number of characters.
      characters: Number of each character in them.
      sizes: Smallest, median and largest height and width of the source pictures, pixels; empty if none is known.
    """

    lengths: dict[int, int]
    characters: dict[str, int]
    sizes: dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset.

    Attributes:
      manifest: Manifest of the dataset.
      about: What its owner states.
      statistics: Counts of its numbers; None where they are not at hand.
      snapshot: Number of the snapshot of a stream; None for an ordinary dataset.
    """

    manifest: Manifest
    about: About = field(default_factory=About)
    statistics: Statistics | None = None
    snapshot: int | None = None

    @property
    def known(self) -> About:
        """What is known of licence and citation: from the owner, and for the rest from a publication."""
        return stated(self.manifest, self.about)

    @property
    def description(self) -> list[str]:
        """Sentences on what the dataset holds."""
        lines = description(self.manifest).split("\n")
        if self.snapshot is not None:
            lines.append(f"It is a stream, which grows: this is its snapshot {self.snapshot}.")
        return lines

    @property
    def unknown(self) -> list[str]:
        """What nobody has stated, in words."""
        words = {"licence": "licence", "citation": "citation", "homepage": "page", "creator": "creator"}
        known = self.known.to_dict()
        return [word for name, word in words.items() if name not in known]

    @property
    def made(self) -> str:
        """Versions of the packages that made it, on one line."""
        return ", ".join(f"{name} {version}" for name, version in self.manifest.versions.items())

    @property
    def options(self) -> str:
        """Options with which it was made, on one line."""
        found = flatten(self.manifest.config).items()
        return ", ".join(f"{name} {value}" for name, value in found if value not in ({}, None))


def load_about(directory: Place) -> About:
    """Returns what the owner states of a dataset or a stream, in its about.json; nothing without one.

    Raises:
      UserError: The file is damaged, or a value cannot be used.
    """
    place = directory / ABOUT
    data = read_bytes(place)
    return from_json(About, {**asdict(About()), **parse_object(data, str(place))}, str(place)) if data else About()


def about_json(about: About) -> bytes:
    """Returns the content of about.json."""
    return (json.dumps(about.to_dict(), indent=1, ensure_ascii=False) + "\n").encode()


def save_about(directory: Place, about: About) -> None:
    """Writes what the owner states of a dataset or a stream; what is not stated stays as it is there.

    Raises:
      UserError: about.json is damaged, or cannot be written.
    """
    before = load_about(directory)
    if (now := about.over(before.to_dict())) != before:
        (directory / ABOUT).write([about_json(now)])


def count_numbers(table: "pa.Table", splits: Iterable[str] | None = None) -> Statistics:
    """Returns counts of the numbers that became examples.

    Args:
      table: Rows with `STATISTICS_COLUMNS`; those without a split are left out.
      splits: Splits to count; None for all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = pc.is_in(table["split"], value_set=pa.array(list(splits))) if splits else pc.is_valid(table["split"])
    rows = table.select(STATISTICS_COLUMNS).filter(kept)
    texts = [text or "" for text in rows["text"].to_pylist()]
    sizes = {}
    for name in ("height", "width"):
        values = sorted(value for value in rows[f"source_{name}"].to_pylist() if value is not None)
        if values:
            sizes[name] = (values[0], values[len(values) // 2], values[-1])
    return Statistics(
        dict(sorted(Counter(map(len, texts)).items())), dict(sorted(Counter("".join(texts)).items())), sizes
    )


def read_statistics(directory: Place, manifest: Manifest, splits: Iterable[str] | None = None) -> Statistics | None:
    """Returns counts of the numbers of a dataset directory; None where it has no annotations.parquet, as a stream.

    Args:
      directory: Dataset directory.
      manifest: Its manifest.
      splits: Splits to count; None for all.

    Raises:
      UserError: The file is damaged.
    """
    if ANNOTATIONS not in manifest.files:
        return None
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:  # an export to tar files needs no Arrow, and its card then has no counts
        return None
    place = directory / ANNOTATIONS
    data = read_bytes(place)
    if data is None:
        return None
    try:
        # Without `read_table`, which imports Arrow's datasets, and pandas where it is installed: 0.3 s.
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            return count_numbers(file.read(columns=STATISTICS_COLUMNS), splits)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"{place} must be the annotations.parquet that prepare wrote.", error) from error


def origin(facts: Facts) -> str:
    """Returns where licence and citation come from, as a sentence; empty where the owner states them."""
    manifest = facts.manifest
    publication = publication_of(manifest)
    if publication is None or facts.about.licence is not None:
        return ""
    if is_published(manifest):
        return f"As published with {publication.title}, whose numbers of pictures this dataset has."
    terms = publication.terms or "its page states no licence"
    return f"The pictures came in the format of {publication.title}. If they are of it: {terms.rstrip('.')}."


def task_words(manifest: Manifest) -> tuple[str, str]:
    """Returns Hugging Face's name of what a dataset teaches, and it in words."""
    if manifest.task == FIND:
        return "object-detection", "finding numbers in pictures"
    return "image-to-text", "reading the number in an image that is cut out around it"
