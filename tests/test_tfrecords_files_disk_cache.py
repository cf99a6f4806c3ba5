"""The cache on the disk: one download for all processes, a bound that holds, and nothing left of killed ones."""

import errno
import fcntl
import hashlib
import mmap
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files import disk_cache, remote
from tfrecords.files.disk_cache import CacheFullError, DiskCache
from tfrecords.files.flock import locked

FORK = multiprocessing.get_context("fork")
DATA = {f"{name}.tfrecord": name.encode() * 1000 for name in "abcd"}


def sha256(name: str) -> str:
    return hashlib.sha256(DATA[name]).hexdigest()


def address(name: str) -> str:
    return f"memory://cached/{name}"


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """Four files of 1,000 bytes at addresses of this process."""
    memory = fsspec.filesystem("memory")
    for name, data in DATA.items():
        memory.pipe_file(f"/cached/{name}", data)
    yield
    memory.rm("/cached", recursive=True)


def copies(folder: Path) -> list[str]:
    """The names of the files that are copied, without their digests; of unfinished ones too."""
    return sorted(path.name.split(".", 1)[1] for path in folder.iterdir() if path.name != ".lock")


def test_a_file_is_downloaded_once_and_then_found(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "new" / "cache")
    for _ in range(3):
        with cache.open(address("a.tfrecord"), sha256("a.tfrecord"), 1000) as stream:
            assert stream.read() == DATA["a.tfrecord"]
    assert (cache.downloads, cache.hits) == (1, 2)
    path = DiskCache(cache.folder).path(address("a.tfrecord"), sha256("a.tfrecord").upper())
    assert path.read_bytes() == DATA["a.tfrecord"]
    assert copies(cache.folder) == ["a.tfrecord"]


def test_a_file_of_several_requests_arrives_in_order(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "_CHUNK_BYTES", 1000)
    data = os.urandom(12_345)
    bucket.put("some shard", data)
    path = DiskCache(tmp_path).path(f"{bucket.address}/some shard", hashlib.sha256(data).hexdigest(), len(data))
    assert path.read_bytes() == data


def test_an_object_of_a_store_that_was_replaced_is_downloaded_again(tmp_path: Path, bucket: Bucket) -> None:
    cache = DiskCache(tmp_path)
    for data in (b"first", b"other", b"empty next", b""):
        bucket.put("shard", data)
        assert cache.path(f"{bucket.address}/shard").read_bytes() == data
        assert cache.path(f"{bucket.address}/shard").read_bytes() == data
    assert (cache.downloads, cache.hits) == (4, 4)


def test_a_local_file_is_its_own_copy(tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"here")
    cache = DiskCache(tmp_path / "cache")
    assert cache.path(str(tmp_path / "local")) == tmp_path / "local"
    with cache.open(str(tmp_path / "local")) as stream:
        assert stream.read() == b"here"
    assert copies(cache.folder) == []


def test_the_least_recently_used_copies_make_room(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 2500)
    foreign = tmp_path / "a file.of others.txt"
    foreign.write_bytes(bytes(5000))
    for name in ("a", "b", "a", "c"):
        cache.open(address(f"{name}.tfrecord"), sha256(f"{name}.tfrecord"), 1000).close()
    assert copies(tmp_path) == ["a.tfrecord", "c.tfrecord", "of others.txt"]


def test_a_copy_in_use_is_not_deleted_even_if_only_mapped(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 2500)
    with cache.open(address("a.tfrecord"), sha256("a.tfrecord"), 1000) as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    held = cache.path(address("b.tfrecord"), sha256("b.tfrecord"), 1000)
    with pytest.raises(CacheFullError, match=r"must have room for memory://cached/c.tfrecord, 1000 bytes: give it .* "):
        cache.path(address("c.tfrecord"), sha256("c.tfrecord"), 1000)
    assert copies(tmp_path) == ["a.tfrecord", "b.tfrecord"]
    mapped.close()
    cache.path(address("c.tfrecord"), sha256("c.tfrecord"), 1000)
    assert copies(tmp_path) == ["b.tfrecord", "c.tfrecord"]
    cache.release()
    DiskCache(tmp_path, 1000).path(address("d.tfrecord"), sha256("d.tfrecord"), 1000)
    assert copies(tmp_path) == ["d.tfrecord"]
    assert not held.exists()


def test_paths_are_held_until_many_others_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "_HELD_PATHS", 1)
    cache = DiskCache(tmp_path, 1000)
    for name in DATA:
        if name != "a.tfrecord":
            with pytest.raises(CacheFullError):
                cache.path(address(name), sha256(name), 1000)
            cache.release()
        assert cache.path(address(name), sha256(name), 1000).read_bytes() == DATA[name]
    cache.release()
    large = DiskCache(tmp_path, 2000)
    for name in DATA:
        large.path(address(name), sha256(name), 1000)


def _ask(folder: Path, barrier: Any, downloads: Any) -> None:
    barrier.wait()
    cache = DiskCache(folder)
    for name in DATA:
        with cache.open(address(name), sha256(name), 1000) as stream:
            assert stream.read() == DATA[name]
    with downloads.get_lock():
        downloads.value += cache.downloads


def test_processes_that_ask_at_once_download_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = remote.read_bytes

    def slow(*args: Any) -> bytes:
        time.sleep(0.02)
        return read(*args)

    monkeypatch.setattr(remote, "read_bytes", slow)
    barrier, downloads = FORK.Barrier(4), FORK.Value("i", 0)
    children = [FORK.Process(target=_ask, args=(tmp_path, barrier, downloads)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert downloads.value == len(DATA)
    assert copies(tmp_path) == sorted(DATA)


def test_who_waits_for_a_download_gets_the_copy_while_another_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = remote.read_bytes

    def slow(*args: Any) -> bytes:
        time.sleep(0.1)
        return read(*args)

    monkeypatch.setattr(remote, "read_bytes", slow)
    cache = DiskCache(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(cache.open, address("a.tfrecord"), sha256("a.tfrecord"), 1000) for _ in range(3)]
        streams = [each.result(timeout=10) for each in asked]
    assert [stream.read() for stream in streams] == [DATA["a.tfrecord"]] * 3
    assert (cache.downloads, copies(tmp_path)) == (1, ["a.tfrecord"])
    for stream in streams:
        stream.close()


def test_threads_of_one_cache_download_once_and_keep_the_bound(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 3000)

    def ask(index: int) -> bool:
        name = sorted(DATA)[index % len(DATA)]
        for _ in range(200):
            try:
                with cache.open(address(name), sha256(name), 1000) as stream:
                    # Nothing comes or goes under the lock.
                    with locked(tmp_path / ".lock"):
                        assert sum(size for _, size, _ in cache._files()) <= 3000
                    return stream.read() == DATA[name]
            except (CacheFullError, FileNotFoundError):
                time.sleep(0.005)
        return False

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(60)))


def _stop_in_download(folder: Path) -> None:
    pytest.MonkeyPatch().setattr(remote, "read_bytes", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    DiskCache(folder).path(address("a.tfrecord"), sha256("a.tfrecord"), 1000)


def test_what_a_killed_process_left_is_removed_with_the_next_download(tmp_path: Path) -> None:
    child = FORK.Process(target=_stop_in_download, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert copies(tmp_path) == [next(path.name for path in tmp_path.glob(".partial.*")).split(".", 1)[1]]
    cache = DiskCache(tmp_path)
    cache.path(address("b.tfrecord"), sha256("b.tfrecord"), 1000)
    assert copies(tmp_path) == ["b.tfrecord"]
    assert cache.path(address("a.tfrecord"), sha256("a.tfrecord"), 1000).read_bytes() == DATA["a.tfrecord"]


@pytest.mark.parametrize(
    ("digest", "size", "message"),
    [
        ("0" * 64, 1000, r"a.tfrecord must have the SHA-256 0{64}. Received: [0-9a-f]{64}"),
        ("0" * 64, 2000, "a.tfrecord must have 2000 bytes. Received: 1000 bytes"),
        (None, 999, "a.tfrecord must have 999 bytes. Received: 1000"),
    ],
)
def test_another_file_than_the_stated_one_is_refused(
    tmp_path: Path, digest: str | None, size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        DiskCache(tmp_path).path(address("a.tfrecord"), digest, size)
    assert copies(tmp_path) == []


def test_a_missing_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DiskCache(tmp_path).path(address("none"), "0" * 64, 5)
    assert copies(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    rule = (
        r"The disk of the cache .* must have room for memory://cached/a.tfrecord, 1000 bytes. Received: No space left"
    )
    with pytest.raises(UserError, match=rule):
        DiskCache(tmp_path).path(address("a.tfrecord"), sha256("a.tfrecord"), 1000)
    assert copies(tmp_path) == []


def test_a_file_system_without_locks_has_complete_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    cache = DiskCache(tmp_path, 1500)
    assert cache.path(address("a.tfrecord")).read_bytes() == DATA["a.tfrecord"]
    assert cache.path(address("b.tfrecord")).read_bytes() == DATA["b.tfrecord"]
    assert copies(tmp_path) == ["b.tfrecord"]


def test_without_locks_two_downloads_of_a_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    name, read = "a.tfrecord", remote.read_bytes
    nested: list[bool] = []

    def read_while_another_does(*arguments: Any) -> bytes:
        if not nested:
            nested.append(True)
            with DiskCache(tmp_path).open(address(name), sha256(name), 1000) as other:
                assert other.read() == DATA[name]
        return read(*arguments)

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(remote, "read_bytes", read_while_another_does)
    with DiskCache(tmp_path).open(address(name), sha256(name), 1000) as stream:
        assert stream.read() == DATA[name]
    assert copies(tmp_path) == [name]
    # Only what is old is of a killed process.
    (left := tmp_path / f".partial.{'0' * 32}.b.{'1' * 32}").touch()
    with DiskCache(tmp_path).open(address("b.tfrecord"), sha256("b.tfrecord"), 1000):
        assert left.exists()
    os.utime(left, (0, 0))
    with DiskCache(tmp_path).open(address("c.tfrecord"), sha256("c.tfrecord"), 1000):
        assert not left.exists()


def test_the_cache_of_another_user_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DiskCache(tmp_path).open(address("a.tfrecord"), sha256("a.tfrecord"), 1000).close()
    # Whoever is root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != ".lock")
    with pytest.raises(UserError, match=rf"^A cache must be this user's, .*: give another folder\. .*{tmp_path}$"):
        DiskCache(tmp_path)


def test_a_pickled_cache_has_the_same_folder_and_no_files(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1500)
    cache.path(address("a.tfrecord"))
    other = pickle.loads(pickle.dumps(cache))
    assert (other.folder, other.max_bytes, other.downloads) == (tmp_path, 1500, 0)
    assert other.path(address("a.tfrecord")).read_bytes() == DATA["a.tfrecord"]
    assert other.hits == 1


def test_a_cache_is_a_local_folder_with_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong: list[tuple[Path | str, str]] = [
        (tmp_path / "file", "A cache must be a folder"),
        (tmp_path / "file" / "below", "A cache must be a folder"),
        ("s3://bucket/cache", "The path must be local"),
        ("s3:/bucket/cache", "An address needs ://"),
    ]
    for folder, message in wrong:
        with pytest.raises(UserError, match=message):
            DiskCache(folder)
    with pytest.raises(UserError, match="at least 1 byte"):
        DiskCache(tmp_path, 0)
