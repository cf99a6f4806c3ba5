"""Stores that refuse: each error is one line that says which setting to look at."""

import ssl
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from tests.failing_proxy import Proxy, Status
from tests.stores import Bucket, use_store
from tfrecords.errors import UserError
from tfrecords.files import refusals, remote_errors
from tfrecords.files.place import Place

REGION = "AWS_DEFAULT_REGION must be the region of the bucket"
SESSION = "AWS_SESSION_TOKEN must belong to the key, and must not have expired: log in again"


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID, or the profile of AWS_PROFILE, must be a key of this store"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY must be that of AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "the key needs the right to s3:GetObject and s3:ListBucket"),
        (400, "ExpiredToken", SESSION),
        (400, "InvalidToken", SESSION),
        (403, "RequestTimeTooSkewed", "the clock of this machine must be right: the store's differs by too much"),
        (400, "AuthorizationHeaderMalformed", REGION),
    ],
)
def test_a_refusal_of_s3_says_what_to_set(proxy: Proxy, s3_endpoint: str, status: int, code: str, advice: str) -> None:
    address = f"{Bucket(s3_endpoint).address}/x"
    proxy.fail(Status(status, code), times=-1)
    with pytest.raises(UserError) as caught:
        Place(address).read_bytes()
    assert str(caught.value).startswith(f"{address} ") and "\n" not in str(caught.value)
    assert str(caught.value).endswith(f" be read: {advice}. Received: {code}: of the proxy")
    assert proxy.count() == 1  # another attempt would be refused as well


def refused(code: str, **answer: Any) -> OSError:
    """Returns what s3fs makes of an answer."""
    error: OSError = translate_boto_error(
        ClientError({"Error": {"Code": code, "Message": "no"}, **answer}, "GetObject")
    )
    return error


@pytest.mark.parametrize("code", ["PermanentRedirect", "301"])
def test_the_region_that_an_answer_names_is_named(code: str) -> None:
    headers = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}
    error = remote_errors.explain(refused(code, **headers), "s3://bucket/x")
    assert str(error) == f"s3://bucket/x cannot be read: {REGION}, eu-west-1. Received: {code}: no"
    assert refusals.advice(refused(code), "s3", "read") == REGION


def test_a_right_that_is_missing_is_that_of_what_was_done() -> None:
    for done, right in (("read", "s3:GetObject"), ("written", "s3:PutObject"), ("deleted", "s3:DeleteObject")):
        advice = refusals.advice(refused("AccessDenied"), "s3", done)
        assert advice is not None and advice.startswith(f"the key needs the right to {right}")


def test_a_403_without_a_code_may_be_the_key_or_its_rights() -> None:
    advice = refusals.advice(refused("403"), "s3", "read")
    assert advice is not None and advice.startswith("AWS_ACCESS_KEY_ID, ")
    assert advice.endswith(" must be valid, and the key needs the right to s3:GetObject and s3:ListBucket")


def test_an_answer_that_is_not_known_leaves_the_general_advice() -> None:
    assert refusals.advice(refused("QuotaExceeded"), "s3", "read") is None
    assert refusals.advice(refused("AccessDenied"), "https", "read") is None
    error = str(remote_errors.explain(refused("QuotaExceeded"), "s3://bucket/x"))
    assert error.startswith("s3://bucket/x cannot be read: it needs AWS_ACCESS_KEY_ID and ")
    assert error.endswith(" Received: An error occurred (QuotaExceeded) when calling the GetObject operation: no")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "minio"])
def test_an_endpoint_that_is_no_url_is_named(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_store(endpoint, monkeypatch)
    with pytest.raises(UserError) as caught:
        Place("s3://bucket/x").read_bytes()
    rule = "s3://bucket/x cannot be read: AWS_ENDPOINT_URL must begin with http:// or https:// and name a host."
    assert str(caught.value) == f"{rule} Received: Invalid endpoint: {endpoint}"


def test_tls_where_the_server_has_none_and_a_certificate_that_nobody_knows() -> None:
    from botocore.exceptions import SSLError

    def advice(text: str) -> str | None:
        error = SSLError(endpoint_url="https://h", error=text)
        return refusals.advice(error, "s3", "read")

    assert advice("[SSL: WRONG_VERSION_NUMBER] wrong version number") == (
        "AWS_ENDPOINT_URL must begin with http://, since the server does not speak TLS"
    )
    unknown = "AWS_CA_BUNDLE must name the certificate of the authority that has signed the server's"
    assert advice("certificate verify failed: self-signed certificate") == unknown
    assert refusals.advice(ssl.SSLError("certificate verify failed"), "s3a", "read") == unknown


def test_an_error_without_botocore_has_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "botocore.exceptions")
    assert refusals.advice(TimeoutError(), "s3", "read") is None
