"""`python -m beam_jobs compact`: the many small directories of a stream to few large ones, with the same examples."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.interrupts import ending_at_once

if TYPE_CHECKING:
    from beam_jobs.prepare.plan import Plan
    from beam_jobs.watch.commit import Known
    from beam_jobs.watch.ledger import Entry, Ledger, Merge
    from beam_jobs.watch.stream import Stream
    from tfrecords.dataset.snapshots import Snapshot

EPILOG = """\
examples:
  what watch does when it is idle, as after watch --compact off:
    python -m beam_jobs compact STREAM
  all of it to one directory, before a long training:
    python -m beam_jobs compact STREAM --full

A merge makes a new snapshot of the same examples in fewer files, which are read
faster. No picture is read: records are copied. After --full the directory of
the snapshot is, byte for byte, what prepare makes of all accepted batches.
A stream in a store is copied to temporary files of this machine for it.
A damaged directory is named and stays as it is, and the exit code is 1 then.

Earlier snapshots stay as they are, with their files, until watch deletes them.
After an interruption, run the same command again. Stop watch before: one
process at a time changes a stream.
"""
_RESUMES = "the same command resumes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("stream", type=place, metavar="STREAM", help="stream, local or at an address, as s3://")
    parser.add_argument("--full", action="store_true", help="merge all directories to one, however large they are")


def run(args: argparse.Namespace) -> int:
    """Merges directories, and prints what became of them.

    Raises:
      UserError: There is no stream, another process changes it, it has no snapshot, or a file of it is damaged.
    """
    from beam_jobs.watch.stream import Stream

    stream_place: Place = args.stream
    with ending_at_once(_RESUMES):
        stream = Stream.load(stream_place)
        # What needs the extra is imported before the ledger says that a merge is under way.
        from beam_jobs.watch import perform  # noqa: F401
        from beam_jobs.watch.ledger import Ledger
        from beam_jobs.watch.lock import lock_stream
        from beam_jobs.watch.upkeep import merge  # noqa: F401

        with lock_stream(stream_place):
            ledger = Ledger(stream_place)
            compact(stream, ledger, args.full)
    # Each was said in a line.
    return 1 if ledger.damaged else 0


def compact(stream: Stream, ledger: Ledger, is_full: bool) -> None:
    """Merges the directories of a stream that are due, or all, and prints a line for each snapshot that this makes.

    A damaged directory stays as it is, which is said in a line; `ledger.damaged` has it then.

    Args:
      stream: Stream, locked by this process.
      ledger: Its ledger.
      is_full: Whether to merge all directories to one.

    Raises:
      UserError: The stream has no snapshot, or a generation that is not finished; or a file of it is damaged.
    """
    from beam_jobs.watch.commit import newest
    from beam_jobs.watch.ledger import Entry

    known: Known = {}
    if any(not entry.merges for entry in ledger.open):
        rule = f"{stream.place} has a generation that is not finished: start watch again, which finishes it."
        raise UserError(rule, f"entry {ledger.open[0].entry}")
    before = newest(stream.place)
    if before is None:
        raise UserError(f"{stream.place} must have a snapshot.", "none")
    for entry in list(ledger.open):
        before = _merge(stream, ledger, entry, before, known)
    # Once more after a merge, since what it made may be due with others.
    while merges := _remaining(stream, ledger, before, is_full):
        entry = Entry(ledger.next, merges=merges)
        ledger.append(entry)
        before = _merge(stream, ledger, entry, before, known)
    count, files = len(before.parts), _files(stream, before, known)
    left = f"{count:,} director{'y' if count == 1 else 'ies'} in {files:,} file{'' if files == 1 else 's'}"
    if not (is_full and ledger.damaged):
        print(f"{stream.place}: snapshot {before.snapshot} has {left}, and nothing is left to merge")


def _remaining(stream: Stream, ledger: Ledger, snapshot: Snapshot, is_full: bool) -> list[Merge]:
    """Returns the merges to make next; with `is_full`, none once a directory is damaged."""
    from beam_jobs.watch.upkeep.compact import due, full, tidying

    if is_full:
        return [] if ledger.damaged else full(stream, snapshot)
    if merges := due(stream, snapshot, ledger.damaged):
        return merges
    found = tidying(stream, snapshot, ledger.damaged)
    return [found.merge] if found else []


def _merge(stream: Stream, ledger: Ledger, entry: Entry, before: Snapshot, known: Known) -> Snapshot:
    """Does what an entry with merges says, prints a line about it, and returns the new snapshot."""
    from beam_jobs.watch.perform import perform

    files_before = _files(stream, before, known)
    after = perform(stream, ledger, entry, _make_nothing, known=known)
    files = _files(stream, after, known)
    merges = ledger.effective(entry).merges
    if not merges:
        return after
    merged = sum(len(merge.directories) for merge in merges)
    into = stream.place / merges[0].into if len(merges) == 1 else stream.place
    print(
        f"snapshot {after.snapshot}: {merged:,} directories became {len(merges):,}: "
        f"{files:,} file{'' if files == 1 else 's'} instead of {files_before:,}, in {into}",
        flush=True,
    )
    return after


def _make_nothing(plan: Plan) -> NoReturn:
    raise AssertionError(f"an entry with merges makes no generation, and was to make {plan.output}")


def _files(stream: Stream, snapshot: Snapshot, known: Known) -> int:
    """Returns the number of TFRecord files of a snapshot."""
    from tfrecords.dataset.snapshots import flatten

    return sum(len(info.shards) for info in flatten(stream.place, snapshot, known).splits.values())
