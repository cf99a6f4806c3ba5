"""The dataset that is to be made again: a directory, a manifest alone, or the directories of a stream's snapshot."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_jobs.watch.stream import Stream
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.dataset.snapshots import (
    GENERATIONS,
    SNAPSHOTS,
    Part,
    Snapshot,
    check_stream,
    find_snapshot,
    is_stream,
    load_content,
    part_manifest,
    shard_directories,
    split_number,
)
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.record.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

_JSON = ".json"
_CORRECTED = "."
"""Letter in the name of a generation that corrections made."""


@dataclass(frozen=True)
class Original:
    """One dataset directory that is to be made again.

    Attributes:
      name: Path or address, for messages.
      manifest: Manifest.
      content: Bytes of the manifest.
      place: Dataset directory; None where only the manifest is at hand.
      stream: Stream that the directory is a generation of; None for a dataset of `prepare`.
      path: Path of the directory in its stream; empty for a dataset of `prepare`.
    """

    name: str
    manifest: Manifest
    content: bytes
    place: Place | None = None
    stream: Stream | None = None
    path: str = ""

    @property
    def bytes(self) -> int:
        """Size of all shards, bytes."""
        return sum(shard.bytes for info in self.manifest.splits.values() for shard in info.shards)

    def read_table(self, columns: tuple[str, ...]) -> "pa.Table | None":
        """Returns columns of the table of annotations; None where it is not at hand.

        Raises:
          UserError: The file is not the one that the manifest names, or has other columns.
        """
        if self.place is None or (data := read_bytes(self.place / ANNOTATIONS)) is None:
            return None
        return read_table(data, str(self.place / ANNOTATIONS), self.manifest, columns)


def read_table(data: bytes, name: str, manifest: Manifest, columns: tuple[str, ...]) -> "pa.Table":
    """Returns columns of an annotations.parquet.

    Args:
      data: Content of the file.
      name: Name of the file in error messages.
      manifest: Manifest that names its digest.
      columns: Names of the columns.

    Raises:
      UserError: The file is not the one that the manifest names, or has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if (found := hashlib.sha256(data).hexdigest()) != manifest.files.get(ANNOTATIONS):
        rule = f"{name} must be the file that the manifest next to it names; python -m tfrecords validate checks all."
        raise UserError(rule, f"SHA-256 {found}")
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            rule = f"{name} must have the columns that this version writes."
            raise UserError(rule, f"no {', '.join(sorted(missing))}")
        return file.read(columns=list(columns))


def open_originals(given: Place) -> list[Original]:
    """Returns the dataset directories that an argument names, all of a snapshot of a stream.

    Args:
      given: Dataset directory, its manifest.json or a copy of that, stream, STREAM@N, or generation of a stream.

    Raises:
      UserError: There is no such dataset, or it is one that `prepare` of this version cannot make.
    """
    directory, number = split_number(given)
    if number is None and given.suffix == _JSON:
        if given.name != MANIFEST or not (given.parent / ANNOTATIONS).exists():
            return [_of_file(given)]
        directory = given.parent
    if number is not None or is_stream(directory):
        return _of_stream(directory, number)
    content, name = load_content(directory)
    manifest = _checked(Manifest.parse(content, name), name)
    found = Original(directory.text, manifest, content, directory)
    if directory.parent.name == GENERATIONS and is_stream(directory.parent.parent):
        path = f"{GENERATIONS}/{directory.name}"
        _refuse_corrected([path])
        return [Original(found.name, manifest, content, directory, Stream.load(directory.parent.parent), path)]
    return [found]


def _of_file(given: Place) -> Original:
    """Returns the dataset of a manifest without its directory.

    Raises:
      UserError: There is none, or it is that of a stream or of a snapshot.
    """
    if is_stream(given.parent) or given.parent.name == SNAPSHOTS:
        raise UserError("Of a stream, give its folder, or STREAM@N for a snapshot.", given)
    content = read_bytes(given)
    if content is None:
        raise UserError(f"{given} must be a dataset directory or a manifest.", "no such file")
    return Original(given.text, _checked(Manifest.parse(content, given.text), given.text), content)


def _of_stream(place: Place, number: int | None) -> list[Original]:
    """Returns the directories of a snapshot.

    Raises:
      UserError: There is no such snapshot, or corrections made one of its directories.
    """
    if number is not None:
        snapshot: Snapshot | None = Snapshot.load(check_stream(place, number), number)
    else:
        content, name = load_content(place)
        snapshot = find_snapshot(place, Manifest.parse(content, name))
    if snapshot is None:
        rule = f"{place} must have a listing, and the snapshot that its manifest.json is of; give its number."
        raise UserError(rule, "no such snapshot")
    _refuse_corrected([part.directory for part in snapshot.parts])
    stream = Stream.load(place)
    return [_of_part(stream, part) for part in snapshot.parts]


def _of_part(stream: Stream, part: Part) -> Original:
    part_manifest(stream.place, part)  # whose digest it checks
    place = stream.place / part.directory
    content, name = load_content(place)
    manifest = _checked(Manifest.parse(content, name), name)
    return Original(place.text, manifest, content, place, stream, part.directory)


def _refuse_corrected(directories: list[str]) -> None:
    """Checks that no directory of a stream was made by corrections, which `prepare` knows nothing of.

    Raises:
      UserError: Some were.
    """
    if corrected := [path for path in directories if _CORRECTED in path]:
        more = f" and {len(corrected) - 1:,} more" if len(corrected) > 1 else ""
        rule = (
            "Generations must be made of batches alone to be made again. Corrections, which are in the stream's ledger "
            "and in no batch of pictures, made this one; STREAM@N of a snapshot before them can be made again."
        )
        raise UserError(rule, f"{corrected[0]}{more}")


def _checked(manifest: Manifest, name: str) -> Manifest:
    """Returns a manifest whose dataset this version can make.

    Raises:
      UserError: It cannot.
    """
    made = manifest.versions.get("streetdigits", "an unknown version")
    if manifest.schema_version != SCHEMA_VERSION:
        rule = (
            f"{name} must be of schema version {SCHEMA_VERSION}: records of other versions have other bytes, of which "
            f"no digest could be the same. Rebuild it with streetdigits {made}, or prepare the pictures again and "
            "compare both with python -m tfrecords diff."
        )
        raise UserError(rule, f"schema version {manifest.schema_version}")
    if shard_directories(manifest):
        raise UserError(f"{name} must be in its stream: give the folder of that, or STREAM@N.", "a stream's manifest")
    if "source" not in manifest.config:
        rule = f"{name} must be the manifest of a dataset of prepare or watch: its configuration names the source."
        raise UserError(rule, ", ".join(manifest.config) or "an empty configuration")
    return manifest
