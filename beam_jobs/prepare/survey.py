"""What must be known of all annotations before a job starts: the longest number, and which pictures a limit leaves."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.assign import digest
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.fixes import NONE, Fixes
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Subset
from tfrecords.dataset.manifest import FIND
from tfrecords.progress import progress
from tfrecords.record.labels import MOST_LENGTH


@dataclass(frozen=True)
class Survey:
    """What was found in the annotations.

    Attributes:
      longest: Characters of the longest number that a record can hold, of those that the alphabet can spell; 1 if there
        is none.
      kept: Number of entries of each subset that the limit leaves, by the subset's name.
      has_boxes: Whether a number has a box, its own or its characters'; False where all pictures are a number each.
      largest_digest: Largest digest of a picture that the limit leaves; None without a limit.
      has_numbers: Whether there is a number, as far as it was looked for.
    """

    longest: int
    kept: dict[str, int]
    has_boxes: bool = True
    largest_digest: int | None = None
    has_numbers: bool = True


def limit_digest(annotation: Annotation, seed: int) -> int:
    """Returns the digest by which a limit chooses: that of the picture, so that all its numbers stay together."""
    return digest(seed, "limit", annotation.picture)


def survey(config: PrepareConfig, subsets: tuple[Subset, ...], fixes: Fixes = NONE) -> Survey:
    """Reads all annotations once, if the configuration has a limit or leaves something open, or if there are fixes.

    Args:
      config: How the dataset is made.
      subsets: Subsets to read.
      fixes: Corrections of the labels.

    Raises:
      UserError: The annotations of a subset as a whole cannot be read, or a key of the fixes is that of none of them.
    """
    everything = {subset.name: subset.entries for subset in subsets}
    source = load_source(config.source)
    # Where crops are stored as they are cut, boxes decide nothing about them.
    needs_boxes = config.task == FIND or config.crop.crop_size != config.crop.record_size
    is_open = config.max_length is None or (needs_boxes and not source.has_boxes)
    if config.limit is None and not is_open and not fixes.texts:
        return Survey(config.max_length or MOST_LENGTH, everything)
    measured = [_measure((), config, 0, fixes)] if not subsets else []
    unseen = fixes.unseen()
    with progress("read annotations", sum(everything.values()), "entries", keep=False) as bar:
        for subset in subsets:
            found = source.read_annotations(subset, 0, subset.entries, config.digit_order, config.reading)
            measured.append(_measure(unseen.without(found), config, subset.entries, fixes))
            bar.update(subset.entries)
    unseen.check()
    lengths, digests, boxes = (np.concatenate([each[column] for each in measured]) for column in range(3))
    longest = config.max_length or int(lengths[lengths <= MOST_LENGTH].max(initial=1))
    has_boxes = bool(boxes.any()) or not lengths.any()
    if config.limit is None or config.limit >= len(digests):
        return Survey(longest, everything, has_boxes, has_numbers=bool(lengths.any()))
    largest = int(np.partition(digests, config.limit - 1)[config.limit - 1])
    kept = {name: int((each[1] <= largest).sum()) for name, each in zip(everything, measured, strict=True)}
    return Survey(longest, kept, has_boxes, largest)


def _measure(
    annotations: Iterable[Annotation], config: PrepareConfig, count: int, fixes: Fixes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the length of each number, int64, the digest of its picture, uint64, and whether it has a box, bool.

    A number with characters that are not in the alphabet has length 0: it will be rejected, and as a remark that
    somebody wrote in its place it may be long.
    """
    labels = config.labels
    lengths, digests, boxes = np.zeros(count, np.int64), np.zeros(count, np.uint64), np.zeros(count, bool)
    for row, annotation in enumerate(map(fixes.apply, annotations) if fixes.texts else annotations):
        lengths[row] = 0 if labels.unknown(annotation.text) else len(annotation.text)
        boxes[row] = bool(annotation.placed)
        if config.limit is not None:
            digests[row] = limit_digest(annotation, config.seed)
    return lengths, digests, boxes
