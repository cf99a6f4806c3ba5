"""Blocks of remote files in memory: one bounded cache for all files of a process, and threads that read ahead.

A request costs as much time as some megabytes, and a record has some kilobytes. So a block is read when the first of
its records is, and kept while there is room. A file that is read in order has its next blocks requested while the
current one is used.

In a random order over more than the cache holds, each block would push out one that is as likely to be used next, and
megabytes would be read for a record. So a block that is not read in order replaces only blocks that nobody has used for
some seconds; where there are none, the caller reads the bytes that it needs and nothing else.

(fsspec's own caches are for one file each: hundreds of open shards would have no common bound. None of them is for
several threads, and its `background` cache reads one block ahead.)
"""

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from tfrecords.errors import UserError

BLOCK_BYTES = 4 << 20
"""Size of a block. 19,000 records of 9 kB from moto's S3 on the same two busy cores took 4.6 s in order, and 0.78 s of
processor time, in blocks of 1 MiB; 2.9 and 0.55 s in 2 MiB; 1.7 and 0.43 s in 4 MiB; 1.8 and 0.39 s in 8 MiB."""
AHEAD_BLOCKS = 4
"""Blocks that are requested ahead of one that is used. Eight were no faster."""
VARIABLE = "STREETDIGITS_BLOCK_CACHE_MB"
"""Environment variable with the bound of the cache of a process, 10^6 bytes."""
_DEFAULT_MB = 256
_MINIMUM_BYTES = 2 * (1 + AHEAD_BLOCKS) * BLOCK_BYTES
_IDLE_S = 30.0
"""Time after which a block that nobody has used gives its place to one of a random order, seconds."""
_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """A block of a file.

    Attributes:
      address: Address of the file.
      version: Version of the file.
      block: Index of the block in the file.
    """

    address: str
    version: tuple[object, ...]
    block: int


Load = Callable[[Key], bytes]


class BlockCache:
    """The least recently used blocks make room for others. Several threads may use a cache.

    Attributes:
      max_bytes: Bound of the blocks in memory, bytes, without those that are being read.
    """

    def __init__(self, max_bytes: int) -> None:
        """Makes an empty cache."""
        self.max_bytes = max_bytes
        # The block, and when it was used last.
        self._blocks: OrderedDict[Key, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._full = False
        self.start()

    def start(self) -> None:
        """Makes the parts that are this process's own: after a fork, locks and threads are another one's."""
        self._lock = threading.Lock()
        self._pending: dict[Key, Future[bytes]] = {}
        # Work of the second kind may wait for blocks, which those of the first kind read.
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def find(self, key: Key) -> bytes | None:
        """Returns a block that is in memory, or that is being read, after waiting for it; else None."""
        with self._lock:
            if found := self._blocks.get(key):
                self._blocks[key] = found[0], time.monotonic()
                self._blocks.move_to_end(key)
                return found[0]
            future = self._pending.get(key)
        return future.result() if future else None

    def has(self, key: Key) -> bool:
        """Returns whether a block is in memory."""
        return key in self._blocks

    def read(self, key: Key, load: Load, in_order: bool) -> bytes | None:
        """Returns a block, after reading it if it is missing.

        Args:
          key: Block to return.
          load: Function that reads it.
          in_order: Whether the file is read in order, so that the block is worth more than others.

        Returns:
          The block, or None where it is missing and has no room.

        Raises:
          OSError, UserError: `load` has raised it.
        """
        if (found := self.find(key)) is not None:
            return found
        with self._lock:
            if not in_order and not self._has_room():
                return None
            mine: Future[bytes] = Future()
            future = self._pending.setdefault(key, mine)
        if future is mine:
            self._fill(key, load, future)
        return future.result()

    def ahead(self, key: Key, load: Load) -> None:
        """Reads a block in the background, unless it is there or on its way."""
        with self._lock:
            if key in self._blocks or key in self._pending:
                return
            future = self._pending[key] = Future()
            try:
                self._submit("blocks", self._fill, key, load, future)
            except RuntimeError:
                # The interpreter ends, or there are no more threads: whoever needs the block reads it himself, and
                # would wait for ever for one that nobody reads.
                del self._pending[key]

    def submit(self, work: Callable[[], object]) -> None:
        """Calls a function in the background. What it raises is lost: the caller meets the same error itself."""
        with self._lock, contextlib.suppress(RuntimeError):
            self._submit("files", work)

    def _submit(self, kind: str, work: Callable[..., object], *arguments: object) -> None:
        if kind not in self._pools:
            self._pools[kind] = ThreadPoolExecutor(AHEAD_BLOCKS, kind)
        self._pools[kind].submit(work, *arguments)

    def _fill(self, key: Key, load: Load, future: "Future[bytes]") -> None:
        """Reads a block into the cache, and gives it or the error to those who wait for it."""
        try:
            data = load(key)
        except BaseException as error:
            with self._lock:
                self._pending.pop(key, None)
            future.set_exception(error)
            return
        with self._lock:
            self._pending.pop(key, None)
            self._bytes += len(data) - len(self._blocks.pop(key, (b"",))[0])
            self._blocks[key] = data, time.monotonic()
            while self._bytes > self.max_bytes and len(self._blocks) > 1:
                self._bytes -= len(self._blocks.popitem(last=False)[1][0])
        future.set_result(data)

    def _has_room(self) -> bool:
        """Returns whether a block of a random order may come in; logs once that it may not."""
        if self._bytes + (1 + len(self._pending)) * BLOCK_BYTES <= self.max_bytes:
            return True
        _, used = next(iter(self._blocks.values()), (b"", 0.0))
        if time.monotonic() - used > _IDLE_S:
            return True
        if not self._full:
            self._full = True
            _log.warning(
                "remote files are read in a random order over more than %d MB: from now on each record is a request. "
                "Copy the shards to a disk (cache=FOLDER), or raise %s.",
                self.max_bytes // 1_000_000,
                VARIABLE,
            )
        return False


def bound() -> int:
    """Returns the bound that the environment sets, bytes.

    Raises:
      UserError: It is no number, or too small for reading ahead.
    """
    text = os.environ.get(VARIABLE, str(_DEFAULT_MB))
    if not text.isdecimal() or int(text) * 1_000_000 < _MINIMUM_BYTES:
        raise UserError(f"{VARIABLE} must be a number of MB, {-(-_MINIMUM_BYTES // 1_000_000)} or more.", text)
    return int(text) * 1_000_000


_caches: list[BlockCache] = []
_lock = threading.Lock()


def shared() -> BlockCache:
    """Returns the cache of this process; one that was forked begins with the blocks of its parent.

    Raises:
      UserError: The environment sets no bound that can be used.
    """
    if not _caches:
        with _lock:
            if not _caches:
                _caches.append(BlockCache(bound()))
    return _caches[0]


def _renew() -> None:
    global _lock
    _lock = threading.Lock()
    for cache in _caches:
        cache.start()


os.register_at_fork(after_in_child=_renew)
