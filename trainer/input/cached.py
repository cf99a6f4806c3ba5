"""Shards of a dataset at an address, as copies in a bounded folder of this machine, fetched before they are used.

Training reads a dataset once per epoch, in an order that is known beforehand. So threads copy the next shards while
the present ones are used: the first epoch begins with its first shards, and later ones find the copies. Where the
dataset is larger than the folder's bound, the oldest copies make room, and each epoch fetches again what is missing.
"""

import os
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.image_cache import ImageCache, LabelledImages
from tfrecords.dataset.manifest import Manifest, ShardInfo
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError, one_line
from tfrecords.files.disk_cache import CacheFullError, DiskCache
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from trainer.input import shuffle
from trainer.run.cache_folder import CacheFolder

_POLL_S = 0.1
"""Seconds between two looks at whether a wait is to end."""
_PATIENCE_S = 30.0
"""Time to wait for room in a full cache, seconds: more than a shard takes to arrive."""
_QUIET_S = 0.1
"""Seconds without a call after which TensorFlow's threads have filled their buffers, with errors, and make no more."""
_AT_ONCE = 4
"""Shards that are fetched at once."""
_AHEAD_BYTES = 1 << 30
"""Most bytes of shards that are fetched before they are used."""
_WINDOWS = 4
"""Windows of the shuffled order that the bound has room for at least: two that are open, one ahead, and what is between
them."""
_OPEN_BYTES = 1 << 29
"""Most bytes of shards that are kept open, where the bound has no room for all: some windows of the shuffled order."""


class Copy:
    """A copy of a shard, which is not deleted until it is closed, or no longer referred to.

    Attributes:
      path: Path of the copy.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Takes over an open file of the cache, whose lock holds the copy."""
        self.path = stream.name
        # The lock belongs to what both descriptors are of.
        self._descriptor: int | None = os.dup(stream.fileno())
        stream.close()

    def close(self) -> None:
        """Lets the copy make room for others."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


class Fetcher:
    """Copies of a split's shards, fetched in the order in which they will be used.

    A copy that was fetched ahead is held until it is used, so that no other process makes room by deleting it.
    """

    def __init__(self, directory: Place, shards: Sequence[ShardInfo], cache: CacheFolder) -> None:
        """Fetches nothing yet.

        Args:
          directory: Dataset directory at an address.
          shards: Shards of the split.
          cache: Folder of the copies.

        Raises:
          UserError: The folder cannot be used, or its bound is too small.
        """
        self._directory, self._shards = directory, shards
        self._cache = DiskCache(cache.shards, cache.max_bytes)
        self._bound, self.total = cache.max_bytes, sum(shard.bytes for shard in shards)
        # A window of the shuffled order is read in random order while the next one arrives.
        window = max(sum(sorted((shard.bytes for shard in shards), reverse=True)[:2]), shuffle.WINDOW_BYTES)
        least = min(self.total, _WINDOWS * window)
        if least > self._bound:
            rule = f"--cache-size must be at least {least / 1e9:.3g} GB for {directory}"
            raise UserError(f"{rule}: {_WINDOWS} windows of its shuffled order.", f"{self._bound / 1e9:.3g} GB")
        self._ahead = max(min(self._bound // _WINDOWS, _AHEAD_BYTES), min(window, least // _WINDOWS))
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch-shards")
        self._lock = threading.Lock()
        self._pending: OrderedDict[int, Future[Copy]] = OrderedDict()
        self._planned: list[int] = []
        self._closed = threading.Event()

    @property
    def fits(self) -> bool:
        """Whether the bound has room for the complete split."""
        return self.total <= self._bound

    def plan(self, order: Iterable[int]) -> None:
        """Begins to fetch shards ahead.

        Args:
          order: Indices of the shards in the order in which they will be used from now on.
        """
        with self._lock:
            self._planned = [] if self._closed.is_set() else list(order)
            wanted = set(self._planned)
            for index in [index for index in self._pending if index not in wanted]:
                _drop(self._pending.pop(index))
            self._advance()

    def open(self, index: int) -> Copy:
        """Returns a copy of a shard, in use until it is closed; waits until it is fetched.

        Args:
          index: Index of the shard.

        Raises:
          UserError: The shard cannot be fetched.
        """
        with self._lock:
            future = self._pending.pop(index, None)
            if index in self._planned:
                self._planned.remove(index)
            self._advance()
        stop = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._wait(future or self._pool.submit(self._fetch_ahead, index))
            except CacheFullError:
                if time.monotonic() > stop:
                    raise
            # What is fetched ahead has taken the room, here or in another process. This one is needed first; what is
            # still arriving makes room when it has arrived.
            future = None
            self._release()
            self._closed.wait(_POLL_S)

    def close(self) -> None:
        """Ends all waiting: `open` raises a CancelledError from now on."""
        self._closed.set()
        self._release()

    def _wait(self, future: "Future[Copy]") -> Copy:
        while not self._closed.is_set():
            if wait([future], _POLL_S).done:
                return future.result()
        _drop(future)
        raise CancelledError

    def _advance(self) -> None:
        """Requests the next shards of the plan, as far as they may be ahead."""
        ahead = sum(self._shards[index].bytes for index in self._pending)
        for index in self._planned:
            if index in self._pending:
                continue
            ahead += self._shards[index].bytes
            if ahead > self._ahead:
                return
            self._pending[index] = self._pool.submit(self._fetch_ahead, index)

    def _fetch_ahead(self, index: int) -> Copy:
        # At its end, Python waits for all that was submitted.
        if self._closed.is_set() or not threading.main_thread().is_alive():
            raise CancelledError
        return self._fetch(index)

    def _fetch(self, index: int) -> Copy:
        shard = self._shards[index]
        try:
            return Copy(self._cache.open(self._directory / shard.file, shard.sha256, shard.bytes))
        except CacheFullError:
            raise
        except FileNotFoundError as error:
            raise UserError(f"{self._directory / shard.file}: there is no such shard.") from error
        except (UserError, OSError) as error:
            raise UserError(
                f"The shard {shard.file} of {self._directory} cannot be fetched.", one_line(error)
            ) from error

    def _release(self) -> None:
        """Lets go what was fetched ahead."""
        with self._lock:
            while self._pending:
                _drop(self._pending.popitem()[1])


def _drop(future: "Future[Copy]") -> None:
    """Closes a copy that is not needed, as soon as it is there."""
    if not future.cancel():
        future.add_done_callback(_close_result)


def _close_result(future: "Future[Copy]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()


class CachedExamples(Examples):
    """The examples of a split at an address, read from copies of its shards."""

    def __init__(self, directory: Place, manifest: Manifest, split: str, cache: CacheFolder) -> None:
        """Opens nothing yet.

        Args:
          directory: Dataset directory at an address.
          manifest: Manifest of the dataset.
          split: Name of the split.
          cache: Folder of the copies.

        Raises:
          UserError: The folder cannot be used, or its bound is too small.
        """
        super().__init__(directory, manifest, split, verify=True, on_error="raise")
        self.fetcher = Fetcher(directory, self._shards, cache)
        self._place = directory
        self._most = self.fetcher.total if self.fetcher.fits else min(cache.max_bytes // 2, _OPEN_BYTES)
        self._open_shards: OrderedDict[int, tuple[RecordFile, Copy]] = OrderedDict()
        self._opening = threading.Lock()

    def file(self, shard: int) -> RecordFile:
        """Returns the records of the shard at an index; waits until its copy is there.

        Raises:
          UserError: The shard cannot be fetched, or differs from the manifest.
        """
        with self._opening:
            if found := self._open_shards.get(shard):
                self._open_shards.move_to_end(shard)
                return found[0]
            file = self._open_copy(shard)
            held = sum(self._shards[index].bytes for index in self._open_shards)
            while held > self._most and len(self._open_shards) > 1:
                oldest, (_, copy) = self._open_shards.popitem(last=False)
                copy.close()
                held -= self._shards[oldest].bytes
            return file

    def take_over(self, before: Examples) -> None:
        """Takes the open copies of those shards that another sequence has too; the others make room."""
        if not isinstance(before, CachedExamples):
            return
        indices = {shard: index for index, shard in enumerate(self._shards)}
        for old, (file, copy) in before._open_shards.items():
            index = indices.get(before._shards[old])
            if index is None:
                copy.close()
            else:
                self._open_shards[index] = file, copy
        before._open_shards = OrderedDict()
        before.fetcher.close()

    def _open_copy(self, shard: int) -> RecordFile:
        info = self._shards[shard]
        copy = self.fetcher.open(shard)
        file = RecordFile(copy.path)
        # Errors name the shard, and a copy that was fetched again is the same shard.
        file.path, file.version = str(self._place / info.file), (info.bytes, int(info.sha256[:15], 16))
        if (len(file), file.size) != (info.examples, info.bytes):
            expected = f"{info.examples} records in {info.bytes} bytes, as the manifest states"
            raise UserError(f"{file.path} must hold {expected}.", f"{len(file)} records in {file.size} bytes")
        self._open_shards[shard] = file, copy
        return file


class CachedImages(ImageCache):
    """The images and labels of a split at an address, read from copies of its shards."""

    def __init__(self, directory: Place, manifest: Manifest, split: str, cache: CacheFolder) -> None:
        """Opens a split.

        Args:
          directory: Dataset directory at an address.
          manifest: Manifest of the dataset.
          split: Name of the split.
          cache: Folder of the copies.

        Raises:
          UserError: The split is empty, the folder cannot be used, or its bound is too small.
        """
        examples = CachedExamples(directory, manifest, split, cache)
        super().__init__(directory, split, manifest, examples=examples)
        self._fetcher, self._folder = examples.fetcher, cache
        self._running, self._last_call, self._left = 0, 0.0, False
        self._counting = threading.Lock()
        _open_images.add(self)
        if not self._fetcher.fits:
            print(
                f"note: the split {split} of {directory} has {self._fetcher.total / 1e9:.3g} GB, and --cache-size is "
                f"{cache.max_bytes / 1e9:.3g} GB: shards are fetched again in each epoch",
                file=sys.stderr,
            )

    def _reopen(self, manifest: Manifest) -> Examples:
        """Returns the examples of the split in another state of the directory, to be fetched to the same folder."""
        return CachedExamples(self._examples.directory, manifest, self._examples.split, self._folder)

    def move_to(self, manifest: Manifest) -> None:
        """Moves to another state of the directory, as `ImageCache.move_to` does; copies of unchanged shards stay.

        Raises:
          UserError: The split is missing or empty there, or the bound of the folder is too small.
        """
        super().move_to(manifest)
        if isinstance(self._examples, CachedExamples):
            self._fetcher = self._examples.fetcher

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """Returns images with their labels, as `ImageCache.take` does; waits until their shards are there.

        Raises:
          UserError: A shard cannot be fetched, a record is damaged, or `leave` was called.
        """
        with self._counting:
            self._running += 1
            self._last_call = time.monotonic()
        try:
            if self._left:
                raise UserError("The images are no longer read.")
            return super().take(indices)
        except CancelledError as error:
            raise UserError("The images are no longer read.") from error
        finally:
            with self._counting:
                self._running -= 1

    def leave(self) -> None:
        """Ends the reading for good, and waits until no thread of TensorFlow's is in `take`."""
        self._left = True
        self._fetcher.close()
        while self._running or time.monotonic() - self._last_call < _QUIET_S:
            time.sleep(_POLL_S / 10)

    def expect(self, *passes: NDArray[np.int64]) -> None:
        """Begins to fetch the shards of examples ahead.

        Args:
          *passes: Indices of examples in the split, in the order in which they will be taken, (examples,) int64: those
            of this epoch, and of the next one.
        """
        order: list[int] = []
        for indices in passes:
            shards = np.searchsorted(self._shard_starts, indices, "right") - 1
            _, first = np.unique(shards, return_index=True)
            order += shards[np.sort(first)].tolist()
        self._fetcher.plan(order)


_open_images: "weakref.WeakSet[CachedImages]" = weakref.WeakSet()


def leave_all() -> None:
    """Ends the reading of all images of this process that come from addresses, before their batches are dropped.

    TensorFlow destroys an iterator while it holds Python's lock, and waits for its threads, which need that lock where
    they are in Python (2.21): a process that stops in the middle of an epoch, while a shard is fetched, would hang.
    """
    for images in list(_open_images):
        images.leave()
