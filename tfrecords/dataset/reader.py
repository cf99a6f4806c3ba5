"""The examples of a split as a sequence with random access, in stored order, without TensorFlow."""

import hashlib
import logging
import operator
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, overload

from tfrecords.dataset.manifest import FIND, MANIFEST, Manifest
from tfrecords.dataset.shard_file import open_shard, truncation_error
from tfrecords.dataset.snapshots import load_manifest
from tfrecords.errors import UserError
from tfrecords.files import blocks
from tfrecords.files.ahead import read_ahead
from tfrecords.files.disk_cache import DiskCache
from tfrecords.files.framing import Record, read_frames
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from tfrecords.record.codec import decode_with_protobuf
from tfrecords.record.collate import (
    BATCH_NAMES_OF_SCENES,
    NAMES,
    Batch,
    check_names,
    stack,
    stack_by_layout,
    stack_scenes,
)
from tfrecords.record.fast_decode import UnknownLayoutError, decode_by_layout
from tfrecords.record.scene import SceneExample, decode_scene
from tfrecords.record.schema import DigitExample

OnError = Literal["raise", "skip"]
_OPEN_FILES = 500
"""Limit of open files; many systems allow 1,024 per process."""
_log = logging.getLogger(__name__)


class Examples(Sequence[DigitExample]):
    """The examples of one split, in stored order: `len`, index, slice and iteration. Several threads may read.

    A slice is an `Examples` too, and reads nothing. Files are opened on first use. Copies for other processes (pickled
    or forked) open their own files.

    Attributes:
      directory: Dataset directory.
      split: Name of the split.
      manifest: Manifest of the dataset.
      skipped: Number of damaged examples that iterations have skipped so far, with `on_error="skip"`.
      cache: Cache on the disk for the shards of a remote dataset; None reads them from their addresses.
      names: Names of the arrays of a batch.
    """

    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(
        self,
        directory: Place,
        manifest: Manifest,
        split: str,
        verify: bool,
        on_error: OnError,
        cache: DiskCache | None = None,
    ) -> None:
        """Makes the sequence of a complete split. Use `open`, which also checks the arguments."""
        self.directory, self.manifest, self.split, self.skipped = directory, manifest, split, 0
        self.cache, self._verify, self._on_error = cache, verify, on_error
        self._shards = manifest.split(split).shards
        self._starts = [0, *accumulate(shard.examples for shard in self._shards)]
        # Indices in the split of the examples of this sequence.
        self._indices = range(self._starts[-1])
        self._files: dict[int, RecordFile | UserError] = {}

    @property
    def identity(self) -> str:
        """Text that identifies the examples, equal in every process and wherever the dataset is stored.

        It holds the dataset's name, the split, the slice, and a digest of the digests of the shards.
        """
        digest = hashlib.sha256("\n".join(shard.sha256 for shard in self._shards).encode()).hexdigest()[:16]
        indices = self._indices
        return f"{self.manifest.name}, {self.split}[{indices.start}:{indices.stop}:{indices.step}], {digest}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.directory}, split {self.split}: {len(self):,} examples>"

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> DigitExample: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "DigitExample | Examples":
        """Returns one example with read-only arrays, or a part of the sequence for a slice.

        Raises:
          IndexError: The index is out of range.
          UserError: The file or the record is damaged, also with `on_error="skip"`.
        """
        if isinstance(index, slice):
            # Not of the same class, which may be made in another way.
            part = _class_of(self.manifest)(
                self.directory, self.manifest, self.split, self._verify, self._on_error, self.cache
            )
            part._indices = self._indices[index]
            return part
        return self._read(self._indices[operator.index(index)])

    def __iter__(self) -> Iterator[DigitExample]:
        logged = ""
        next_shard = 0
        for index in self._indices:
            if self.directory.is_remote and index >= self._starts[next_shard]:
                next_shard = self._ask_ahead(index)
            try:
                example = self._read(index)
            except UserError as error:
                if self._on_error == "raise":
                    raise
                self.skipped += 1
                # A damaged file is logged once, not for each of its records.
                if logged != str(error):
                    logged = str(error)
                    _log.warning("skipped: %s", logged)
                continue
            yield example

    def batch(self, indices: Sequence[int], names: Sequence[str] | None = None) -> Batch:
        """Returns several examples as one array per attribute, faster than one by one.

        Args:
          indices: Indices of the examples, in the order of the arrays; at least one.
          names: Names of the arrays: attributes of `DigitExample`, and `text`. Fewer names are read faster. None for
            all of `names`.

        Raises:
          IndexError: An index is out of range.
          UserError: A file or a record is damaged (also with `on_error="skip"`), the images differ in size, there is no
            index, or a name is unknown.
        """
        names = self.names if names is None else names
        check_names(names, self.names)
        in_split = [self._indices[index] for index in indices]
        if not in_split:
            raise UserError("A batch must hold at least one example.", 0)
        return self._batch(in_split, names)

    def _batch(self, in_split: list[int], names: Sequence[str]) -> Batch:
        try:
            records = self._records(in_split)
            manifest = self.manifest
            return stack_by_layout(records, len(in_split), names, manifest.labels, manifest.schema_version)
        except UnknownLayoutError:
            return stack([self._read(index) for index in in_split], names)

    def _records(self, in_split: list[int]) -> Iterator[bytes]:
        """Yields records; threads read those that are a request away."""
        if not self.directory.is_remote:
            return (self.record(index)[0] for index in in_split)
        return (read()[0] for _, read in read_ahead(in_split, self.record, self._is_far))

    def _is_far(self, index: int) -> bool:
        shard = bisect_right(self._starts, index) - 1
        file = self._files.get(shard)
        index -= self._starts[shard]
        return file is None or (not isinstance(file, UserError) and index < len(file) and file.is_far(index))

    def _ask_ahead(self, index: int) -> int:
        """Opens the shard after that of an example in the background; returns its index, or one after the last."""
        following = bisect_right(self._starts, index)
        if following < len(self._shards) and following not in self._files:
            blocks.shared().submit(lambda: self.file(following).read_ahead())
        return following

    def _read(self, index: int) -> DigitExample:
        data, file, index_in_file = self.record(index)
        # As `decode` does, but the location for an error message is made only when it is needed.
        stated = self.manifest.labels, self.manifest.schema_version
        return decode_by_layout(data, *stated) or decode_with_protobuf(data, file.location(index_in_file), *stated)

    def record(self, index: int) -> tuple[bytes, RecordFile, int]:
        """Returns a record, its file, and its index in the file.

        Args:
          index: Index of the record in the split.

        Raises:
          UserError: The file or the record is damaged.
        """
        shard = bisect_right(self._starts, index) - 1
        file = self.file(shard)
        index -= self._starts[shard]
        if index >= len(file):
            raise (file.damage or truncation_error(file, self._shards[shard])).with_traceback(None)
        return file.read(index), file, index

    def file(self, shard: int) -> RecordFile:
        """Returns the records of the shard at an index.

        Raises:
          UserError: The shard is missing, or differs from the manifest.
        """
        file = self._files.get(shard)
        if file is None:
            file = self._open(shard)
        if isinstance(file, UserError):
            raise file.with_traceback(None)
        return file

    def take_over(self, before: "Examples") -> None:
        """Takes the open files of those shards that another sequence has too, with the same content.

        Args:
          before: Examples of the same directory, which are not read any more.
        """
        indices = {shard: index for index, shard in enumerate(before._shards)}
        for index, shard in enumerate(self._shards):
            file = before._files.get(indices.get(shard, -1))
            if isinstance(file, RecordFile):
                self._files[index] = file

    def _open(self, shard: int) -> RecordFile | UserError:
        file: RecordFile | UserError
        try:
            file = open_shard(self.directory, self._shards[shard], self._verify, self.cache)
        except UserError as error:
            file = error
        self._files[shard] = file
        # Other threads may close files at the same time.
        for oldest in list(self._files)[:-_OPEN_FILES]:
            self._files.pop(oldest, None)
        return file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}


class Scenes(Examples):
    """The scenes of one split of a dataset of task "find": `Examples` whose items are `SceneExample`s.

    In a batch, the lists of numbers and characters are padded; see `tfrecords.record.collate.stack_scenes`.
    """

    names = BATCH_NAMES_OF_SCENES

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> SceneExample: ...
    @overload
    def __getitem__(self, index: slice) -> "Scenes": ...
    def __getitem__(self, index: int | slice) -> "SceneExample | Scenes":
        """Returns one scene with its own arrays, or a part of the sequence for a slice; see `Examples`."""
        return super().__getitem__(index)  # type: ignore[return-value]

    def __iter__(self) -> Iterator[SceneExample]:  # type: ignore[override]
        return super().__iter__()  # type: ignore[return-value]

    def _batch(self, in_split: list[int], names: Sequence[str]) -> Batch:
        return stack_scenes([self._read(index) for index in in_split], names)

    def _read(self, index: int) -> SceneExample:  # type: ignore[override]
        data, file, index_in_file = self.record(index)
        return decode_scene(data, file.location(index_in_file), self.manifest.labels.alphabet)


def _class_of(manifest: Manifest) -> type[Examples]:
    return Scenes if manifest.task == FIND else Examples


def open(
    directory: Place | Path | str,
    split: str,
    *,
    verify: bool = True,
    on_error: OnError = "raise",
    manifest: Manifest | None = None,
    cache: DiskCache | Path | str | None = None,
    snapshot: int | None = None,
) -> Examples:
    """Opens one split of a dataset directory, or of a stream as it is now: what arrives later changes nothing.

        examples = tfrecords.open("svhn-records", "train")
        print(len(examples), examples[7].text, examples[-1].image.shape)

    Of a dataset of task "find" it returns `Scenes`.

    Args:
      directory: Dataset directory that `prepare` wrote; local, or at an address that fsspec supports, such as
        `gs://bucket/svhn-records`.
      split: Name of the split: train, validation or test.
      verify: Whether to check the checksum of each record.
      on_error: Action of iteration at a damaged record or file: `raise`, or `skip`, which logs it and counts it in
        `skipped`. Access to a damaged example by its index always raises.
      manifest: Manifest of the directory; None reads it.
      cache: Folder on the disk, or a `DiskCache` with a bound of its own, that remote shards are copied to when they
        are first read. Processes may share it. None reads the shards from their addresses.
      snapshot: Number of a snapshot, if the directory is a stream; None opens its newest one.

    Raises:
      UserError: The directory is no dataset, has no such split or snapshot, or is of another schema version; or the
        cache is no folder that can be written to.
    """
    if manifest and snapshot is not None:
        raise UserError("Either a manifest must be given, or the number of a snapshot.", f"snapshot {snapshot}")
    if on_error not in ("raise", "skip"):
        raise UserError("on_error must be 'raise' or 'skip'.", repr(on_error))
    place = Place(directory)
    manifest = manifest or load_manifest(place, snapshot)
    info = manifest.split(split)
    if info.examples != (found := sum(shard.examples for shard in info.shards)):
        rule = f"{place / MANIFEST}: the shards of {split} must hold its {info.examples} examples."
        raise UserError(rule, found)
    if cache is not None and not isinstance(cache, DiskCache):
        cache = DiskCache(cache)
    size = sum(shard.bytes for shard in info.shards)
    if cache and place.is_remote and size > cache.max_bytes:
        rule = "the split %s of %s has %d bytes, and the cache %s room for %d: shards without room are not copied"
        _log.warning(rule, split, place, size, cache.folder, cache.max_bytes)
    return _class_of(manifest)(place, manifest, split, verify, on_error, cache)


def read_records(path: Place | Path | str, verify: bool = True) -> Iterator[Record]:
    """Yields the serialized records of any uncompressed TFRecord file, in order, without an index.

    Args:
      path: Path of the file.
      verify: Whether to check the checksum of each record.

    Raises:
      UserError: The file is missing or damaged.
    """
    try:
        stream = Place(path).open()
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such shard.") from error
    with stream:
        yield from read_frames(stream, str(path), verify)
