"""Pictures that are in several splits: found by their content before the shards are written, and left out.

A picture stays in the split by which models are compared: test, then validation, then train. Those of the split
`predict` all stay, since a submission needs them, and nothing in test or validation is left out for them. What is found
depends on the pictures and their splits alone, so a rerun leaves out the same ones, and complete shards stay valid.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from beam_jobs.annotation import LEAK, Annotation, RejectedError, unpack
from beam_jobs.job.pictures import Read, content_digest, is_pixels, read_picture
from beam_jobs.prepare.plan import Plan
from tfrecords.files.ahead import read_ahead

_FIRST_TO_STAY = ("test", "validation", "predict", "train")
_LEAKS = {"train": ("test", "validation", "predict"), "validation": ("test",)}
"""Splits whose pictures another split must not have, by that other split."""

SplitPicture = tuple[str, str]
"""Split of a picture, and the picture: its subset and name, as `train/5.png`."""
Leaks = Mapping[SplitPicture, str]
"""Pictures to leave out, each with the equal one that stays."""


def must_not_share(split: str, other: str) -> bool:
    """Returns whether a picture of a split is a leak if another split has it too."""
    return other in _LEAKS.get(split, ())


def leaks_among(copies: Iterable[SplitPicture]) -> Iterator[tuple[SplitPicture, str]]:
    """Yields those of several equal pictures that are to be left out, each with the one that stays, in order.

    Args:
      copies: Splits and names of pictures of the same content, in any order.
    """
    found = sorted(set(copies), key=lambda copy: (_FIRST_TO_STAY.index(copy[0]), copy[1]))
    for copy in found:
        kept = next((name for split, name in found if must_not_share(copy[0], split)), None)
        if kept is not None:
            yield copy, kept


def without_leaks(annotations: Iterable[Annotation], split: str, leaks: Leaks) -> Iterator[Annotation]:
    """Yields the annotations of a split, those of pictures to leave out as rejected ones."""
    for annotation in annotations:
        kept = leaks.get((split, annotation.picture))
        if kept is None or annotation.dead:
            yield annotation
        else:
            rule = f"{annotation.key}: With --on-leak drop, a picture must be in one split."
            letter = RejectedError("annotation", LEAK, rule, f"the content of {kept}").letter
            yield replace(annotation, dead=letter)


def leaves_out(table: pa.Table, split: str, leaks: Leaks) -> bool:
    """Returns whether a shard that an earlier run wrote leaves out what is to be left out, and nothing else of it.

    Args:
      table: Rows of the shard's pictures, a table of `annotations_table.SCHEMA`.
      split: Split of the shard.
      leaks: Pictures to leave out.
    """
    columns = (table[name].to_pylist() for name in ("subset", "name", "stage", "reason"))
    for subset, name, stage, reason in zip(*columns, strict=True):
        is_leak = (split, f"{subset}/{name}") in leaks
        # Annotations that are rejected for a reason of their own keep it.
        if is_leak != (reason == LEAK) and not (is_leak and stage == "annotation"):
            return False
    return True


def picture_digests(split: str, packed: bytes, plan: Plan, read: Read) -> Iterator[tuple[bytes, SplitPicture]]:
    """Yields the digest of each picture in a packed list of annotations; none of those that cannot be read.

    Args:
      split: Split of the annotations.
      packed: Annotations.
      plan: Plan of the job.
      read: Function that returns the picture of a subset and a name.

    Raises:
      UserError: The machine lacks a resource that every picture needs.
    """
    pictures = sorted({annotation.picture for annotation in unpack(packed) if not annotation.dead})
    is_remote = plan.reads_remote
    for picture, read_one in read_ahead(pictures, read, lambda picture: is_remote or "://" in picture, is_pixels):
        try:
            yield content_digest(read_picture(picture, read_one)), (split, picture)
        except RejectedError:
            continue  # rejected again, with its reason, when its shard is made
