"""A split's pictures and labels for several passes: each record is read once, and then taken from where it stands."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.reader import open as open_split
from tfrecords.errors import UserError
from tfrecords.files.record_file import RecordFile
from tfrecords.record.codec import decode_with_protobuf, find_pixels, png_shape
from tfrecords.record.collate import empty_images
from tfrecords.record.fast_decode import OtherwiseError, number_of, take_apart
from tfrecords.record.schema import MAX_LENGTH, DigitExample, check_example

_NEAR = 8
"""Shards that pictures were taken from of late: these are in the system's memory, or on their way."""
_FORMATS = {True: "raw", False: "png"}


class Labelled(NamedTuple):
    """Pictures with their labels.

    Attributes:
      images: (pictures, height, width, channels) uint8; of a dataset of PNGs (pictures,) object, each file's bytes.
      length: (pictures,) int64.
      digits: (pictures, 5) int64, `PAD` behind the last.
      keys: (pictures,) object, UTF-8.
    """

    images: NDArray[Any]
    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    keys: NDArray[np.object_]


class Pictures:
    """The pictures and labels of one split, any of them at once.

    When the first picture of a shard is asked for, all its records are read, their checksums and features checked.
    Where its pictures stand is kept from then on, and their labels: some 80 bytes an example. A picture is then no
    more than a copy from the file, which is mapped into memory. To look into shards here and there, take `Examples`.

    Attributes:
      shards: of the split.
      is_raw: whether the dataset holds pixels as they are, not PNG files.
      shape: of the pictures: height, width, channels.
    """

    def __init__(self, directory: Path | str, split: str, manifest: Manifest | None = None) -> None:
        """Opens a split; `manifest` is the dataset's, if it has been read already.

        Raises:
          UserError: not a dataset directory, no such split, or there is nothing in it.
        """
        self._examples = open_split(directory, split, manifest=manifest)
        count = len(self._examples)
        if not count:
            raise UserError(f"The split {split} of {directory} must hold at least one example.", 0)
        self.shards = tuple(self._examples.manifest.split(split).shards)
        image = self._examples.manifest.image
        self.is_raw = image.encoding == "raw"
        # The splits' pictures may differ in size; those of one split are of one size.
        known = image.shape
        self.shape: tuple[int, ...] = self._examples[0].image.shape if None in known else known
        # Where each shard's examples begin.
        self._firsts = np.array([0, *accumulate(shard.examples for shard in self.shards)])
        # Memory that is not written to costs nothing: of several hosts each fills its part.
        self._starts, self._sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._length, self._digits = np.zeros(count, np.uint8), np.zeros((count, MAX_LENGTH), np.uint8)
        # By shard: the file's version, and the keys.
        self._known: dict[int, tuple[tuple[int, ...], list[bytes]]] = {}
        self._near: deque[int] = deque(maxlen=_NEAR)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._examples)

    def take(self, numbers: NDArray[np.int64]) -> Labelled:
        """Returns the pictures of these numbers, (pictures,) int64, in their order.

        Raises:
          UserError: a shard is missing or another, a record is damaged or has a picture of another size.
        """
        shards = np.searchsorted(self._firsts, numbers, "right") - 1
        images = empty_images((len(numbers), *self.shape)) if self.is_raw else np.empty(len(numbers), object)
        keys = np.empty(len(numbers), object)
        # A shard at a time: there may be more in a batch than files can be open.
        for shard in np.unique(shards).tolist():
            file, keys_there = self._shard(shard)
            rows = np.flatnonzero(shards == shard)
            there = numbers[rows]
            keys[rows] = [keys_there[place] for place in (there - self._firsts[shard]).tolist()]
            starts = self._starts[there]
            views = map(file.view, starts.tolist(), (starts + self._sizes[there]).tolist())
            if self.is_raw:
                _copy(views, images, rows.tolist())
            else:
                images[rows] = list(map(bytes, views))
        return Labelled(images, self._length[numbers].astype(np.int64), self._digits[numbers].astype(np.int64), keys)

    def read_ahead_anew(self) -> None:
        """Tells that a new pass begins: what it needs of the files may have left the system's memory."""
        with self._lock:
            self._near.clear()

    def _shard(self, shard: int) -> tuple[RecordFile, list[bytes]]:
        """Returns a shard's file and keys, after all its records have been looked through once."""
        file = self._examples.file(shard)
        with self._lock:
            if shard not in self._near:
                # Page by page, in random order, a disk would take far longer.
                file.read_ahead()
                self._near.append(shard)
            if shard not in self._known:
                self._known[shard] = file.version, self._look_through(shard)
            version, keys = self._known[shard]
            if file.version != version:
                raise UserError(f"{file.path} must stay as it is while it is read.", "another file")
            return file, keys

    def _look_through(self, shard: int) -> list[bytes]:
        """Keeps where a shard's pictures stand and their labels, and returns the keys."""
        first, stop = self._firsts[shard : shard + 2].tolist()
        if first == stop:
            return []
        rows = [self._locate(*self._examples.record(number)) for number in range(first, stop)]
        starts, sizes, keys, labels = zip(*rows, strict=True)
        digits, lengths = zip(*labels, strict=True)
        self._starts[first:stop], self._sizes[first:stop] = starts, sizes
        self._digits[first:stop], self._length[first:stop] = np.stack(digits), lengths
        return list(keys)

    def _locate(
        self, data: bytes, file: RecordFile, number: int
    ) -> tuple[int, int, bytes, tuple[NDArray[np.int64], int]]:
        """Returns where a record's picture starts in its file, its size in bytes, the key, and digits and length."""
        try:
            layout, (key, text, length, digits, *_) = take_apart(data)
            pixels, is_raw = layout.pixels, layout.is_raw
            shape: tuple[int, ...] | None = layout.shape
            label = number_of(digits, length, text)
            key.decode()
        except (OtherwiseError, UnicodeDecodeError):
            example = decode_with_protobuf(data, file.place(number))
            _check(example, file.place(number))
            shape, key, label = example.image.shape, example.key.encode(), (example.digits, example.length)
            pixels, is_raw = find_pixels(data)
        if not is_raw:
            # What the file says itself.
            shape = png_shape(data[pixels]) if shape == self.shape else shape
        if shape != self.shape or is_raw != self.is_raw:
            rule = f"image must be {_FORMATS[self.is_raw]} of shape {self.shape}, as all of the split"
            found = f"{_FORMATS[is_raw]} of shape {shape or 'unknown'}"
            raise UserError(f"{file.place(number)} ({key.decode()}): {rule}.", found)
        return file.start(number) + pixels.start, pixels.stop - pixels.start, key, label


def _check(example: DigitExample, place: object) -> None:
    try:
        check_example(example)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _copy(views: Iterable[memoryview], images: NDArray[np.uint8], rows: Sequence[int]) -> None:
    pixels, size = images.reshape(-1).data, images[0].size
    for row, view in zip(rows, views, strict=True):
        pixels[row * size : (row + 1) * size] = view
