"""What an entry of the ledger says is done: its directories are made, and then its snapshot is committed.

All of it follows from the ledger and the inbox, so that it may be killed at any moment and done again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from beam_jobs.job.given import warn
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.execute import execute, is_of_cluster
from beam_jobs.prepare.output_lock import lock_unnamed
from beam_jobs.prepare.plan import Plan
from beam_jobs.sources import load_source
from beam_jobs.watch.admission import changed
from beam_jobs.watch.batch import DAMAGED, Batch, Correction, Refusal
from beam_jobs.watch.commit import Known, commit, describe, newest, part_of
from beam_jobs.watch.generation import plan_generation
from beam_jobs.watch.inboxes.inbox import Inbox
from beam_jobs.watch.ledger import DamagedError, Entry, Ledger
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name
from tfrecords.errors import UserError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.prepare.local import Meanwhile

Make = Callable[[Plan], None]
"""Function that makes the dataset directory of a plan, or keeps it where it is complete."""
QUIET_S = 5.0
"""Time after which the progress of a generation is shown, seconds."""


class EmptyStreamError(UserError):
    """An entry leaves a stream without a directory: of the first one, all batches were refused later."""


def maker(
    workers: int | None,
    options: PipelineOptions | None = None,
    verbose: bool = False,
    meanwhile: Meanwhile = contextlib.nullcontext,
) -> Make:
    """Returns the function that makes directories as `prepare` does.

    Args:
      workers: Number of processes on this machine; None to choose.
      options: Beam's options; None to do without Beam.
      verbose: Whether messages of Beam are shown.
      meanwhile: What this process does while other processes of this machine work.
    """

    def make(plan: Plan) -> None:
        with lock_unnamed(plan) as complete:
            if not complete:
                plan = plan.on_cluster() if is_of_cluster(options) else plan
                execute(plan, workers, options, verbose, QUIET_S, meanwhile)

    return make


def perform(
    stream: Stream,
    ledger: Ledger,
    entry: Entry,
    make: Make,
    inbox: Inbox | None = None,
    known: Known | None = None,
) -> Snapshot:
    """Makes the directories of an entry and commits its snapshot, or finishes what a killed process has begun of it.

    Batches that are no longer what was accepted are refused in further entries of the ledger, and left out; so are
    merges of directories that are damaged, which stay as they are.

    Args:
      stream: Stream.
      ledger: Its ledger.
      entry: Entry that makes a snapshot and has none, the first one of these.
      make: Function that makes a generation.
      inbox: Where its batches are; None compares them with nothing.
      known: Manifests of the stream that were read before, for the next call.

    Returns:
      The snapshot that is committed.

    Raises:
      EmptyStreamError: The stream has no picture: there is nothing to commit. The entry is closed.
      LostStreamError: Another process has the stream now.
      UserError: A directory cannot be made.
    """
    before = newest(stream.place)
    effective = _without_changed(ledger, entry, inbox)
    while True:
        try:
            made = _make_directories(stream, effective, before, make)
        except Exception as error:
            found = _without_changed(ledger, entry, inbox, thorough=True)
            if found == effective:
                found = _without_damaged(ledger, entry, error)
            if found == effective:
                found = _without_unreadable(stream, ledger, entry)
            if found == effective:
                raise
        else:
            found = _without_changed(ledger, entry, inbox)
            if found == effective:
                break
        # Some batch has changed while it was read.
        effective = found
    if not made.parts:
        ledger.close(entry)
        raise EmptyStreamError(f"{stream.place} must have a batch, and those of entry {entry.entry} were refused.")
    held = before.batches if before else 0
    batches = held + sum(bool(batch.entries) for batch in effective.batches)
    for line in made.not_found:
        warn(f"a correction changes nothing: {line}")
    snapshot = replace(
        describe(stream.place, entry.entry, made.parts, batches, known),
        corrections_applied=made.applied + (before.corrections_applied if before else 0),
        corrections_not_found=len(made.not_found) + (before.corrections_not_found if before else 0),
    )
    commit(stream.place, snapshot, known)
    ledger.close(entry)
    return snapshot


class _Made(NamedTuple):
    """What was made for an entry.

    Attributes:
      parts: Directories of the new snapshot.
      applied: Number of corrections that changed a number.
      not_found: A line for each correction that changed nothing.
    """

    parts: list[Part]
    applied: int = 0
    not_found: Sequence[str] = ()


def _make_directories(stream: Stream, entry: Entry, before: Snapshot | None, make: Make) -> _Made:
    """Makes what an entry adds to and replaces in the snapshot before it.

    Corrections come last, since a batch may have some of its own pictures.

    Args:
      stream: Stream.
      entry: Entry, without batches that were refused later.
      before: Snapshot before it.
      make: Function that makes a generation.
    """
    parts = list(before.parts) if before else []
    if entry.merges:
        return _Made(_merge(stream, entry, parts))
    if any(batch.entries for batch in entry.batches):
        with_pictures = [batch for batch in entry.batches if batch.entries]
        make(plan_generation(stream, replace(entry, batches=with_pictures)))
        parts.append(part_of(stream.place, directory_name(entry.entry)))
    return _correct(stream, entry, parts)


def _merge(stream: Stream, entry: Entry, parts: list[Part]) -> list[Part]:
    """Merges directories, and returns those of the new snapshot."""
    from beam_jobs.watch.upkeep.merge import merge_directories

    for merge in entry.merges:
        names = [part.directory for part in parts]
        start = names.index(merge.directories[0]) if merge.directories[0] in names else 0
        stop = start + len(merge.directories)
        if names[start:stop] != merge.directories:
            raise AssertionError(f"entry {entry.entry} merges {merge.directories}, which are not adjacent in {names}")
        merge_directories(stream, parts[start:stop], merge.into)
        parts[start:stop] = [part_of(stream.place, merge.into)]
    return parts


def _correct(stream: Stream, entry: Entry, parts: list[Part]) -> _Made:
    """Makes the corrections of the batches of an entry, in the order of the batches' names."""
    corrections: Sequence[Correction] = [each for batch in entry.batches for each in batch.corrections]
    if not corrections:
        return _Made(parts)
    from beam_jobs.watch.correcting.correct import affected, correct_directory

    found = affected(stream.place, parts, corrections)
    for place, part in enumerate(parts):
        if part in found.parts:
            into = directory_name(part.first, part.last, entry.entry)
            correct_directory(stream, part, found.parts[part], into)
            parts[place] = part_of(stream.place, into)
    return _Made(parts, sum(map(len, found.parts.values())), found.not_found)


def _without_changed(ledger: Ledger, entry: Entry, inbox: Inbox | None, thorough: bool = False) -> Entry:
    """Returns an entry without batches that were refused later; those that have changed are refused now."""
    effective = ledger.effective(entry)
    if inbox is None:
        return effective
    found = [(batch, inbox.difference(batch, thorough=thorough)) for batch in effective.batches]
    # Without the stamp of what was accepted: it may come back, as when the inbox was not mounted for a while.
    return _refuse(ledger, entry, [(replace(batch, stamp=""), difference) for batch, difference in found])


def _without_unreadable(stream: Stream, ledger: Ledger, entry: Entry) -> Entry:
    """Returns an entry without batches whose annotations cannot be read, which are refused now.

    A look at them is all that admission needs, so damage in the middle shows when the generation is made. Such a batch
    would stop the stream for ever.
    """
    return _refuse(ledger, entry, [(batch, fault(stream.config, batch)) for batch in ledger.effective(entry).batches])


def _without_damaged(ledger: Ledger, entry: Entry, error: Exception) -> Entry:
    """Returns an entry without a merge of a damaged directory, which is refused now if the error is of one.

    It would stop the stream for ever. In the ledger, since later merges follow from what became of this one.
    """
    if isinstance(error, DamagedError):
        ledger.damaged.add(error.directory)
        found = next(each for each in ledger.effective(entry).merges if error.directory in each.directories)
        ledger.append(Entry(ledger.next, refusals=[Refusal(found.into, "", "", DAMAGED, str(error), entry.entry)]))
        warn(f"{len(found.directories):,} directories stay as they are, and are not merged: {error}")
    return ledger.effective(entry)


def fault(config: PrepareConfig, batch: Batch) -> str:
    """Returns why the annotations of a batch cannot be read as a whole; empty if they can."""
    source = load_source(config.source)
    try:
        for subset in batch.subsets:
            for _ in source.read_annotations(subset, 0, subset.entries, config.digit_order, config.reading):
                pass
    except UserError as error:
        return str(error)
    return ""


def _refuse(ledger: Ledger, entry: Entry, found: list[tuple[Batch, str]]) -> Entry:
    """Refuses the batches of an entry that come with a difference, and returns the entry without them."""
    refusals = [changed(batch, entry.entry, difference) for batch, difference in found if difference]
    if refusals:
        ledger.append(Entry(ledger.next, refusals=refusals))
        for refusal in refusals:
            warn(f"batch {refusal.name} refused: {refusal.reason}: {refusal.detail}")
    return ledger.effective(entry)
