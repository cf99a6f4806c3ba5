"""The line that is printed for each snapshot, and what is counted in it."""

from beam_jobs.watch.ledger import Entry
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.snapshots import Snapshot

_SINGULAR = {"batches": "batch", "directories": "directory", "entries": "entry"}


def counted_words(task: str) -> tuple[str, str]:
    """Returns what is counted in annotations and in records, as `tfrecords inspect` names both.

    With the task find, an entry is a number, or a picture without one, and a scene a picture with all its numbers.
    """
    return ("entries", "scenes") if task == FIND else ("pictures", "examples")


def snapshot_line(
    snapshot: Snapshot,
    entry: Entry,
    manifest: Manifest | None,
    seconds: float,
    left: tuple[int, float] | None,
    negatives: int | None = None,
) -> str:
    """Returns the line about a snapshot.

    Args:
      snapshot: Snapshot.
      entry: Its entry, without batches that were refused later.
      manifest: Manifest of its generation; None without one.
      seconds: Time of its making.
      left: Number of batches that wait, and for how long the oldest one does; None if that is not known.
      negatives: Number of scenes without a number in its generation; None unless numbers are to be found.
    """
    start = f"snapshot {snapshot.snapshot}:"
    if entry.merges:
        old = sum(len(merge.directories) for merge in entry.merges)
        return f"{start} {_count(old, 'directories')} became {len(entry.merges):,}, {seconds:.1f} s"
    if not entry.batches:
        return f"{start} nothing has changed, {seconds:.1f} s"
    parts = [_count(len(entry.batches), "batches")]
    if corrections := sum(len(batch.corrections) for batch in entry.batches):
        parts.append(_count(corrections, "corrections"))
    counted, stored = counted_words(manifest.task) if manifest else ("pictures", "examples")
    pictures = _count(sum(batch.entries for batch in entry.batches), counted)
    if manifest and manifest.dead_letters:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in manifest.dead_letters.items())
        pictures += f" ({sum(manifest.dead_letters.values()):,} rejected: {reasons})"
    examples = sum(info.examples for info in manifest.splits.values()) if manifest else 0
    without = [] if negatives is None else [f"{negatives:,} of them without a number"]
    parts += [pictures, _count(examples, stored), *without, f"{seconds:.1f} s"]
    line = f"{start} {', '.join(parts)}"
    if left and left[0]:
        line += f"; waiting {left[0]:,} (oldest {left[1]:.0f} s)"
    return line


def _count(count: int, things: str) -> str:
    """Returns a count with its things, whose plural is given."""
    return f"{count:,} {_SINGULAR.get(things, things.removesuffix('s')) if count == 1 else things}"
