"""Pictures that are there more than once: candidates by fingerprint, then their complete content."""

from __future__ import annotations

import pickle
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from beam_jobs.annotation import RejectedError
from beam_jobs.job.pictures import Read, content_digest, read_picture

EXAMPLES = 10
"""Groups of equal pictures that are named."""
MOST_NAMED = 20
"""Pictures of a group that are named: thousands may be empty."""
_BUCKETS = 64


class Candidate(NamedTuple):
    """A picture that may be equal to others.

    Attributes:
      fingerprint: Fingerprint of its header.
      picture: Subset and name: `train/5.png`.
      text: First number of the picture.
    """

    fingerprint: int
    picture: str
    text: str


class Group(NamedTuple):
    """Pictures of equal content.

    Attributes:
      pictures: First pictures by name, at most `MOST_NAMED`, each with its number.
      more: Number of other pictures.
    """

    pictures: tuple[tuple[str, str], ...]
    more: int = 0


@dataclass
class Duplicates:
    """Counts of pictures of equal content.

    Attributes:
      groups: Groups of equal pictures.
      copies: Pictures that are equal to another one, less one a group.
      across: Groups with pictures of several subsets.
      disagreeing: Groups with several numbers.
      named_twice: Pictures that the annotations name again under the same name.
      examples: First groups by name, at most `EXAMPLES`.
    """

    groups: int = 0
    copies: int = 0
    across: int = 0
    disagreeing: int = 0
    named_twice: int = 0
    examples: list[Group] = field(default_factory=list)

    def add(self, other: Duplicates) -> None:
        """Adds the counts of other pictures, none of which is equal to one of these."""
        self.groups += other.groups
        self.copies += other.copies
        self.across += other.across
        self.disagreeing += other.disagreeing
        self.named_twice += other.named_twice
        self.examples = sorted([*self.examples, *other.examples])[:EXAMPLES]


def pack_by_bucket(candidates: Iterable[Candidate]) -> list[tuple[int, bytes]]:
    """Returns candidates packed for the runner to gather: those with the same fingerprint get the same bucket."""
    buckets: defaultdict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        buckets[candidate.fingerprint % _BUCKETS].append(candidate)
    return [
        (bucket, zlib.compress(pickle.dumps([tuple(one) for one in found]), 1)) for bucket, found in buckets.items()
    ]


def find_duplicates(packed: Iterable[bytes], read: Read) -> Duplicates:
    """Returns the duplicates among the candidates of a bucket; those that share a fingerprint are read completely.

    Args:
      packed: Packed candidates.
      read: Function that returns the picture of a subset and a name.
    """
    by_fingerprint: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
    found = Duplicates()
    names: set[str] = set()
    for one in packed:
        for fingerprint, picture, text in pickle.loads(zlib.decompress(one)):  # noqa: S301  (packed by this job)
            found.named_twice += picture in names
            names.add(picture)
            by_fingerprint[fingerprint].add((picture, text))
    for pictures in by_fingerprint.values():
        if len({picture for picture, _ in pictures}) > 1:
            _add_equal(found, pictures, read)
    return found


def _add_equal(found: Duplicates, pictures: Iterable[tuple[str, str]], read: Read) -> None:
    """Adds the groups of equal pictures among some; one that cannot be read now is equal to none."""
    groups: defaultdict[bytes, list[tuple[str, str]]] = defaultdict(list)
    for picture, text in sorted(pictures):
        try:
            groups[content_digest(read_picture(picture, partial(read, picture)))].append((picture, text))
        except RejectedError:
            continue
    for group in groups.values():
        names = {picture for picture, _ in group}
        if len(names) > 1:
            texts = {text for _, text in group}
            across = len({picture.partition("/")[0] for picture in names}) > 1
            named = Group(tuple(group[:MOST_NAMED]), len(group[MOST_NAMED:]))
            found.add(Duplicates(1, len(names) - 1, int(across), int(len(texts) > 1), 0, [named]))
