"""Messages of a log as a batch folder that `prepare` reads: a Parquet table with the pictures in it.

A log forgets its messages after a while, and none of its acknowledgements are as durable as the ledger: so messages are
copied into the stream's own folder before an entry of the ledger names them, and stay until a snapshot holds them.

    STREAM/spool/NAME/labels.parquet    pictures and numbers; messages that are none are rows with the reason
    STREAM/spool/NAME/batch.json        the batch, written last: a folder without it is not complete
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from beam_jobs.sources import load_source
from beam_jobs.sources.base import REJECTED_ROWS, Input, SourceOptions, Subset
from beam_jobs.watch.batch import Batch, Correction, Positions
from beam_jobs.watch.inboxes.messages import (
    Box,
    Fault,
    Labelled,
    Message,
    RefusedError,
    checked_picture,
    parse_message,
)
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from tfrecords.typed_json import from_json, parse_object

SPOOL = "spool"
"""Name of the folder of a stream that holds messages until a snapshot does."""
SOURCE = "table"
"""Source of the stream's configuration that reads them."""
MOST_BYTES = 64 << 20
"""Size of a batch's pictures at which it ends: it is in memory once while it is written."""
_TABLE, _COMPLETE = "labels.parquet", "batch.json"
_ROW_GROUP = 256
"""Rows that a worker reads at once for one picture."""
_THREADS = 16
"""Pictures at addresses that are read at once."""
_OFFSET_DIGITS = 12
_LONGEST_PREFIX = 80
"""Longest part of a batch's name that says which partition, characters."""


class UnreachableError(Exception):
    """The place of a picture at an address cannot be reached now; the text says why."""


@dataclass
class _Rows:
    """Rows of the table, and what else the messages were."""

    names: list[str] = field(default_factory=list)
    images: list[bytes | None] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)
    rejected: dict[int, Fault] = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)
    size: int = 0

    def add(self, partition: str, message: Message, found: Labelled | Correction | Fault) -> None:
        """Adds what a message is; the picture of an address is in it already."""
        if isinstance(found, Correction):
            self.corrections.append(found)
            return
        labelled = found if isinstance(found, Labelled) else Labelled("")
        if isinstance(found, Fault):
            place = f"{partition}, offset {message.offset}: {found.rule}"
            self.rejected[len(self.names)] = found._replace(rule=place)
        name = f"{message.offset}-{labelled.name}" if labelled.name else str(message.offset)
        self.names.append(name)
        self.images.append(labelled.image)
        self.texts.append(labelled.text or None)
        self.boxes.append(labelled.box)
        self.size += len(labelled.image or b"")


def partition_prefix(partition: str) -> str:
    """Returns the first part of the names of a partition's batches, which no other partition's have.

    Args:
      partition: Name of the partition: `TOPIC/INDEX`, or a file's name.
    """
    topic, slash, index = partition.partition("/")
    name = topic.removesuffix(".jsonl")
    clean = re.sub(r"[^\w-]", "_", name)
    if clean != name or len(clean) > _LONGEST_PREFIX:
        # Kafka's topics a.b and a_b are two.
        clean = f"{clean[: _LONGEST_PREFIX - 20]}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{clean}-{index}" if slash else clean


def batch_name(partition: str, start: int, stop: int) -> str:
    """Returns the name of a batch: names of a partition sort as their positions do."""
    return f"{partition_prefix(partition)}-{start:0{_OFFSET_DIGITS}d}-{stop:0{_OFFSET_DIGITS}d}"


def parse_name(name: str) -> tuple[str, int, int] | None:
    """Returns the prefix and the positions of a batch's name; None if it is not that of a batch of a log."""
    parts = name.rsplit("-", 2)
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        return None
    return parts[0], int(parts[1]), int(parts[2])


class Spool:
    """The folder of a stream's messages that no snapshot holds yet."""

    def __init__(self, stream: Place) -> None:
        """Takes the stream; nothing is read or written."""
        self.place = stream / SPOOL

    def write(
        self,
        partition: str,
        start: int,
        messages: Sequence[Message],
        stamp: Callable[[int], str],
        *,
        give_up: bool = False,
    ) -> tuple[Batch, list[Fault]]:
        """Writes messages of a partition as a batch, on the disk when this returns; those after `MOST_BYTES` are left.

        Args:
          partition: Name of the partition.
          start: Position at which the batch begins: where the one before it ends.
          messages: Messages in their order, one at least.
          stamp: Function that returns the stamp of a batch that ends at a position; empty takes its digest.
          give_up: Whether pictures at addresses that cannot be reached are refused.

        Returns:
          The batch, and what is wrong with the messages that were refused.

        Raises:
          UnreachableError: The place of a picture cannot be reached.
        """
        rows, stop = _collect(partition, messages, give_up)
        name = batch_name(partition, start, stop)
        folder = self.place / name
        if rows.names:
            (folder / _TABLE).write([_table(rows)])
        positions = [Positions(partition, start, stop)]
        batch = Batch(name, "", "", _subsets(folder, name) if rows.names else [], positions, rows.corrections)
        digest = _digest(batch)
        batch = replace(batch, digest=digest, stamp=stamp(stop) or digest)
        (folder / _COMPLETE).write([(json.dumps(asdict(batch), indent=1) + "\n").encode()])
        return batch, list(rows.rejected.values())

    def load(self) -> dict[str, Batch | None]:
        """Returns the batch in each folder, by name; None for one that is not complete."""
        if not self.place.is_dir():
            return {}
        names = [entry.name for entry in self.place.entries() if entry.is_folder]
        return {name: self.read(name) for name in names}

    def read(self, name: str) -> Batch | None:
        """Returns a batch; None if it is not complete, or was changed."""
        place = self.place / name / _COMPLETE
        try:
            batch = from_json(Batch, parse_object(place.read_bytes(), str(place)), str(place))
            found = _subsets(self.place / name, name) if batch.subsets else []
        except (OSError, UserError):
            return None
        # The path may be another spelling of the same.
        batch = replace(batch, subsets=found)
        return batch if batch.name == name and _digest(batch) == batch.digest else None

    def remove(self, name: str) -> None:
        """Deletes a batch; does nothing where there is none."""
        # Without its last file first, so that a kill leaves what is not complete.
        (self.place / name / _COMPLETE).delete()
        (self.place / name).delete_folder()


def _collect(partition: str, messages: Sequence[Message], give_up: bool) -> tuple[_Rows, int]:
    """Returns what messages are, and the position after the last one that is in it."""
    rows, stop = _Rows(), messages[0].offset
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(messages), _THREADS):
            some = messages[start : start + _THREADS]
            found = [parse_message(message) for message in some]
            # A thread starts with the first address, and none for messages that hold their pictures.
            linked = any(isinstance(each, Labelled) and each.url for each in found)
            fetched = list(threads.map(_fetched, found, [give_up] * len(found))) if linked else found
            for message, each in zip(some, fetched, strict=True):
                rows.add(partition, message, each)
                stop = message.end
            if rows.size >= MOST_BYTES:
                break
    return rows, stop


def _fetched(found: Labelled | Correction | Fault, give_up: bool) -> Labelled | Correction | Fault:
    """Returns a picture with its file, if its message has an address."""
    if not isinstance(found, Labelled) or not found.url:
        return found
    try:
        # Not read_linked(), which does not try a host again in the life of a process: this one runs for months.
        return replace(found, image=checked_picture(Place(found.url).read_bytes()))
    except OSError as error:
        return Fault("missing", "The picture at url must be there and readable.", one_line(error))
    except UserError as error:
        if not give_up:
            raise UnreachableError(str(error)) from error
        return Fault("unreachable", "The place of url must be reachable.", str(error))
    except RefusedError as error:
        return error.fault


def _table(rows: _Rows) -> bytes:
    """Returns the table; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": image, "path": name} for image, name in zip(rows.images, rows.names, strict=True)]
    edges: list[Iterable[float | None]] = [[box and box[side] for box in rows.boxes] for side in range(4)]
    columns = {
        "image": pa.array(images, picture),
        "text": pa.array(rows.texts, pa.string()),
        **dict(zip(("xmin", "ymin", "xmax", "ymax"), (pa.array(side, pa.float64()) for side in edges), strict=True)),
    }
    if not any(rows.boxes):
        columns = {name: columns[name] for name in ("image", "text")}
    metadata = {REJECTED_ROWS: json.dumps({str(row): list(fault) for row, fault in rows.rejected.items()})}
    sink: Any = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns).replace_schema_metadata(metadata), sink, row_group_size=_ROW_GROUP, compression="none"
    )
    return bytes(sink.getvalue())


def _subsets(folder: Place, name: str) -> list[Subset]:
    """Returns what `prepare` reads of a batch's folder.

    Raises:
      UserError: It cannot be read.
    """
    found = load_source(SOURCE).find_subsets(Input(folder), SourceOptions())
    return [replace(subset, name=name) for subset in found]


def _digest(batch: Batch) -> str:
    """Returns the digest of a batch; its positions are in its name, so that the same content later is another batch."""
    tables = [subset.annotations_sha256 for subset in batch.subsets]
    content = [batch.name, tables, [asdict(correction) for correction in batch.corrections]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
