"""Stores that do not answer: a name that does not resolve is an error soon, another silence is one line."""

import socket
import sys
import threading
import time
from typing import Any

import fsspec
import pytest

from tests.failing_proxy import Proxy, Stall
from tests.stores import Bucket, use_store
from tfrecords.errors import UserError
from tfrecords.files import waiting
from tfrecords.files.google_store import EMULATOR
from tfrecords.files.place import Place
from tfrecords.files.waiting import answered, awaiting, has_answered

UNREACHED = " cannot be reached: is there a network, and is the name of the host right? Received: "


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bucket has answered, no proxy and no endpoint is set, and patience is short."""
    monkeypatch.setattr(waiting, "_answered", set())
    monkeypatch.setattr(waiting, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(waiting, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(fsspec.config, "conf", {})
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", EMULATOR, "GOOGLE_CLOUD_UNIVERSE_DOMAIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were to be resolved; none is known."""
    names: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    return names


@pytest.mark.parametrize(
    ("address", "variables", "host"),
    [
        ("gs://bucket/x", {}, "storage.googleapis.com"),
        ("gcs://bucket/x", {"GOOGLE_CLOUD_UNIVERSE_DOMAIN": "example.com"}, "storage.example.com"),
        ("gs://bucket/x", {EMULATOR: "store:4443"}, "store"),
        ("s3://bucket/x", {"AWS_ENDPOINT_URL": "http://minio:9000"}, "minio"),
        ("s3a://bucket/x", {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": "https://minio"}, "minio"),
    ],
)
def test_a_name_that_does_not_resolve_is_an_error_after_three_attempts(
    address: str, variables: dict[str, str], host: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        Place(address).read_bytes()
    bucket = address.removesuffix("/x")
    assert str(caught.value) == f"{bucket}{UNREACHED}{host}: Name or service not known"
    assert asked == [host] * 3


@pytest.mark.parametrize(
    ("address", "variables"),
    [
        ("s3://bucket/x", {}),  # botocore alone can say the host: files of AWS may name it
        ("s3://bucket/x", {"AWS_ENDPOINT_URL": "http://h:port"}),
        ("gs://bucket/x", {"https_proxy": "http://proxy:3128"}),
        ("memory://bucket/x", {}),
        ("https://host/x", {}),
    ],
)
def test_no_name_is_resolved_that_somebody_else_resolves(
    address: str, variables: dict[str, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with awaiting(address):
        pass
    assert asked == []


def test_a_package_that_is_missing_is_named_before_the_network(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    with pytest.raises(UserError, match=r"^gs:// needs gcsfs: pip install 'streetdigits\[gcs\]'\. Received: "):
        Place("gs://bucket/x").read_bytes()
    assert asked == []


def test_fsspecs_configuration_names_the_host(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://configured:9000"})
    with pytest.raises(UserError, match="Received: configured: "), awaiting("s3://bucket/x"):
        pass
    assert set(asked) == {"configured"}


def test_a_store_that_is_slow_at_first_is_said_to_be_once(
    proxy: Proxy, s3_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = Bucket(s3_endpoint)
    bucket.put("x", b"content")
    line = f"{bucket.address} does not answer yet; trying again\n"
    proxy.fail(Stall(0.4), times=2)
    for _ in range(2):
        assert Place(f"{bucket.address}/x").read_bytes() == b"content"
    assert capsys.readouterr().err == line
    assert not proxy.pending


def test_a_store_that_answers_is_not_mentioned(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put("x", b"content")
    monkeypatch.setattr(waiting, "_PATIENCE_S", 60)
    assert not has_answered(bucket.address)
    assert Place(f"{bucket.address}/x").read_bytes() == b"content"
    assert has_answered(f"{bucket.address}/y")
    monkeypatch.setattr(waiting, "_PATIENCE_S", 0.01)
    with awaiting(f"{bucket.address}/y"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_missing_file_is_an_answer(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        Place(f"{bucket.address}/none").read_bytes()
    assert has_answered(bucket.address)


def test_the_line_says_why_a_connection_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_store("http://127.0.0.1:9", monkeypatch)
    with awaiting("s3://bucket/x"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "s3://bucket does not answer yet: Connection refused; trying again\n"


def test_an_answer_while_the_reason_is_looked_for_leaves_the_line_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looking = threading.Event()

    def fault(_: str) -> None:
        answered("s3://bucket")
        looking.set()

    monkeypatch.setattr(waiting, "_fault", fault)
    with awaiting("s3://bucket/x"):
        assert looking.wait(10)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
