"""One HTTP request for the rest of a file whose size is known.

HTTP facts are from RFC 9110: ranges (section 14), If-Range (13.1.5), 416 (15.5.17).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tfrecords._version import __version__
from tfrecords.errors import UserError

# The most that one read takes.
CHUNK_BYTES = 64 * 1024
# Timeouts, overload and gateways pass; every other refusal would be given again.
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class RemoteFile:
    """A published file: `url`, its exact `size_bytes`, its `sha256` (64 lower-case hex digits)."""

    url: str
    size_bytes: int
    sha256: str


class CutError(Exception):
    """The connection failed in a way that another attempt may cure."""


class RangeError(CutError):
    """The server answered with another part of the file than it was asked for."""


@dataclass(frozen=True)
class Answer:
    """What a server sends.

    Attributes:
      start: place in the file of the first byte: where it was asked to begin, or 0.
      etag: the strong entity tag of the file; None when there is none.
      chunks: the bytes, as they come; raises `CutError` when the connection fails.
    """

    start: int
    etag: str | None
    chunks: Iterator[bytes]


def check_url(url: str) -> None:
    """Raises `UserError` unless `url` is a sound http or https one: urllib would open file: too."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise UserError("A download address must be http:// or https://, a host and a path without spaces.", url)


@contextmanager
def request_rest(remote: RemoteFile, offset: int, etag: str | None, timeout_s: float) -> Iterator[Answer]:
    """Asks for `remote` from byte `offset` on and checks the head of the answer.

    Args:
      remote: the file; its size is compared with what the server says it has.
      offset: bytes at hand; with 0 no range is asked for.
      etag: the tag that came with those bytes: the server then sends the whole
        file if it has changed since. None leaves that to the digest.
      timeout_s: seconds without one byte after which the connection counts as cut.

    Raises:
      UserError: the URL is not http(s), or the server refuses or has a file of another size.
      CutError: the connection failed; `RangeError` when another range came.
    """
    check_url(remote.url)
    headers = {"User-Agent": f"streetdigits/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if etag:
            headers["If-Range"] = etag
    # S310 warns of file: addresses; check_url has refused them, and urllib redirects to no file.
    request = Request(remote.url, headers=headers)  # noqa: S310
    with _open(request, remote, offset, timeout_s) as response:
        start = _checked_start(response, remote, offset)
        tag = response.headers.get("ETag")
        # A weak tag may stay while bytes change, and If-Range forbids it.
        yield Answer(start, None if tag is None or tag.startswith("W/") else tag, _chunks(response))


def _open(request: Request, remote: RemoteFile, offset: int, timeout_s: float) -> HTTPResponse:
    try:
        return urlopen(request, timeout=timeout_s)  # noqa: S310
    except HTTPError as error:
        with error:
            answer = f"{error.code} {error.reason}"
            if error.code in RETRIED_STATUSES:
                raise CutError(answer) from error
            if error.code == 416:
                raise _wrong_size(remote, f"{answer} for a request from byte {offset} on") from error
            raise _wrong_status(remote, answer) from error
    except (OSError, HTTPException) as error:
        raise CutError(_reason(error)) from error


def _checked_start(response: HTTPResponse, remote: RemoteFile, offset: int) -> int:
    """The place in the file of the body's first byte, once status and sizes are right."""
    total: int | None
    if response.status == 206:
        content_range = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None or int(match["start"]) != offset:
            raise RangeError(f"asked for the bytes from {offset} on, received Content-Range {content_range!r}")
        start, total = offset, None if match["total"] == "*" else int(match["total"])
    elif response.status == 200:
        start, total = 0, response.length
    else:
        raise _wrong_status(remote, f"{response.status} {response.reason}")
    if total is not None and total != remote.size_bytes:
        raise _wrong_size(remote, f"{total} bytes")
    return start


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    left = response.length
    try:
        # read() would lose what had come of a chunk when the connection fails. We count, as
        # read1() of earlier Pythons does not stop at Content-Length (python/cpython#113199).
        while left != 0 and (chunk := response.read1(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))):
            left = None if left is None else left - len(chunk)
            yield chunk
    except (OSError, HTTPException) as error:
        raise CutError(_reason(error)) from error


def _wrong_size(remote: RemoteFile, received: str) -> UserError:
    return UserError(f"{remote.url}: must have {remote.size_bytes} bytes.", received)


def _wrong_status(remote: RemoteFile, received: str) -> UserError:
    return UserError(f"{remote.url}: must answer 200 or 206.", received)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # URLError wraps what happened.
    return str(cause) or type(cause).__name__
