"""The images and labels of a split for several epochs: each record is parsed once."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.reader import Examples
from tfrecords.dataset.reader import open as open_split
from tfrecords.errors import UserError
from tfrecords.files.disk_cache import DiskCache
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from tfrecords.record.codec import decode_with_protobuf, find_pixels, png_shape
from tfrecords.record.collate import empty_images
from tfrecords.record.fast_decode import UnknownLayoutError, parse_label, split_values
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample, check_example

_RECENT_SHARDS = 8
"""Number of shards that are assumed to be in the system's memory still, or on their way there."""
_ENCODINGS = {True: "raw", False: "png"}


class LabelledImages(NamedTuple):
    """Images with their labels.

    Attributes:
      images: (images, height, width, channels) uint8; for a dataset of PNG files (images,) object, the bytes of each.
      length: Number of characters: (images,) int64.
      digits: Indices in the alphabet, padded with its size: (images, max_length) int64.
      keys: Keys: (images,) object, UTF-8 bytes.
    """

    images: NDArray[Any]
    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    keys: NDArray[np.object_]


class ImageCache:
    """The images and labels of one split, with random access.

    The first access to a shard reads all its records and checks their checksums and features. From then on the cache
    holds the offsets of the images and their labels, some 80 bytes per example. Further access is a copy from the file,
    which is mapped into memory. For a look into a few examples of many shards, use `Examples`.

    Attributes:
      shards: Shards of the split.
      is_raw: Whether the dataset holds raw pixels, not PNG files.
      shape: Height, width and channels of the images.
      labels: What the dataset's numbers may be.
    """

    def __init__(
        self,
        directory: Place | Path | str,
        split: str,
        manifest: Manifest | None = None,
        cache: DiskCache | Path | str | None = None,
        examples: Examples | None = None,
    ) -> None:
        """Opens a split.

        Args:
          directory: Dataset directory, local or at an address.
          split: Name of the split.
          manifest: Manifest of the directory; None reads it.
          cache: Cache on the disk for remote shards, as of `tfrecords.open`.
          examples: Examples of the split, if they are open already; None opens them.

        Raises:
          UserError: The directory is no dataset, or one of scenes, has no such split, or the split is empty.
        """
        self._cache = cache
        self._lock = threading.Lock()
        self._lay_out(examples or open_split(directory, split, manifest=manifest, cache=cache))

    def _lay_out(self, examples: Examples) -> None:
        """Makes room for what will be known of examples; nothing is yet.

        Raises:
          UserError: There are none, or they are scenes.
        """
        count, split = len(examples), examples.split
        if examples.manifest.task == FIND:
            rule = (
                f"{examples.directory} must hold images that are cut out around numbers: tfrecords.open reads scenes."
            )
            raise UserError(rule, f"the task {FIND}")
        if not count:
            raise UserError(f"The split {split} of {examples.directory} must hold at least one example.", 0)
        self._examples = examples
        found = examples.manifest
        image, self.labels, self._version = found.image, found.labels, found.schema_version
        self.shards = tuple(found.split(split).shards)
        self.is_raw = image.encoding == "raw"
        # Images of different splits may differ in size; those of one split have one size.
        self.shape: tuple[int, ...] = self._examples[0].image.shape if None in image.shape else image.shape
        self._shard_starts = np.array([0, *accumulate(shard.examples for shard in self.shards)])
        # Memory that is never written to costs nothing: each of several hosts fills its part only.
        self._starts, self._sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._length = np.zeros(count, np.uint8)
        self._digits = np.zeros((count, self.labels.max_length), np.uint8)
        # Version of the file, and keys, by shard.
        self._parsed: dict[int, tuple[tuple[object, ...], list[bytes]]] = {}
        self._recent: deque[int] = deque(maxlen=_RECENT_SHARDS)

    def __len__(self) -> int:
        return len(self._examples)

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """Returns images with their labels.

        Args:
          indices: Indices in the split, in the order of the result: (images,) int64.

        Raises:
          UserError: A shard is missing or was replaced, a record is damaged, or its image has another size.
        """
        shards = np.searchsorted(self._shard_starts, indices, "right") - 1
        images = empty_images((len(indices), *self.shape)) if self.is_raw else np.empty(len(indices), object)
        keys = np.empty(len(indices), object)
        # One shard at a time: a batch may have more shards than a process may open files.
        for shard in np.unique(shards).tolist():
            file, shard_keys = self._shard(shard)
            rows = np.flatnonzero(shards == shard)
            in_shard = indices[rows]
            keys[rows] = [shard_keys[index] for index in (in_shard - self._shard_starts[shard]).tolist()]
            starts = self._starts[in_shard]
            views = map(file.view, starts.tolist(), (starts + self._sizes[in_shard]).tolist())
            if self.is_raw:
                _copy(views, images, rows.tolist())
            else:
                images[rows] = list(map(bytes, views))
        length, digits = self._length[indices].astype(np.int64), self._digits[indices].astype(np.int64)
        return LabelledImages(images, length, digits, keys)

    def start_epoch(self) -> None:
        """Marks a new epoch, so that shards are read ahead again: they may have left the system's memory."""
        with self._lock:
            self._recent.clear()

    def move_to(self, manifest: Manifest) -> None:
        """Moves to another state of the directory, and keeps what is known of the shards that both have.

        No other thread may use the images: call it between two passes. It is this object that changes, not a new one
        that replaces it, because TensorFlow never frees a Python function or what it refers to (2.21): each state of a
        growing dataset would stay in memory.

        Args:
          manifest: Manifest of the other state.

        Raises:
          UserError: The split is missing or empty there; then nothing has changed.
        """
        before, shards, starts, parsed = self._examples, self.shards, self._shard_starts, self._parsed
        known = self._arrays
        self._lay_out(self._reopen(manifest))
        self._examples.take_over(before)
        indices = {shard: index for index, shard in enumerate(shards)}
        for index, shard in enumerate(self.shards):
            old = indices.get(shard, -1)
            if old not in parsed:
                continue
            self._parsed[index] = parsed[old]
            here, there = slice(*self._shard_starts[index : index + 2]), slice(*starts[old : old + 2])
            for target, source in zip(self._arrays, known, strict=True):
                target[here] = source[there]

    @property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        """What is known of each image: its place in the file, and its label."""
        return self._starts, self._sizes, self._length, self._digits

    def _reopen(self, manifest: Manifest) -> Examples:
        """Returns the examples of the split in another state of the directory."""
        return open_split(self._examples.directory, self._examples.split, manifest=manifest, cache=self._cache)

    def _shard(self, shard: int) -> tuple[RecordFile, list[bytes]]:
        """Returns the file and the keys of a shard, after parsing its records once."""
        file = self._examples.file(shard)
        with self._lock:
            if shard not in self._recent:
                # Page by page, in random order, a disk would take far longer.
                file.read_ahead()
                self._recent.append(shard)
            version, keys = self._parsed.get(shard, ((), []))
            # A copy of a remote shard has another form of version than the shard itself.
            if len(version) != len(file.version):
                version, keys = self._parsed[shard] = file.version, self._parse(shard)
            if file.version != version:
                raise UserError(f"{file.path} must not change while it is read.", "another file")
            return file, keys

    def _parse(self, shard: int) -> list[bytes]:
        """Stores the offsets and the labels of a shard's images, and returns their keys."""
        first, stop = self._shard_starts[shard : shard + 2].tolist()
        if first == stop:
            return []
        rows = [self._parse_record(*self._examples.record(index)) for index in range(first, stop)]
        starts, sizes, keys, labels = zip(*rows, strict=True)
        digits, lengths = zip(*labels, strict=True)
        self._starts[first:stop], self._sizes[first:stop] = starts, sizes
        self._digits[first:stop], self._length[first:stop] = np.stack(digits), lengths
        return list(keys)

    def _parse_record(
        self, data: bytes, file: RecordFile, index: int
    ) -> tuple[int, int, bytes, tuple[NDArray[np.int64], int]]:
        """Returns the offset and the size of a record's image in its file, the key, and digits and length."""
        try:
            layout, (key, text, length, digits, *_) = split_values(data, self.labels, self._version)
            pixels, is_raw = layout.pixels, layout.is_raw
            shape: tuple[int, ...] | None = layout.shape
            label = parse_label(layout.max_length, self.labels.alphabet, digits, length, text)
            key.decode()
        except (UnknownLayoutError, UnicodeDecodeError):
            example = decode_with_protobuf(data, file.location(index), self.labels, self._version)
            _check(example, file.location(index), self.labels)
            shape, key, label = example.image.shape, example.key.encode(), (example.digits, example.length)
            pixels, is_raw = find_pixels(data)
        if not is_raw:
            # The shape that the PNG file itself states.
            shape = png_shape(data[pixels]) if shape == self.shape else shape
        if shape != self.shape or is_raw != self.is_raw:
            rule = f"image must be {_ENCODINGS[self.is_raw]} of shape {self.shape}, as in the rest of the split"
            found = f"{_ENCODINGS[is_raw]} of shape {shape or 'unknown'}"
            raise UserError(f"{file.location(index)} ({key.decode()}): {rule}.", found)
        return file.data_start(index) + pixels.start, pixels.stop - pixels.start, key, label


def _check(example: DigitExample, location: object, labels: Labels) -> None:
    try:
        check_example(example, labels)
    except UserError as error:
        raise UserError(f"{location}: {error}") from error


def _copy(views: Iterable[memoryview], images: NDArray[np.uint8], rows: Sequence[int]) -> None:
    pixels, size = images.reshape(-1).data, images[0].size
    for row, view in zip(rows, views, strict=True):
        pixels[row * size : (row + 1) * size] = view
