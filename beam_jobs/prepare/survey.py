"""What must be known of all annotations before a job starts: the longest number, and which pictures a limit leaves."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.assign import digest
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Subset
from tfrecords.progress import progress
from tfrecords.record.labels import MOST_LENGTH


@dataclass(frozen=True)
class Survey:
    """What was found in the annotations.

    Attributes:
      longest: Characters of the longest number that a record can hold; 1 if there is none.
      kept: Number of entries of each subset that the limit leaves, by the subset's name.
      largest_digest: Largest digest of a picture that the limit leaves; None without a limit.
    """

    longest: int
    kept: dict[str, int]
    largest_digest: int | None = None


def limit_digest(annotation: Annotation, seed: int) -> int:
    """Returns the digest by which a limit chooses: that of the picture, so that all its numbers stay together."""
    return digest(seed, "limit", annotation.picture)


def survey(config: PrepareConfig, subsets: tuple[Subset, ...]) -> Survey:
    """Reads all annotations once, if the configuration has a limit or leaves the longest length open.

    Args:
      config: How the dataset is made.
      subsets: Subsets to read.

    Raises:
      UserError: The annotations of a subset as a whole cannot be read.
    """
    everything = {subset.name: subset.entries for subset in subsets}
    if config.max_length is not None and config.limit is None:
        return Survey(config.max_length, everything)
    source, longest = load_source(config.source), 1
    digests: dict[str, np.ndarray] = {}
    with progress("read annotations", sum(everything.values()), "entries", keep=False) as bar:
        for subset in subsets:
            found = source.read_annotations(subset, 0, subset.entries, config.digit_order, config.options)
            lengths, digests[subset.name] = _measure(found, config, subset.entries)
            usable = lengths[lengths <= MOST_LENGTH]
            longest = max(longest, int(usable.max(initial=1)))
            bar.update(subset.entries)
    if config.limit is None or config.limit >= sum(everything.values()):
        return Survey(longest, everything)
    every = np.concatenate(list(digests.values()))
    largest = int(np.partition(every, config.limit - 1)[config.limit - 1])
    kept = {name: int((values <= largest).sum()) for name, values in digests.items()}
    return Survey(longest, kept, largest)


def _measure(annotations: Iterable[Annotation], config: PrepareConfig, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lengths of all numbers, int64, and the digests of their pictures, uint64."""
    lengths, digests = np.zeros(count, np.int64), np.zeros(count, np.uint64)
    for row, annotation in enumerate(annotations):
        lengths[row] = len(annotation.text)
        if config.limit is not None:
            digests[row] = limit_digest(annotation, config.seed)
    return lengths, digests
