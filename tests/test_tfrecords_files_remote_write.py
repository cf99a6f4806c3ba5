"""Writing to stores that fail: what passes is tried again, other errors are one line, nothing is written by halves."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.failing_proxy import Proxy, Reset, Stall, Status
from tests.loopback import serving
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files import remote, remote_write
from tfrecords.files.place import Place

MIB = 1 << 20
LARGE = [bytes([number]) * MIB for number in range(12)]


@pytest.fixture
def bucket(s3_endpoint: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket that boto3 reaches directly and s3fs through the proxy, with large files from 6 MiB on."""
    monkeypatch.setattr(remote_write, "_LARGE_BYTES", 6 * MIB)
    monkeypatch.setattr(remote_write, "_PART_BYTES", 5 * MIB)
    return Bucket(s3_endpoint)


@pytest.fixture
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits half a second for an answer where the failure is that none comes: a busy machine may take longer."""
    if isinstance(request.getfixturevalue("failure"), Stall):
        monkeypatch.setattr(pytest.importorskip("s3fs").S3FileSystem, "read_timeout", 0.5)


def uploads(bucket: Bucket) -> list[Any]:
    found: list[Any] = bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    return found


def content(bucket: Bucket, key: str) -> bytes:
    body: bytes = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    return body


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "failure",
    [Status(503), Status(500), Reset(), Reset(passed_on=True), Stall(1.0)],
    ids=["slow down", "internal error", "reset", "reset after it was written", "no answer in time"],
)
def test_a_failure_that_passes_is_tried_again(bucket: Bucket, proxy: Proxy, failure: Any) -> None:
    proxy.fail(failure, method="PUT", times=2)
    (Place(bucket.address) / "a b/small").write([b"con", b"tent"])
    assert content(bucket, "a b/small") == b"content"
    assert not proxy.pending and proxy.count("PUT") == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("failure", "method", "which"),
    [
        (Status(503), "POST", "uploads"),
        (Reset(), "PUT", "partNumber=2"),
        (Status(503), "PUT", "partNumber=1"),
        (Stall(1.0), "PUT", "partNumber=2"),
        (Status(200, "InternalError"), "POST", "uploadId"),
    ],
    ids=["beginning", "reset in the middle", "slow down in the middle", "stall", "an error in a 200 at the end"],
)
def test_a_large_file_survives_failures_of_its_parts(
    bucket: Bucket, proxy: Proxy, failure: Any, method: str, which: str
) -> None:
    proxy.fail(failure, method=method, contains=which, times=2)
    (Place(bucket.address) / "large").write(iter(LARGE))
    assert not proxy.pending
    assert content(bucket, "large") == b"".join(LARGE)
    assert uploads(bucket) == []


def test_requests_of_a_small_and_of_a_large_file(bucket: Bucket, proxy: Proxy) -> None:
    place = Place(bucket.address) / "file"
    place.write([b""])
    assert (content(bucket, "file"), proxy.count()) == (b"", 1)
    place.write(LARGE[:6])
    assert (len(content(bucket, "file")), proxy.count()) == (6 * MIB, 2)
    place.write(LARGE)
    # Beginning, three parts and completion.
    assert proxy.count() == 2 + 5


def test_an_upload_that_fails_for_good_is_one_line_and_leaves_nothing(bucket: Bucket, proxy: Proxy) -> None:
    place = Place(bucket.address) / "large"
    proxy.fail(Status(403), method="PUT", contains="partNumber=2", times=-1)
    with pytest.raises(UserError) as caught:
        place.write(LARGE)
    assert str(caught.value).startswith(f"{place} may not be written: the key needs the right to s3:PutObject")
    assert "\n" not in str(caught.value)

    def broken() -> Iterator[bytes]:
        yield from LARGE
        raise RuntimeError("a bug")

    proxy.heal()
    with pytest.raises(RuntimeError, match="a bug"):
        place.write(broken())
    assert uploads(bucket) == [] and not place.exists()


def test_a_missing_bucket_is_named(proxy: Proxy) -> None:
    with pytest.raises(UserError, match=r"^s3://no-such-bucket: there is no such bucket"):
        Place("s3://no-such-bucket/file").write([b"content"])


def test_parts_of_killed_uploads_below_a_folder_are_deleted(bucket: Bucket) -> None:
    for key in ("records/a", "records-2/b"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert (Place(bucket.address) / "records").abort_uploads() == 1
    assert [upload["Key"] for upload in uploads(bucket)] == ["records-2/b"]
    assert Place("memory://records").abort_uploads() == 0


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_one_of_several_writers_creates_a_file(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "s3":
        place = Place(request.getfixturevalue("bucket").address) / "claim"
    else:
        place = Place(tmp_path / "new" / "claim") if kind == "local" else Place("memory://claims/claim")
    won: list[int] = []

    def create(number: int) -> None:
        if place.create(str(number).encode()):
            won.append(number)

    # fsspec's memory has no lock, and so one writer after the other.
    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
        if kind == "memory":
            thread.join()
    for thread in threads:
        thread.join()
    assert place.read_bytes() == str(*won).encode()
    place.delete()


def test_a_store_without_conditions_creates_a_file_all_the_same(bucket: Bucket, proxy: Proxy) -> None:
    place = Place(bucket.address) / "claim"
    for number, is_first in ((b"1", True), (b"2", False)):
        proxy.fail(Status(501, "NotImplemented"), method="PUT")
        assert place.create(number) == is_first
    assert place.read_bytes() == b"1" and not proxy.pending


def test_a_server_that_names_no_condition_refuses_a_second_creation_all_the_same(bucket: Bucket, proxy: Proxy) -> None:
    place = Place(bucket.address) / "claim"
    bucket.put("claim", b"1")
    for failure in (Status(412), Status(409, "ConditionalRequestConflict")):
        proxy.fail(failure, method="PUT")
        assert not place.create(b"2")
    assert place.read_bytes() == b"1" and not proxy.pending


def test_a_file_is_replaced_only_while_it_is_the_one_expected(bucket: Bucket, proxy: Proxy) -> None:
    place = Place(bucket.address) / "claim"
    assert not place.replace(b"1", b"2")
    bucket.put("claim", b"1")
    assert not place.replace(b"other", b"2") and place.replace(b"1", b"2")
    # Another writer comes between the look and the writing, for which the store has a condition.
    proxy.fail(Stall(0.3), method="PUT")
    writer = threading.Timer(0.1, bucket.put, ("claim", b"another's"))
    writer.start()
    assert not place.replace(b"2", b"3")
    writer.join()
    assert content(bucket, "claim") == b"another's"
    proxy.fail(Status(501, "NotImplemented"), method="PUT")
    assert place.replace(b"another's", b"3") and content(bucket, "claim") == b"3"


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_every_place_replaces_what_is_expected(scheme: str, tmp_path: Path) -> None:
    place = Place(tmp_path if scheme == "local" else "memory://replaced") / "claim"
    assert not place.replace(b"1", b"2")
    place.write([b"1"])
    assert not place.replace(b"other", b"2") and place.replace(b"1", b"2")
    assert place.read_bytes() == b"2"
    place.delete()


def test_a_refusal_to_delete_is_an_error_although_the_answer_is_200(bucket: Bucket) -> None:
    place = Place(bucket.address) / "records"
    bucket.put("records/manifest.json")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{bucket.name}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)
    for work in (lambda: place.delete_names(["manifest.json"]), place.delete_folder):
        with pytest.raises(UserError, match=r"^s3://\S+ may not be deleted: it needs AWS_.*Access Denied"):
            work()
    assert place.names() == ["manifest.json"]


def test_more_files_are_deleted_than_a_request_takes(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_write, "_BULK_FILES", 2)
    place = Place(bucket.address) / "a%20b #1"
    for number in range(5):
        bucket.put(f"a%20b #1/{number}")
    place.delete_folder()
    assert not place.exists() and proxy.count("POST") == 3


def test_only_uploads_directly_to_a_folder_are_aborted(bucket: Bucket) -> None:
    for key in ("shard", "records/shard", "records/deeper/shard", "records2/shard"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert (Place(bucket.address) / "records").abort_uploads() == 1
    assert Place(bucket.address).abort_uploads() == 1
    assert {each["Key"] for each in uploads(bucket)} == {"records/deeper/shard", "records2/shard"}


@pytest.mark.parametrize("folder", ["plain", "with [1]*"])
def test_files_are_deleted_in_few_requests_and_folders_with_all_below(
    bucket: Bucket, proxy: Proxy, folder: str
) -> None:
    place = Place(bucket.address) / folder
    for name in ("a", "b", "c/d", "e"):
        bucket.put(f"{folder}/{name}")
    bucket.put(f"{folder}-2/kept")
    place.delete_names(["a", "b", "none"])
    assert proxy.count() == 1
    assert list(place.walk()) == ["c/d", "e"]
    place.delete_folder()
    place.delete_folder()
    assert [each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]] == [
        f"{folder}-2/kept"
    ]


def test_a_place_that_shows_unfinished_files_gets_them_by_a_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_write, "_ATOMIC", frozenset())
    folder = Place("memory://cluster/records")
    seen: list[list[str]] = []

    def chunks() -> Iterator[bytes]:
        yield b"con"
        seen.append(folder.names())
        yield b"tent"

    (folder / "shard").write(chunks())
    assert (folder / "shard").read_bytes() == b"content" and folder.names() == ["shard"]
    assert "shard" not in seen[0]

    def broken() -> Iterator[bytes]:
        yield b"con"
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        (folder / "shard").write(broken())
    assert (folder / "shard").read_bytes() == b"content" and folder.names() == ["shard"]
    fsspec.filesystem("memory").rm("/cluster", recursive=True)


def test_the_web_takes_no_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({}, monkeypatch) as server:
        place = Place(f"{server.url}/records")
        for work in (lambda: place.write([b""]), place.delete, place.delete_folder, lambda: place.create(b"")):
            with pytest.raises(UserError, match=r"^An output must be local or in a store"):
                work()
        assert not server.asked


def test_a_listing_states_sizes_and_times(bucket: Bucket) -> None:
    bucket.put("records/a", b"four")
    bucket.put("records/deeper/b", b"four")
    ((name, (size, changed)),) = remote.stated(f"{bucket.address}/records").items()
    assert (name, size) == ("a", 4) and changed is not None
    assert remote.stated(f"{bucket.address}/none") == {}
