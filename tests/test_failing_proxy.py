"""The proxy that other tests fail through: what it passes on, and each way to fail, as a client sees it."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.failing_proxy import Cut, Proxy, Reset, Stall, Status
from tests.stores import Bucket


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Any]:
    """A client that neither retries nor waits long."""
    made = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}, read_timeout=0.5))
    yield made
    made.close()


def test_what_does_not_fail_is_passed_on_and_counted(proxy: Proxy, s3_endpoint: str, client: Any) -> None:
    bucket = Bucket(s3_endpoint)
    name = bucket.name
    client.put_object(Bucket=name, Key="a b/\u2116", Body=b"content")
    assert client.get_object(Bucket=name, Key="a b/\u2116", Range="bytes=1-3")["Body"].read() == b"ont"
    assert client.head_object(Bucket=name, Key="a b/\u2116")["ContentLength"] == 7
    assert [(each.method, each.status) for each in proxy.requests] == [("PUT", 200), ("GET", 206), ("HEAD", 200)]
    assert proxy.count("PUT") == proxy.count(contains="a%20b") - 2 == 1 and proxy.count() == 3
    assert proxy.requests[1].headers["range"] == "bytes=1-3"


def test_each_failure_is_what_its_name_says(proxy: Proxy, s3_endpoint: str, client: Any) -> None:
    bucket = Bucket(s3_endpoint)
    name = bucket.name
    proxy.fail(Status(503), method="PUT", skip=1, times=2)
    client.put_object(Bucket=name, Key="a", Body=b"content")
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            client.put_object(Bucket=name, Key="b", Body=b"content")
    assert not proxy.pending
    proxy.fail(Reset(), contains="/c")
    proxy.fail(Reset(passed_on=True), contains="/d")
    for key in "cd":
        with pytest.raises(Exception, match=r"Connection"):
            client.put_object(Bucket=name, Key=key, Body=b"content")
    found = client.list_objects_v2(Bucket=name)["Contents"]
    assert [each["Key"] for each in found] == ["a", "d"]
    proxy.fail(Cut(3), method="GET")
    with pytest.raises(Exception, match=r"IncompleteRead|broken|read 3"):
        client.get_object(Bucket=name, Key="a")["Body"].read()
    proxy.fail(Stall(30.0))
    with pytest.raises(Exception, match="timeout"):
        client.get_object(Bucket=name, Key="a")
    proxy.fail(Status(404), times=-1)
    assert proxy.pending == []  # without an end, it is not waited for
    proxy.heal()
    assert client.get_object(Bucket=name, Key="a")["Body"].read() == b"content"
