"""Messages of logs, and a cycle of a watcher without the making of generations."""

import base64
import json
from collections import Counter
from typing import Any

import numpy as np

from beam_jobs.sources import load_source
from beam_jobs.sources.base import SourceOptions
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.inboxes.inbox import Arrivals, Inbox
from beam_jobs.watch.ledger import Entry, Ledger
from tests.pictures import RGB_KIND, png
from tfrecords.dataset.snapshots import number_name
from tfrecords.files.place import Place


def picture(number: int) -> bytes:
    """A small picture that no other number has."""
    return png(np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8), RGB_KIND)


def message(number: int, **changes: Any) -> bytes:
    """A message with a picture; its text is the number. A change to None leaves a member out."""
    image = base64.b64encode(picture(number)).decode()
    members = {"text": str(number), "image": image, "boxes": [[2, 1, 9, 10]], **changes}
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def line(number: int, **changes: Any) -> bytes:
    """The line of a message."""
    return message(number, **changes) + b"\n"


def cycle(inbox: Inbox, stream: Place, most: int = 1000, accept: int | None = None) -> tuple[Arrivals, list[Batch]]:
    """What a watcher does in a cycle, from its start on: redoes what is open, and accepts the first ready batches.

    Args:
      inbox: Inbox.
      stream: Stream.
      most: Number of entries at which the look ends.
      accept: Number of batches to accept at most.
    """
    ledger = Ledger(stream)
    for entry in list(ledger.open):
        settle(inbox, stream, ledger, entry)
    arrivals = inbox.poll(ledger, most)
    batches = arrivals.ready[:accept]
    if batches or arrivals.refused:
        entry = Entry(ledger.next, batches, arrivals.refused)
        ledger.append(entry)
        settle(inbox, stream, ledger, entry)
    return arrivals, batches


def settle(inbox: Inbox, stream: Place, ledger: Ledger, entry: Entry) -> None:
    """Reads the batches of an entry, as their making does, and commits it."""
    for batch in entry.batches:
        assert inbox.difference(batch) == ""
        texts(batch)
    if entry.makes_snapshot:
        (stream / "snapshots" / number_name(entry.entry)).create(b"{}")
        ledger.close(entry)
    for batch in entry.batches:
        inbox.finish(batch)


def texts(batch: Batch) -> list[str]:
    """The numbers of a batch's pictures, which are those that were drawn for them."""
    source, found = load_source("table"), []
    for subset in batch.subsets:
        for annotation in source.read_annotations(subset, 0, subset.entries, "left", SourceOptions()):
            if annotation.dead is None:
                assert source.read_picture(subset, annotation.name) == picture(int(annotation.text))
                found.append(annotation.text)
    return found


def accepted(stream: Place) -> Counter[str]:
    """How many batches of the ledger have each message of a partition, `PARTITION OFFSET`."""
    ledger, found = Ledger(stream), Counter[str]()
    for number in range(ledger.next):
        for batch in ledger.entry(number).batches:
            for each in batch.positions:
                found.update(f"{each.partition} {offset}" for offset in range(each.start, each.stop))
    return found
