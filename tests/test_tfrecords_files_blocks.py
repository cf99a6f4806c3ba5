"""Blocks of remote files: what is kept and what is not, threads and forks, failures of the store, changed files."""

import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tfrecords
from tests.failing_proxy import Cut, Failure, Proxy, Reset, Stall, Status
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files import blocks, storage
from tfrecords.files.blocks import BlockCache, Key
from tfrecords.files.place import Place
from tfrecords.files.storage import RemoteBlob, open_blob

SIZE = 100
Read = Callable[[Key], bytes]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 100 bytes, and a new cache of ten of them."""
    for module in (blocks, storage):
        monkeypatch.setattr(module, "BLOCK_BYTES", SIZE)
    monkeypatch.setattr(blocks, "_caches", [BlockCache(10 * SIZE)])


def key(index: int) -> Key:
    return Key("memory://file", (), index)


class Loads:
    """Reads blocks of zeros, and lists them."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def __call__(self, key: Key) -> bytes:
        self.keys.append(key.block)
        return bytes(SIZE)


def test_a_block_is_read_once_while_there_is_room() -> None:
    cache, load = BlockCache(3 * SIZE), Loads()
    for index in (0, 1, 0, 2, 0, 1):
        assert cache.read(key(index), load, in_order=False) == bytes(SIZE)
    assert load.keys == [0, 1, 2]


def test_blocks_in_order_push_out_the_least_recently_used_ones() -> None:
    cache, load = BlockCache(3 * SIZE), Loads()
    for index in (0, 1, 2, 0, 3):
        cache.read(key(index), load, in_order=True)
    assert [cache.has(key(index)) for index in range(4)] == [True, False, True, True]


def test_blocks_in_random_order_replace_only_those_that_nobody_uses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache, load = BlockCache(2 * SIZE), Loads()
    with caplog.at_level(logging.WARNING):
        for index in (0, 1, 2, 3):
            cache.read(key(index), load, in_order=False)
    assert load.keys == [0, 1] and cache.read(key(2), load, in_order=False) is None
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "remote files are read in a random order over more than 0 MB"
    ]
    monkeypatch.setattr(blocks, "_IDLE_S", 0.0)
    assert cache.read(key(2), load, in_order=False) == bytes(SIZE)
    assert [cache.has(key(index)) for index in range(3)] == [False, True, True]


def test_threads_that_want_a_block_at_once_read_it_once() -> None:
    cache, load, begun, go = BlockCache(3 * SIZE), Loads(), threading.Event(), threading.Event()

    def slow(key: Key) -> bytes:
        begun.set()
        assert go.wait(10)
        return load(key)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.read, key(0), slow, False)]
        assert begun.wait(10)
        cache.ahead(key(0), slow)
        asked += [pool.submit(cache.read, key(0), slow, False) for _ in range(3)]
        go.set()
        assert [each.result(10) for each in asked] == [bytes(SIZE)] * 4
    assert load.keys == [0]


def test_an_error_is_raised_to_whoever_waits_and_not_kept() -> None:
    cache, load = BlockCache(3 * SIZE), Loads()

    def fail(key: Key) -> bytes:
        raise UserError("out of order", key.block)

    for _ in range(2):
        with pytest.raises(UserError, match="out of order"):
            cache.read(key(0), fail, in_order=True)
    assert cache.read(key(0), load, in_order=True) == bytes(SIZE)


def _read_in_child(cache: BlockCache, found: Any) -> None:
    load = Loads()
    data = [cache.read(key(index), load, in_order=True) for index in (0, 1)]
    found.put((data, load.keys))


def test_a_block_that_no_thread_can_read_ahead_is_read_by_whoever_needs_it() -> None:
    cache, read = BlockCache(10 * SIZE), Loads()
    cache.ahead(key(0), read)
    cache.read(key(0), read, in_order=True)
    # As at the end of the interpreter.
    cache._pools["blocks"].shutdown()
    cache.ahead(key(1), read)
    assert cache.read(key(1), read, in_order=True) == read(key(1))


def test_a_forked_process_has_the_blocks_and_its_own_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = blocks.shared()
    cache.read(key(0), Loads(), in_order=True)
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    # Another thread may hold the lock, and be reading a block, at the fork.
    with cache._lock:
        cache._pending[key(1)] = cache._pending.get(key(1)) or threading.Event()  # type: ignore[assignment]
        child = context.Process(target=_read_in_child, args=(cache, found))
        child.start()
    assert found.get(timeout=20) == ([bytes(SIZE)] * 2, [1])
    child.join()


@pytest.mark.parametrize("text", ["", "a lot", "-5", "1", "1.5"])
def test_the_bound_of_the_environment_is_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_caches", [])
    monkeypatch.setenv(blocks.VARIABLE, text)
    with pytest.raises(UserError, match=rf"^STREETDIGITS_BLOCK_CACHE_MB must be .* Received: {text}$"):
        blocks.shared()
    monkeypatch.setenv(blocks.VARIABLE, "64")
    assert blocks.shared().max_bytes == 64_000_000


# --- files

DATA = bytes(range(250)) * 10


@pytest.fixture
def address() -> Iterator[str]:
    """A file of 25 blocks."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/blocks/file", DATA)
    yield "memory://blocks/file"
    memory.rm("/blocks", recursive=True)


def test_any_range_of_a_remote_file_is_that_of_a_local_one(address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    here, there = open_blob(Place(tmp_path / "file")), open_blob(Place(address))
    assert here.size == there.size == len(DATA)
    for start in range(0, 2600, 37):
        for size in (0, 1, 99, 100, 101, 350, 1700):
            assert here.read(start, start + size) == there.read(start, start + size), (start, size)
            assert bytes(there.view(start, start + size)) == DATA[start : start + size]


def test_a_file_that_does_not_fit_is_read_by_range(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    request = RemoteBlob._request

    def watched(self: RemoteBlob, start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return request(self, start, stop)

    monkeypatch.setattr(RemoteBlob, "_request", watched)
    blob = open_blob(Place(address))
    for block in range(24, 0, -1):
        assert blob.read(100 * block, 100 * block + 7) == DATA[100 * block : 100 * block + 7]
    assert asked[:10] == [(100 * block, 100 * block + 100) for block in range(24, 14, -1)]
    assert asked[10:] == [(100 * block, 100 * block + 7) for block in range(14, 0, -1)]
    assert blob.is_far(300, 301) and not blob.is_far(2400, 2500)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^memory://blocks/none: there is no such file\.$"):
        open_blob(Place("memory://blocks/none"))


def test_a_server_that_states_no_size_and_a_folder_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^memory://blocks: there is no such file\.$"):
        open_blob(Place("memory://blocks"))
    rule = rf"must state the size of a file that is read in parts\. Received: {address}"
    with monkeypatch.context() as patched, pytest.raises(UserError, match=rule):
        patched.setattr(MemoryFileSystem, "info", lambda *_: {"type": "file", "size": None})
        open_blob(Place(address))


# --- a store


@pytest.mark.parametrize("change", ["same size", "shorter", "deleted"])
def test_an_object_that_was_replaced_is_refused(change: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_LOOK_S", 0.0)
    bucket.put("shard", DATA)
    address = f"{bucket.address}/shard"
    blob = open_blob(Place(address))
    assert blob.read(2000, 2010) == DATA[2000:2010]
    if change == "deleted":
        bucket.client.delete_object(Bucket=bucket.name, Key="shard")
        with pytest.raises(FileNotFoundError):
            blob.read(1000, 1010)
        return
    other = DATA[::-1] if change == "same size" else DATA[:-1]
    bucket.put("shard", other)
    rule = rf"^{address} must not change while it is read, from 2500 bytes, \S+.* Received: {len(other)} bytes, \S+"
    with pytest.raises(UserError, match=rule):
        blob.read(1000, 1010)


def test_a_look_is_taken_once_in_some_seconds_and_where_bytes_are_missing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("shard", DATA)
    blob = open_blob(Place(f"{bucket.address}/shard"))
    bucket.put("shard", DATA[:2050])
    assert blob.read(1000, 1010) == DATA[1000:1010]
    with pytest.raises(UserError, match=r"must not change while it is read, .* Received: 2050 bytes"):
        blob.read(2000, 2010)


@pytest.mark.parametrize(
    "failure", [Status(503), Status(500), Reset(), Cut(30), Stall(0.3)], ids=lambda failure: type(failure).__name__
)
def test_failures_of_a_store_are_retried(failure: Failure, proxy: Proxy, s3_endpoint: str) -> None:
    bucket = Bucket(s3_endpoint)
    bucket.put("shard", DATA)
    blob = open_blob(Place(f"{bucket.address}/shard"))
    proxy.fail(failure, method="GET", contains="shard", times=2)
    assert blob.read(1000, 1210) == DATA[1000:1210]
    assert not proxy.pending


def test_a_dataset_is_read_in_any_order_through_failures(
    records: Path, proxy: Proxy, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (blocks, storage):
        monkeypatch.setattr(module, "BLOCK_BYTES", 200_000)
    monkeypatch.setattr(blocks, "_caches", [BlockCache(20 * 200_000)])
    bucket = Bucket(s3_endpoint)
    bucket.put_folder(records, "svhn")
    expected = [example.key for example in tfrecords.open(records, "train")]
    for failure in (Status(503), Reset(), Cut(1000)):
        proxy.fail(failure, method="GET", contains="tfrecord", skip=1)
    examples = tfrecords.open(f"{bucket.address}/svhn", "train")
    batches = tfrecords.Batches(examples, 64, seed=0)
    assert sorted(key for batch in batches for key in batch["key"].tolist()) == sorted(expected)
    assert [example.key for example in examples] == expected
    assert not proxy.pending
