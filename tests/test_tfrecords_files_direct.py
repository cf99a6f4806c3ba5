"""Ranges that botocore receives: the same bytes as s3fs's, which reads whatever does not come at the first attempt."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest
from fsspec.config import conf

from tests.failing_proxy import Cut, Failure, Proxy, Reset, Status
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files import direct, remote

DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets as at the start of a process."""
    monkeypatch.setattr(direct, "_paused", {})


@pytest.fixture
def by_s3fs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Addresses whose ranges s3fs reads."""
    import s3fs

    found: list[str] = []
    cat_file = s3fs.S3FileSystem.cat_file

    def listed(self: Any, path: str, **options: Any) -> Any:
        found.append(path)
        return cat_file(self, path, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "cat_file", listed)
    yield found


@pytest.mark.parametrize("key", ["file", "a b/ü#?%20+&=.bin"])
def test_a_range_comes_without_s3fs(key: str, bucket: Bucket, by_s3fs: list[str]) -> None:
    bucket.put(key, DATA)
    for scheme in ("s3", "s3a"):
        assert remote.read_bytes(f"{scheme}://{bucket.name}/{key}", 5, 300) == DATA[5:300]
    assert remote.read_bytes(f"{bucket.address}/{key}", 10_000, 20_000) == DATA[10_000:]
    assert by_s3fs == []


@pytest.mark.parametrize("failure", [Status(503), Status(403), Reset(), Cut(100)])
def test_s3fs_reads_a_bucket_for_a_while_after_a_failure(
    failure: Failure, bucket: Bucket, proxy: Proxy, by_s3fs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("file", DATA)
    address = f"{bucket.address}/file"
    proxy.fail(failure, method="GET", contains="file")
    assert remote.read_bytes(address, 5, 3000) == DATA[5:3000]
    assert not proxy.pending and len(by_s3fs) == 1
    assert remote.read_bytes(address, 5, 300) == DATA[5:300]
    assert len(by_s3fs) == 2
    monkeypatch.setattr(direct, "_paused", {bucket.name: 0.0})
    assert remote.read_bytes(address, 5, 300) == DATA[5:300]
    assert len(by_s3fs) == 2


def test_errors_are_those_of_s3fs(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        remote.read_bytes(f"{bucket.address}/missing", 0, 10)
    with pytest.raises(UserError, match=r"^s3://no-such-bucket: there is no such bucket, or no right to see it\."):
        remote.read_bytes("s3://no-such-bucket/file", 0, 10)
    # A missing file says nothing of its neighbours.
    assert direct._paused == {}


def test_settings_of_fsspec_are_left_to_s3fs(
    bucket: Bucket, by_s3fs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("file", DATA)
    monkeypatch.setitem(conf, "s3", {"anon": False})
    assert remote.read_bytes(f"{bucket.address}/file", 5, 300) == DATA[5:300]
    assert len(by_s3fs) == 1


def test_another_store_has_another_client(bucket: Bucket, proxy: Proxy, by_s3fs: list[str]) -> None:
    # The proxy's fixture has changed the environment; the process's client may be of the server behind it.
    bucket.put("file", DATA)
    assert remote.read_bytes(f"{bucket.address}/file", 0, 10) == DATA[:10]
    assert proxy.count("GET", "file") == 1 and by_s3fs == []


def _read(address: str, found: Any) -> None:
    found.put((remote.read_bytes(address, 7, 5000), direct._clients[0][1] is not None, dict(direct._paused)))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_forked_process_connects_by_itself(bucket: Bucket) -> None:
    bucket.put("file", DATA)
    address = f"{bucket.address}/file"
    assert remote.read_bytes(address, 5, 300) == DATA[5:300]
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    # Another thread may hold the lock at the fork.
    with direct._lock:
        children = [context.Process(target=_read, args=(address, found)) for _ in range(3)]
        for child in children:
            child.start()
    for _ in children:
        assert found.get(timeout=20) == (DATA[7:5000], True, {})
    for child in children:
        child.join()
    assert remote.read_bytes(address, 5, 300) == DATA[5:300]
