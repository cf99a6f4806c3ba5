"""Batches of labelled pictures as they arrive: what the ledger keeps of each, and why one is refused."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from beam_jobs.sources.base import Subset, published_split
from tfrecords.errors import UserError
from tfrecords.typed_json import Count, one_of

DUPLICATE = "duplicate"
"""Reason of a batch with the content of one that was accepted, under any name."""
CHANGED = "changed_after_admission"
"""Reason of a batch that is not what was accepted under its name."""
BAD_NAME = "bad_name"
"""Reason of a batch whose name cannot be the first part of keys, or is that of another one."""
INCOMPLETE = "incomplete"
"""Reason of a batch whose annotations could not be read, or whose pictures did not come, until patience ended."""
DAMAGED = "damaged"
"""Reason of a merge whose directories cannot be read; they stay as they are. Its name is that of the new directory."""
REASONS = (DUPLICATE, CHANGED, BAD_NAME, INCOMPLETE, DAMAGED)
RELABEL, DELETE = "relabel", "delete"
ACTIONS = (RELABEL, DELETE)
_NAME = re.compile(r"[\w-]{1,120}")
_SEPARATOR = "@"
"""Between the names of a batch and of one of its subsets. No name of a batch has it."""


@dataclass(frozen=True)
class Positions:
    """Messages of one partition of a log that a batch consists of.

    Attributes:
      partition: Name of the partition: a file's name, or TOPIC/INDEX.
      start: Offset of the first message, or byte.
      stop: Offset after the last message, or byte.
    """

    partition: str
    start: Count
    stop: Count


@dataclass(frozen=True)
class Correction:
    """A change of a number that is in the stream already.

    Attributes:
      key: Key of the number, `batch/picture`, with `@part` if the picture has several.
      action: One of `ACTIONS`.
      text: New text; empty to delete.
    """

    key: str
    action: Annotated[str, one_of(*ACTIONS)]
    text: str = ""


@dataclass(frozen=True)
class Batch:
    """A batch that was accepted, as the ledger keeps it.

    Attributes:
      name: Name, the first part of its pictures' keys: letters, digits, - and _.
      digest: SHA-256 that identifies the content: the annotations, and the names and sizes of the pictures.
      stamp: Digest of what a listing shows of the batch; equal stamps need no other look at it.
      subsets: What `prepare` reads of it, each named as `subset_name` does.
      positions: Messages that it consists of; nothing for a batch of an inbox of folders.
      corrections: Changes of numbers that earlier batches brought.
    """

    name: str
    digest: str
    stamp: str
    subsets: list[Subset]
    positions: list[Positions] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)

    @property
    def entries(self) -> int:
        """Number of entries to read: numbers, and pictures without one."""
        return sum(subset.entries for subset in self.subsets)


@dataclass(frozen=True)
class Refusal:
    """A batch that was refused, or a merge of directories.

    Attributes:
      name: Name; of a merge, the path of the directory that it was to make.
      digest: SHA-256 that identifies the content; that of the listing, where the content cannot be read.
      stamp: Digest of what a listing shows of it.
      reason: One of `REASONS`.
      detail: Rule and what was received, as a sentence.
      entry: Number of the ledger entry that had accepted it before, for `changed_after_admission`, or that has the
        merge, for `damaged`; None otherwise.
    """

    name: str
    digest: str
    stamp: str
    reason: Annotated[str, one_of(*REASONS)]
    detail: str
    entry: Count | None = None


def check_name(name: str) -> None:
    """Checks that a batch can have a name.

    Raises:
      UserError: It has other characters than letters, digits, - and _, more than 120 of them, or it is the name of a
        split, which would decide the split of all its pictures.
    """
    if not _NAME.fullmatch(name):
        raise UserError("The name of a batch must be of 1 to 120 letters, digits, - and _.", repr(name))
    if published_split(name):
        raise UserError("The name of a batch must not be that of a split: the splits of its pictures are drawn.", name)


def subset_name(batch: str, subset: str, is_only: bool) -> str:
    """Returns the name of a subset of a batch, the first part of its pictures' keys.

    It is the batch's own name; with `@` and the subset's, where the batch has several, or where the subset's name says
    which split it is, as that of the folder `test` in `2026-11/test`.

    Args:
      batch: Name of the batch.
      subset: Name of the subset, as the source gives it.
      is_only: Whether the batch has no other.
    """
    return batch if is_only and not published_split(subset) else f"{batch}{_SEPARATOR}{subset}"
