"""What of the arrivals becomes the next entry of the ledger: a decision that reads nothing and asks no clock."""

from collections.abc import Mapping, Set

from beam_jobs.watch.batch import BAD_NAME, CHANGED, DUPLICATE, Batch, Refusal
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Entry, Ledger


def admit(arrivals: Arrivals, ledger: Ledger, pictures: int) -> Entry | None:
    """Returns the next entry; None where there is nothing to write.

    Batches are taken in the order of their names, until the next one would bring more than `pictures` entries; the
    first one with entries is taken whatever its size. What is left stays in the inbox. All batches are taken that have
    corrections only: a correction is in the next generation, however much else there is. Those of a log are taken in
    its order.

    Args:
      arrivals: What the inbox holds.
      ledger: What was accepted and refused before.
      pictures: Number of entries at which a generation is complete.
    """
    taken: list[Batch] = []
    contents: dict[str, str] = {}
    names: set[str] = set()
    refusals = list(arrivals.refused)
    entries, is_full = 0, False
    for batch in sorted(arrivals.ready, key=lambda batch: batch.name):
        if is_full and (batch.entries or batch.positions):
            continue
        if refusal := _refusal(batch, ledger, contents, names):
            refusals.append(refusal)
            continue
        if entries and entries + batch.entries > pictures:
            is_full = True
            continue
        taken.append(batch)
        contents[batch.digest] = batch.name
        names.add(batch.name)
        entries += batch.entries
    if not taken and not refusals:
        return None
    return Entry(ledger.next, taken, sorted(refusals, key=lambda refusal: (refusal.name, refusal.stamp)))


def changed(batch: Batch, entry: int, difference: str) -> Refusal:
    """Returns the refusal of a batch that an entry had accepted, and that is no longer what was accepted.

    Args:
      batch: Batch, as the entry has it.
      entry: Number of the entry.
      difference: What differs, as a sentence.
    """
    return Refusal(batch.name, batch.digest, batch.stamp, CHANGED, difference, entry)


def _refusal(batch: Batch, ledger: Ledger, contents: Mapping[str, str], names: Set[str]) -> Refusal | None:
    """Returns why a batch cannot be accepted after others, or None.

    Args:
      batch: Batch.
      ledger: What was accepted before.
      contents: Names of those that are taken in the same entry, by their digests.
      names: Names of those.
    """
    first = ledger.names.get(batch.digest) or contents.get(batch.digest)
    if first is not None:
        return _refuse(batch, DUPLICATE, f"The content of a batch must be new, and this is that of {first}.")
    if batch.name in ledger.accepted:
        entry = ledger.accepted[batch.name].entry
        return _refuse(batch, CHANGED, f"A batch must stay as it was accepted (entry {entry}): give it another name.")
    if batch.name in names:
        return _refuse(batch, BAD_NAME, "The name of a batch must be its own, and two batches have this one.")
    return None


def _refuse(batch: Batch, reason: str, detail: str) -> Refusal:
    return Refusal(batch.name, batch.digest, batch.stamp, reason, detail)
