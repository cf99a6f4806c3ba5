"""Corrections of numbers that are in a stream: which directories hold them, and those directories corrected.

A directory never changes. A corrected one is written next to it, in place of it in the next snapshot: only the shards
of corrected numbers are written again, and no picture is decoded. What it holds is what `prepare` would have written,
had the annotations been so.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from beam_jobs.watch.batch import DELETE, Correction
from beam_jobs.watch.inboxes.correction_files import read_corrections
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.manifest import ANNOTATIONS
from tfrecords.dataset.snapshots import Part, part_manifest
from tfrecords.files.place import Place

__all__ = ["Affected", "affected", "correct_directory", "read_corrections"]

_KNOWN_PARTS = 1 << 14
"""Directories whose batches are kept in memory, some 100 bytes for each batch."""
_THREADS = 16
"""Manifests that are read at once from a store."""


class Affected(NamedTuple):
    """What corrections change.

    Attributes:
      parts: Corrections to make in each directory that holds a number of theirs, at most one for each number.
      not_found: A line for each correction that changes nothing: its key, and why.
    """

    parts: dict[Part, list[Correction]]
    not_found: list[str]


def affected(stream: Place, parts: Sequence[Part], corrections: Iterable[Correction]) -> Affected:
    """Returns which directories of a stream hold the numbers of corrections.

    Of several corrections of one number, the last counts; nothing corrects a deleted number.

    Args:
      stream: Stream.
      parts: Directories of a snapshot.
      corrections: Corrections, in the order in which they are to take effect.

    Raises:
      UserError: A file of a directory is missing or damaged.
      OSError: A file cannot be read.
    """
    last, not_found = _last_of_each(corrections)
    of_batches: dict[str, list[Correction]] = {}
    for correction in last.values():
        of_batches.setdefault(correction.key.partition("/")[0], []).append(correction)
    found: dict[Part, list[Correction]] = {}
    for part, subsets in zip(parts, _subsets(stream, parts if of_batches else ()), strict=False):
        given = [each for subset in of_batches.keys() & subsets for each in of_batches.pop(subset)]
        if given:
            good, missing = _in_directory(stream / part.directory, sorted(given, key=lambda each: each.key))
            found.update({part: good} if good else {})
            not_found += missing
    for rest in of_batches.values():
        not_found += [f"{each.key}: no batch of the stream has this number" for each in rest]
    return Affected(found, not_found)


def correct_directory(stream: Stream, part: Part, corrections: Sequence[Correction], into: str) -> None:
    """Writes a directory of a stream again, corrected; does nothing if it is there, with these corrections.

    A kill leaves a directory without a manifest, which the next call deletes.

    Args:
      stream: Stream.
      part: Directory to correct. It is not changed.
      corrections: What `affected` returned for it.
      into: Path of the new directory in the stream, which no snapshot names yet.

    Raises:
      UserError: A file of the directory is missing or damaged, or a file cannot be written.
      OSError: A file cannot be read or written.
    """
    # Arrow, which commands must not import at start.
    from beam_jobs.watch.correcting.corrected_directory import write_corrected

    write_corrected(stream, part, corrections, into)


def _last_of_each(corrections: Iterable[Correction]) -> tuple[dict[str, Correction], list[str]]:
    """Returns the correction that counts of each number, and a line for each after a deletion."""
    last: dict[str, Correction] = {}
    late = []
    for each in corrections:
        before = last.get(each.key)
        if before and before.action == DELETE and each != before:
            late.append(f"{each.key}: it is deleted")
        else:
            last[each.key] = each
    return last, late


def _subsets(stream: Place, parts: Sequence[Part]) -> list[frozenset[str]]:
    """Returns the names of the subsets that each directory holds, from memory where they are known."""
    if not stream.is_remote:
        return [_subsets_of(stream, part) for part in parts]
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda part: _subsets_of(stream, part), parts))


@lru_cache(_KNOWN_PARTS)
def _subsets_of(stream: Place, part: Part) -> frozenset[str]:
    return frozenset(source.subset for source in part_manifest(stream, part).sources)


def _in_directory(directory: Place, corrections: Sequence[Correction]) -> tuple[list[Correction], list[str]]:
    """Returns those of some corrections whose number a directory has a record of, and a line for each other one."""
    from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, read_columns

    wanted = {each.key for each in corrections}
    rows = read_columns(directory / ANNOTATIONS, {"key": STRINGS, "reason": STRINGS_OR_NULLS})
    reasons: dict[str, str | None] = {}
    for key, reason in zip(rows["key"], rows["reason"], strict=True):
        # Several rows may have one key; one of them at most is accepted.
        if key in wanted and reasons.get(key, "") is not None:
            reasons[key] = reason
    good = [each for each in corrections if reasons.get(each.key, "") is None]
    return good, [_why_not(each.key, reasons) for each in corrections if reasons.get(each.key, "") is not None]


def _why_not(key: str, reasons: Mapping[str, str | None]) -> str:
    if key not in reasons:
        return f"{key}: its batch has no such number"
    return f"{key}: it has no record, since it is rejected ({reasons[key]})"
