"""Shards of a dataset at an address, as copies in a bounded folder of this machine, fetched before they are used.

Training reads a dataset once per epoch, in an order that is known beforehand. So threads copy the next shards while
the present ones are used: the first epoch begins with its first shards, and later ones find the copies. Where the
dataset is larger than the folder's bound, the oldest copies make room, and each epoch fetches again what is missing.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import Manifest, ShardInfo
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError, one_line
from tfrecords.files.disk_cache import CacheFullError, DiskCache
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from trainer.run.cache_folder import CacheFolder

_AT_ONCE = 4
"""Shards that are fetched at once."""
_AHEAD_BYTES = 1 << 30
"""Most bytes of shards that are fetched before they are used."""
_OPEN_BYTES = 1 << 29
"""Most bytes of shards that are kept open, where the bound has no room for all: some windows of the shuffled order."""


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
          UserError: The folder cannot be used, or its bound has no room for two shards at a time.
        """
        self._directory, self._shards = directory, shards
        self._cache = DiskCache(cache.shards, cache.max_bytes)
        self._bound, self.total = cache.max_bytes, sum(shard.bytes for shard in shards)
        # A batch may need two shards while the next two arrive.
        least = sum(sorted((shard.bytes for shard in shards), reverse=True)[:4])
        if least > self._bound:
            rule = f"--cache-size must be at least {least / 1e9:.3g} GB for {directory}: four of its shards"
            raise UserError(f"{rule}.", f"{self._bound / 1e9:.3g} GB")
        self._ahead = max(min(self._bound // 4, _AHEAD_BYTES), least // 2)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch-shards")
        self._lock = threading.Lock()
        self._pending: OrderedDict[int, Future[BinaryIO]] = OrderedDict()
        self._planned: list[int] = []

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
            self._planned = list(order)
            wanted = set(self._planned)
            for index in [index for index in self._pending if index not in wanted]:
                _drop(self._pending.pop(index))
            self._advance()

    def open(self, index: int) -> BinaryIO:
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
        try:
            return future.result() if future else self._fetch(index)
        except CacheFullError:
            # What was fetched ahead took the room: this one is needed first.
            self._release()
            return self._fetch(index)

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

    def _fetch_ahead(self, index: int) -> BinaryIO:
        # At its end, Python waits for all that was submitted.
        if not threading.main_thread().is_alive():
            raise CancelledError
        return self._fetch(index)

    def _fetch(self, index: int) -> BinaryIO:
        shard = self._shards[index]
        try:
            return self._cache.open(self._directory / shard.file, shard.sha256, shard.bytes)
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


def _drop(future: "Future[BinaryIO]") -> None:
    """Closes a copy that is not needed, as soon as it is there."""
    if not future.cancel():
        future.add_done_callback(lambda done: done.exception() or done.result().close())


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
        super().__init__(str(directory), manifest, split, verify=True, on_error="raise")
        self.fetcher = Fetcher(directory, self._shards, cache)
        self._place = directory
        self._most = self.fetcher.total if self.fetcher.fits else min(cache.max_bytes // 4, _OPEN_BYTES)
        self._open_shards: OrderedDict[int, tuple[RecordFile, BinaryIO]] = OrderedDict()
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
            # Two at least: a window of the shuffled order has no fewer.
            while held > self._most and len(self._open_shards) > 2:
                oldest, (_, stream) = self._open_shards.popitem(last=False)
                stream.close()
                held -= self._shards[oldest].bytes
            return file

    def _open_copy(self, shard: int) -> RecordFile:
        info = self._shards[shard]
        stream = self.fetcher.open(shard)
        file = RecordFile(stream.name)
        # Errors name the shard, and a copy that was fetched again is the same shard.
        file.path, file.version = str(self._place / info.file), (info.bytes, int(info.sha256[:15], 16))
        if (len(file), file.size) != (info.examples, info.bytes):
            stream.close()
            expected = f"{info.examples} records in {info.bytes} bytes, as the manifest states"
            raise UserError(f"{file.path} must hold {expected}.", f"{len(file)} records in {file.size} bytes")
        self._open_shards[shard] = file, stream
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
        super().__init__(str(directory), split, manifest, examples)
        self._fetcher = examples.fetcher
        if not self._fetcher.fits:
            print(
                f"note: the split {split} of {directory} has {self._fetcher.total / 1e9:.3g} GB, and --cache-size is "
                f"{cache.max_bytes / 1e9:.3g} GB: shards are fetched again in each epoch",
                file=sys.stderr,
            )

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
