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
from tfrecords.dataset.manifest import ANNOTATIONS, FIND
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
    for part, held in zip(parts, _held(stream, parts if of_batches else ()), strict=False):
        given = [each for subset in of_batches.keys() & held.subsets for each in of_batches.pop(subset)]
        if given:
            given.sort(key=lambda each: each.key)
            good, missing = _in_directory(stream / part.directory, given, held.task == FIND)
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


class _Held(NamedTuple):
    """What a directory holds.

    Attributes:
      subsets: Names of its subsets.
      task: Task of the dataset.
    """

    subsets: frozenset[str]
    task: str


def _held(stream: Place, parts: Sequence[Part]) -> list[_Held]:
    """Returns what each directory holds, from memory where it is known."""
    if not stream.is_remote:
        return [_held_by(stream, part) for part in parts]
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda part: _held_by(stream, part), parts))


@lru_cache(_KNOWN_PARTS)
def _held_by(stream: Place, part: Part) -> _Held:
    manifest = part_manifest(stream, part)
    return _Held(frozenset(source.subset for source in manifest.sources), manifest.task)


def _in_directory(
    directory: Place, corrections: Sequence[Correction], is_find: bool
) -> tuple[list[Correction], list[str]]:
    """Returns those of some corrections whose number a directory has a record of, and a line for each other one.

    Args:
      directory: Dataset directory.
      corrections: Corrections of numbers of its batches.
      is_find: Whether its records are pictures to find numbers in: then a deletion may name a picture.
    """
    from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, read_columns

    wanted = {each.key for each in corrections}
    columns = {"key": STRINGS, "subset": STRINGS, "name": STRINGS, "reason": STRINGS_OR_NULLS}
    rows = read_columns(directory / ANNOTATIONS, columns)
    reasons: dict[str, str | None] = {}
    deletes = {each.key for each in corrections if each.action == DELETE} if is_find else set()
    parts: dict[str, str] = {}
    for key, subset, name, reason in zip(*(rows[column] for column in columns), strict=True):
        picture = f"{subset}/{name}"
        if is_find and key != picture:
            parts.setdefault(picture, key)
        # Several rows may have one key; one of them at most is accepted. A picture is deleted with all its numbers.
        for named in {key, picture} if picture in deletes else (key,):
            if named in wanted and reasons.get(named, "") is not None:
                reasons[named] = reason
    good = [each for each in corrections if reasons.get(each.key, "") is None]
    return good, [_why_not(each.key, reasons, parts) for each in corrections if reasons.get(each.key, "") is not None]


def _why_not(key: str, reasons: Mapping[str, str | None], parts: Mapping[str, str]) -> str:
    if key in parts and key not in reasons:
        return f"{key}: a picture has no text, and its numbers have keys of their own, as {parts[key]}"
    if key not in reasons:
        return f"{key}: its batch has no such number"
    return f"{key}: it has no record, since it is rejected ({reasons[key]})"
