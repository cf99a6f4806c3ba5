"""What went wrong at an address: which errors pass by themselves, and which one a user or a dead letter gets.

Each file system of fsspec raises errors of its own libraries: botocore's, aiohttp's, google-auth's. Here they become
two: an `OSError` where the address alone is at fault, as a missing object, and a `UserError` where every other one of
its place would fail as well, as a wrong bucket. `prepare` makes dead letters of the first and ends with the second.
"""

import asyncio
import errno
import http
import os
import socket
import sys
import urllib.parse

from tfrecords.errors import UserError
from tfrecords.files import refusals
from tfrecords.files.google_store import SCHEMES as GOOGLE
from tfrecords.typed_json import shorten

WEB = frozenset(("http", "https"))
"""Schemes whose addresses are single files, each perhaps of another host."""
_RETRYING = frozenset(("s3", "s3a", "gs", "gcs"))
"""Schemes whose file systems retry by themselves: s3fs and botocore five times each, gcsfs six times. More attempts
would multiply theirs."""
_PASSING_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers that another attempt may change (RFC 9110, section 15; RFC 6585; RFC 8470)."""
_MISSING_STATUS = frozenset((404, 410))
_OF_THE_OBJECT = frozenset((errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EFBIG))
"""Errors that concern one file and not its neighbours."""
_OF_THE_MACHINE = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENETDOWN, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
)
"""Errors of a connection that every other host would have too."""
_OF_A_MOMENT = frozenset((408, 425, 429, 503))
"""Answers of a server that has too much to do, for any of its files: the job is to go on later."""
_AMAZON = (
    "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (or FSSPEC_S3_ANON=true for a public "
    "bucket), and AWS_ENDPOINT_URL for a store that is not Amazon's"
)
_GOOGLE = "it needs GOOGLE_APPLICATION_CREDENTIALS, or the login of gcloud auth application-default login"
_HADOOP = "it needs JAVA_HOME, HADOOP_HOME and CLASSPATH, as Arrow's libhdfs reads them"
_NEEDS = {"s3": _AMAZON, "s3a": _AMAZON, "gs": _GOOGLE, "gcs": _GOOGLE, "hdfs": _HADOOP}


class ShortReadError(OSError):
    """Fewer bytes arrived than the file has."""

    def __init__(self, address: str, received: int, size: int) -> None:
        """Takes the numbers of bytes that arrived and that the file has."""
        super().__init__(errno.EIO, f"{received} of {size} bytes arrived", address)


def scheme_of(address: str) -> str:
    """Returns the scheme of an address: s3, https."""
    return address.partition("://")[0]


def bucket_of(address: str) -> str:
    """Returns the address of the bucket or host that holds an address: `s3://bucket`."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def may_pass(error: Exception, address: str) -> bool:
    """Returns whether another attempt at an address may succeed where this one failed, and nobody has made it."""
    if isinstance(error, ShortReadError):
        return True
    if scheme_of(address) in _RETRYING:
        return False
    if (status := _status(error)) is not None:
        return status in _PASSING_STATUS
    # Up to Python 3.10 asyncio's is another class. Most of aiohttp's are no OSError.
    return isinstance(error, TimeoutError | asyncio.TimeoutError | ConnectionError) or _is_of_connection(error)


def explain(error: Exception, address: str, done: str = "read") -> OSError | UserError:
    """Returns the error to raise for one that a file system raised at an address.

    Args:
      error: What the file system raised.
      address: Address that it worked on.
      done: What it was to do to the address: read, written, deleted.

    Returns:
      `FileNotFoundError` and other errors of the operating system where only this file is at fault; else a `UserError`
      of one line that names the address, and what its file system needs.
    """
    if isinstance(error, UserError):
        return error
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in _MISSING_STATUS:
        if _bucket_is_missing(error, address):
            return UserError(f"{bucket_of(address)}: there is no such bucket, or no right to see it.", address)
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address)
    if isinstance(error, OSError) and error.errno in _OF_THE_OBJECT:
        return OSError(error.errno, os.strerror(error.errno), address)
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        number = errno.EISDIR if isinstance(error, IsADirectoryError) else errno.ENOTDIR
        return OSError(number, os.strerror(number), address)
    # A refusal or a malformed URL of a table says nothing of its neighbours, which may be of other hosts.
    if scheme_of(address) in WEB and (refusal := _refusal(error, status)):
        return OSError(errno.EACCES, refusal, address)
    return UserError(_rule(error, address, done), shorten(_text(error)))


def own_fault(error: BaseException | None, address: str) -> str | None:
    """Returns why a URL cannot be read, if others of other hosts may be; None if the fault is likely to be everywhere.

    That is so where this machine has no network, proxy or name server, or the server asks for a pause.

    Args:
      error: What the last attempt raised.
      address: The URL, which has an error that is not its own by `explain`.
    """
    if scheme_of(address) not in WEB or not isinstance(error, Exception):
        return None
    if (status := _status(error)) is not None:
        return None if status in _OF_A_MOMENT else _answer(status)
    aiohttp = sys.modules.get("aiohttp")
    if not aiohttp or isinstance(error, aiohttp.ClientProxyConnectionError):
        return None
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        # The others are those of a name server that does not answer.
        is_known = cause.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return "the name of the host does not resolve" if is_known else None
    if isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE:
        return None
    if isinstance(cause, ConnectionRefusedError):
        return "the host refuses the connection"
    if isinstance(error, aiohttp.ClientSSLError):
        return "the host has no valid certificate"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the host does not answer in time"
    return "the connection ends early" if _is_of_connection(error) else None


def never_connects(error: BaseException | None, address: str) -> bool:
    """Returns whether an error is one of the address's own host, before it answered anything."""
    aiohttp = sys.modules.get("aiohttp")
    host = urllib.parse.urlsplit(address).hostname
    if aiohttp and isinstance(error, aiohttp.ClientConnectorError):
        return bool(error.host == host)  # a redirect may lead to another
    return bool(aiohttp and isinstance(error, aiohttp.ConnectionTimeoutError))


def _rule(error: Exception, address: str, done: str) -> str:
    """Returns what must be right for an address, as a sentence."""
    # botocore's, for a bucket or a key that no store can have.
    needs = None if type(error).__name__ == "ParamValidationError" else _NEEDS.get(scheme_of(address))
    advice = refusals.advice(error, scheme_of(address), done)
    needs = advice or needs
    if isinstance(error, PermissionError):
        what = f"may not be {done}"
    elif may_pass(error, address) or _is_of_connection(error):
        what = "does not answer"
    else:
        what = f"cannot be {done}"
    return f"{address} {what}: {needs}." if needs else f"{address} {what}."


def _text(error: Exception) -> str:
    """Returns what an error says, or its name where it says nothing."""
    status = _status(error)
    if status is not None:
        return _answer(status)
    lines = ((isinstance(error, OSError) and error.strerror) or str(error)).strip().splitlines()
    # libhdfs and botocore go on for pages.
    text = " ".join(lines[:2]) or type(error).__name__
    code = refusals.code(error)
    return f"{code}: {text}" if code and code not in text else text


def _bucket_is_missing(error: Exception, address: str) -> bool:
    """Returns whether not only the file is missing, but its bucket."""
    scheme = scheme_of(address)
    if address == bucket_of(address):
        return scheme in _RETRYING
    if scheme in refusals.AMAZON:
        return refusals.code(error) == "NoSuchBucket"
    # Google's answer is 404 for both. gcsfs states the request: a listing, or an upload, misses nothing but the bucket.
    path = urllib.parse.urlsplit(str(error)).path
    return scheme in GOOGLE and path.endswith(f"b/{bucket_of(address).partition('://')[2]}/o")


def _status(error: Exception) -> int | None:
    """Returns the status of an HTTP answer that aiohttp made an error of; None for another error."""
    aiohttp = sys.modules.get("aiohttp")
    return error.status if aiohttp and isinstance(error, aiohttp.ClientResponseError) else None


def _answer(status: int) -> str:
    """Returns a status with its name. aiohttp gives redirects without an end the status 0."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}" if status else "too many redirects"


def _is_of_connection(error: Exception) -> bool:
    """Returns whether an error of aiohttp or botocore is one of a connection rather than of an answer."""
    aiohttp, botocore = sys.modules.get("aiohttp"), sys.modules.get("botocore.exceptions")
    # A certificate that is wrong stays wrong.
    if aiohttp and isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False
    kinds = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) if aiohttp else ()
    kinds += (botocore.ConnectionError, botocore.HTTPClientError) if botocore else ()
    return isinstance(error, kinds)


def _refusal(error: Exception, status: int | None) -> str | None:
    """Returns why a server, or aiohttp, refuses a URL for good; None if it does not."""
    if status is not None:
        return None if status in _PASSING_STATUS else _answer(status)
    aiohttp = sys.modules.get("aiohttp")
    return f"invalid URL: {error}" if aiohttp and isinstance(error, aiohttp.InvalidURL) else None
