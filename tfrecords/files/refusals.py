"""What to set where a store refuses a request: by the code of S3's answer, or by what gcsfs says of Google's.

S3's codes are in https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. The answer to a HEAD has none;
s3fs 2026.9 follows most of those with a request whose answer has one.
"""

import ssl
import sys
from collections.abc import Iterator
from typing import Any

from tfrecords.files.google_store import SCHEMES as GOOGLE

AMAZON = frozenset(("s3", "s3a"))
_KEY = "AWS_ACCESS_KEY_ID, or the profile of AWS_PROFILE, must be a key of this store"
_REGION = "AWS_DEFAULT_REGION must be the region of the bucket"
_CLOCK = "the clock of this machine must be right: the store's differs by too much"
_SESSION = "AWS_SESSION_TOKEN must belong to the key, and must not have expired: log in again"
_ADVICE = {
    "InvalidAccessKeyId": _KEY,
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY must be that of AWS_ACCESS_KEY_ID",
    "ExpiredToken": _SESSION,
    "ExpiredTokenException": _SESSION,
    "InvalidToken": _SESSION,
    "TokenRefreshRequired": _SESSION,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "Redirect": _REGION,
    "301": _REGION,
    "307": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
}
_DENIED = frozenset(("AccessDenied", "AllAccessDisabled", "403"))
_VALID = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE, must be valid"
_RIGHTS = {
    "read": "s3:GetObject and s3:ListBucket",
    "written": "s3:PutObject, s3:GetObject and s3:ListBucket",
    "deleted": "s3:DeleteObject and s3:ListBucket",
}
_VALUE = "AWS_ENDPOINT_URL must begin with http:// or https:// and name a host"
_PLAIN = "AWS_ENDPOINT_URL must begin with http://, since the server does not speak TLS"
_AUTHORITY = "AWS_CA_BUNDLE must name the certificate of the authority that has signed the server's"
_ROLES = {"read": "roles/storage.objectViewer", "written": "roles/storage.objectUser"}


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that it was raised from or while handling."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__


def code(error: BaseException) -> str | None:
    """Returns the code of S3's answer that an error was made of; None for another error."""
    answer = _answer(error)
    found = answer.get("Error", {}).get("Code") if answer else None
    return str(found) if found else None


def advice(error: BaseException, scheme: str, done: str) -> str | None:
    """Returns what must be right, if the error says which of all the settings is not; None if it does not.

    Args:
      error: What the file system raised.
      scheme: Scheme of the address: s3, gs.
      done: What was to be done to the address: read, written, deleted.
    """
    if scheme in GOOGLE:
        return _of_google(error, done)
    return _of_amazon(error, done) if scheme in AMAZON else None


def _of_amazon(error: BaseException, done: str) -> str | None:
    given = code(error)
    if given in _DENIED:
        right = f"the key needs the right to {_RIGHTS.get(done, done)}"
        # A 403 without a code may be any of them.
        return f"{_VALID}, and {right}" if given == "403" else right
    if given in _ADVICE:
        region = _region(error) if _ADVICE[given] is _REGION else None
        return f"{_ADVICE[given]}, {region}" if region else _ADVICE[given]
    if any(isinstance(each, ValueError) and str(each).startswith("Invalid endpoint") for each in chain(error)):
        return _VALUE
    botocore = sys.modules.get("botocore.exceptions")
    if botocore and any(isinstance(each, botocore.SSLError | ssl.SSLError) for each in chain(error)):
        return _PLAIN if "WRONG_VERSION_NUMBER" in str(error) else _AUTHORITY
    return None


def _of_google(error: BaseException, done: str) -> str | None:
    # gcsfs's errors are an OSError for a 403 and a HttpError with the code for a 401.
    if isinstance(error, OSError) and str(error).startswith("Forbidden: "):
        return f"the account needs {_ROLES.get(done, _ROLES['written'])} on the bucket"
    return None


def _answer(error: BaseException) -> dict[str, Any] | None:
    """Returns the answer that botocore's ClientError has."""
    answers = (getattr(each, "response", None) for each in chain(error))
    return next((answer for answer in answers if isinstance(answer, dict)), None)


def _region(error: BaseException) -> str | None:
    """Returns the region that an answer names."""
    answer = _answer(error) or {}
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return str(region) if region else None
