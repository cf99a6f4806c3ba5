"""What the design promises of a stream, checked against everything that was dropped."""

import hashlib
import io
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from beam_jobs.prepare.local import run_on_this_machine
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.prepare.plan import Plan
from beam_jobs.watch.batch import DELETE, DUPLICATE, INCOMPLETE, Batch, Correction
from beam_jobs.watch.correcting.correct import affected, correct_directory
from beam_jobs.watch.generation import plan_generation, plan_subsets
from beam_jobs.watch.ledger import Entry, Ledger
from beam_jobs.watch.stream import Stream
from benchmarks.watch.batches import Dropped
from benchmarks.watch.soak import Soak
from benchmarks.watch.watcher import compact
from tfrecords.commands.validate import find_errors
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.dataset.reader import Examples
from tfrecords.dataset.snapshots import Part, Snapshot, directory_name, snapshot_numbers
from tfrecords.files.place import Place

_EXAMPLES = 3
"""Faults that a line names."""
_OF_ONE = frozenset((MANIFEST, "corrections.json"))
"""Files that name what a directory was made from, and so differ between a merged one and one made at once."""


@dataclass(frozen=True)
class Promise:
    """A promise, how much of it was checked, and what breaks it."""

    text: str
    checked: str
    faults: list[str]

    def __str__(self) -> str:
        more = f": {'; '.join(self.faults[:_EXAMPLES])}" if self.faults else ""
        return f"{self.text}: {self.checked}, {len(self.faults)} faults{more}"


class Ended:
    """A stream at its end: its ledger, its newest snapshot, and their rows."""

    def __init__(self, place: Place, dropped: Mapping[str, Dropped]) -> None:
        """Reads the ledger and the newest snapshot of a stream, for comparison with what was dropped."""
        self._dropped = dropped
        self.stream, self.ledger = Stream.load(place), Ledger(place)
        self.snapshot = Snapshot.load(place, snapshot_numbers(place)[-1])
        self.entries: list[Entry] = [self.ledger.effective(self.ledger.entry(n)) for n in range(self.ledger.next)]

    @cached_property
    def rows(self) -> list[dict[str, str | None]]:
        """Key, text and reason of every row of the newest snapshot."""
        found = []
        for part in self.snapshot.parts:
            file = pq.ParquetFile(self.stream.place.path / part.directory / ANNOTATIONS)
            found += file.read(columns=["key", "text", "reason"]).to_pylist()
        return found

    @cached_property
    def batches(self) -> dict[str, Batch]:
        """Accepted batches, in the order of the entries."""
        return {batch.name: batch for entry in self.entries for batch in entry.batches}

    @cached_property
    def records(self) -> Counter[str]:
        """How many records of the newest snapshot have each key."""
        place = self.stream.place
        manifest = Manifest.load(place)
        return Counter(
            example.key
            for split in manifest.splits
            for example in Examples(place, manifest, split, verify=True, on_error="raise")
        )

    @cached_property
    def expected(self) -> dict[str, str | None]:
        """Text of every number of an accepted batch, by its key, with the corrections; None for deleted ones."""
        texts: dict[str, str | None] = {}
        for entry, drops in self._by_entry:
            texts.update(drops)
            for each in (each for batch in entry.batches for each in batch.corrections):
                if texts.get(each.key) is not None:
                    texts[each.key] = each.text or None
        return texts

    @property
    def _by_entry(self) -> Iterator[tuple[Entry, dict[str, str]]]:
        for entry in self.entries:
            names = [batch.name for batch in entry.batches if batch.entries]
            yield (
                entry,
                {f"{name}/{picture}": text for name in names for picture, text in self._dropped[name].texts.items()},
            )


def check_soak(soak: Soak) -> Iterator[Promise]:
    """Yields each promise, checked; the last ones compact the stream."""
    ended = Ended(Place(soak.stream), soak.dropped)
    yield Promise("the newest snapshot never falls, and no record is damaged", f"{soak.opened:,} opened", soak.errors)
    yield Promise("a watcher that was killed starts again, and goes on", f"{soak.kills:,} kills", soak.ended)
    yield _decided_once(ended, soak)
    yield _every_picture_once(ended)
    twice = [f"{key}: {found} records" for key, found in ended.records.items() if found > 1]
    yield Promise("no key is in two records", f"{len(ended.records):,} records", twice)
    contents = Counter(batch.digest for batch in ended.batches.values())
    again = [name for name, batch in ended.batches.items() if contents[batch.digest] > 1]
    yield Promise("no content is accepted twice", f"{len(contents):,} contents", again)
    yield _same_bytes_again(ended, soak.folder / "again")
    yield _compacted_is_prepared(ended, soak)


def _decided_once(ended: Ended, soak: Soak) -> Promise:
    """Every batch is accepted once, or refused once for the right reason."""
    faults = []
    decisions: defaultdict[str, list[str]] = defaultdict(list)
    for entry in ended.entries:
        for batch in entry.batches:
            decisions[batch.name].append("accepted")
        for refusal in entry.refusals:
            decisions[refusal.name].append(refusal.reason)
    of_content: defaultdict[str, list[str]] = defaultdict(list)
    for name, each in soak.dropped.items():
        found = decisions[name]
        of_content[each.same_as] += found
        allowed = ["accepted", DUPLICATE] if each.is_complete else [INCOMPLETE]
        if len(found) != 1 or found[0] not in allowed:
            faults.append(f"{name} is {' and '.join(found) or 'neither accepted nor refused'}")
    for name, found in of_content.items():
        if found.count("accepted") != 1 and soak.dropped[name].is_complete and soak.dropped[name].texts:
            faults.append(f"the content of {name} is {found}")
    refused = Counter(each for found in decisions.values() for each in found)
    checked = ", ".join(f"{number:,} {reason}" for reason, number in sorted(refused.items()))
    return Promise("every batch is accepted once, or refused with one reason", checked, faults)


def _every_picture_once(ended: Ended) -> Promise:
    """The rows are those of the accepted batches, each once, with the corrected text; so are the records."""
    rows = Counter(str(row["key"]) for row in ended.rows)
    faults = [f"{key}: {rows[key]} rows" for key in ended.expected if rows[key] != 1]
    faults += [f"{key}: not of an accepted batch" for key in rows if key not in ended.expected]
    have_records = {key.rpartition("#")[0] for key in ended.records}
    for row in ended.rows:
        key = str(row["key"])
        text = ended.expected.get(key)
        if row["reason"] != (None if text else "deleted") or (text and row["text"] != text):
            faults.append(f"{key}: {row['text']}, {row['reason']}; must be {text}")
        if (key in have_records) != bool(text):
            faults.append(f"{key}: has {'a' if key in have_records else 'no'} record")
    deleted = sum(text is None for text in ended.expected.values())
    checked = f"{len(ended.expected):,} pictures, {deleted} of them deleted"
    return Promise("every picture of an accepted batch is there once, as corrected", checked, faults)


def _same_bytes_again(ended: Ended, folder: Path) -> Promise:
    """Every generation that is still there is made again, from the ledger and the inbox."""
    again = replace(ended.stream, place=Place(folder))
    faults, compared = [], 0
    for entry in ended.entries:
        of_pictures = [batch for batch in entry.batches if batch.entries]
        directory = directory_name(entry.entry)
        made = ended.stream.place.path / directory
        if not of_pictures or not (made / MANIFEST).exists():
            continue
        _make(plan_generation(again, replace(entry, batches=of_pictures)))
        faults += _differences(made, folder / directory)
        compared += 1
        shutil.rmtree(folder / directory)
    return Promise("ledger and inbox make the same bytes again", f"{compared:,} generations", faults)


def _compacted_is_prepared(ended: Ended, soak: Soak) -> Promise:
    """`compact --full` makes what `prepare` makes of all accepted batches, with the same corrections."""
    compact(soak.stream)
    after = Ended(Place(soak.stream), soak.dropped)
    place = after.stream.place
    (part,) = after.snapshot.parts
    with redirect_stderr(io.StringIO()):
        faults = list(find_errors(place / part.directory, Manifest.load(place / part.directory)))
    expected = replace(after.stream, place=Place(soak.folder / "prepared"))
    subsets = tuple(subset for batch in ended.batches.values() for subset in batch.subsets)
    into = directory_name(0)
    _make(plan_subsets(expected, subsets, expected.place / into))
    corrections = list(_effective(ended))
    # The row of a deleted number keeps the text that it had then, so what was relabelled before is relabelled here too.
    deletions = [each for each in corrections if each.action == DELETE]
    for number, some in enumerate(([each for each in corrections if each.action != DELETE], deletions), 1):
        if some:
            before = Part(into, hashlib.sha256((expected.place / into / MANIFEST).read_bytes()).hexdigest())
            found = affected(expected.place, [before], some)
            into = directory_name(0, None, number)
            correct_directory(expected, before, found.parts[before], into)
    faults += _differences(place.path / part.directory, expected.place.path / into, _OF_ONE)
    merges = sum(len(entry.merges) for entry in ended.entries)
    checked = f"{len(subsets):,} batches, {len(corrections):,} corrections, {merges} merges before, one directory now"
    return Promise("compact --full makes what prepare over the accepted batches makes", checked, faults)


def _effective(ended: Ended) -> Iterator[Correction]:
    """Yields the corrections that came with or after the batch that they correct, none after a deletion."""
    deleted: set[str] = set()
    for entry in ended.entries:
        for each in (each for batch in entry.batches for each in batch.corrections):
            accepted = ended.ledger.accepted.get(each.key.partition("/")[0])
            if accepted and accepted.entry <= entry.entry and each.key not in deleted:
                deleted |= {each.key} if each.action == DELETE else set()
                yield each


def _make(plan: Plan) -> None:
    # Its progress would be between the lines of the promises.
    with redirect_stderr(io.StringIO()), lock_output(plan, overwrite=False) as is_complete:
        if not is_complete:
            run_on_this_machine(plan, 1, "")


def _differences(found: Path, expected: Path, without: frozenset[str] = frozenset()) -> list[str]:
    """Returns the files of two folders that differ, or are in one only."""
    names = {path.name for folder in (found, expected) for path in folder.iterdir() if path.is_file()} - without
    return [str(found / name) for name in sorted(names) if _bytes(found / name) != _bytes(expected / name)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
