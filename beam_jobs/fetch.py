"""One URL into one file: resumable, retried, and checked against a known size and digest.

The digest is known beforehand, so a resumed file can never pass for whole with
bytes of two versions in it; If-Range only finds that out before the last byte.
HTTP facts are from RFC 9110: ranges (14), If-Range (13.1.5), 416 (15.5.17).
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tfrecords._version import __version__
from tfrecords.errors import UserError

# What an interrupted read can lose; larger ones make the progress bar jump on slow lines.
CHUNK_BYTES = 64 * 1024
HASH_CHUNK_BYTES = 1024 * 1024
# Timeouts, overload and gateways pass; every other error would be answered the same again.
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class RemoteFile:
    """A published file: `url`, its exact `size_bytes`, its `sha256` (64 lower-case hex digits)."""

    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FetchPolicy:
    """How long to wait and how often to try.

    Attributes:
      timeout_s: seconds without one byte after which a connection counts as cut.
      attempts: how many requests in a row may bring nothing new.
      first_pause_s: seconds before the first retry; doubled with each failure in a row.
      longest_pause_s: seconds that a pause never exceeds.
    """

    timeout_s: float = 60.0
    attempts: int = 6
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0


class _CutError(Exception):
    """The connection failed in a way that another attempt may cure."""


@dataclass(frozen=True)
class _Partial:
    """What has come so far, and beside it where it came from, so that a later run can go on."""

    path: Path

    @property
    def origin_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def etag(self, url: str) -> str | None:
        """The entity tag that `url` gave for these bytes; None when another server sent them."""
        try:
            origin = json.loads(self.origin_path.read_text(encoding="utf-8"))
            return origin["etag"] if origin["url"] == url else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def remember_origin(self, url: str, etag: str | None) -> None:
        self.origin_path.write_text(json.dumps({"url": url, "etag": etag}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)


def fetch(
    remote: RemoteFile,
    destination: Path,
    policy: FetchPolicy | None = None,
    on_progress: Callable[[int], None] = lambda position: None,
    on_notice: Callable[[str], None] = lambda message: None,
) -> None:
    """Brings `remote` to `destination`, which appears only when whole and checked.

    Until then the bytes lie in `<destination>.partial`; a later call, in this
    process or another, asks the server for the rest only. A destination that is
    already there is checked and kept.

    Args:
      remote: what to fetch.
      destination: the file to make, in a folder that exists.
      policy: timeouts and retries; None for the defaults.
      on_progress: called with the bytes at hand (it falls when a server starts anew).
      on_notice: called with one line when the download is retried or starts anew.

    Raises:
      UserError: the URL is not http(s), the server refuses, stays away or has other
        bytes than `remote` says, or another file lies at `destination`.
      OSError: the file cannot be written.
    """
    check_url(remote.url)
    if destination.exists():
        received = _describe(destination)
        if received != _expected(remote):
            raise UserError(
                f"{destination}: must have {_expected(remote)}; move it away to fetch {remote.url} anew.", received
            )
        on_progress(remote.size_bytes)
        return
    partial = _Partial(_partial_path(destination))
    _receive_all(remote, partial, policy or FetchPolicy(), on_progress, on_notice)
    received = _describe(partial.path)
    if received != _expected(remote):
        partial.discard()
        raise UserError(f"{remote.url}: must have {_expected(remote)}; what came is discarded.", received)
    partial.path.replace(destination)
    partial.discard()


def check_url(url: str) -> None:
    """Raises `UserError` unless `url` is http or https and names a host: urllib would open file: too."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise UserError("A download address must begin with http:// or https:// and a host.", url)


def bytes_at_hand(destination: Path) -> int:
    """How many bytes of `destination` an earlier `fetch` has left, whole or in part."""
    return destination.stat().st_size if destination.exists() else _Partial(_partial_path(destination)).size_bytes()


def _partial_path(destination: Path) -> Path:
    return destination.with_name(destination.name + ".partial")


def _receive_all(
    remote: RemoteFile,
    partial: _Partial,
    policy: FetchPolicy,
    on_progress: Callable[[int], None],
    on_notice: Callable[[str], None],
) -> None:
    """Repeats requests until the partial file is long enough, or nothing new comes any more."""
    furthest, failures = partial.size_bytes(), 0
    while partial.size_bytes() < remote.size_bytes:
        try:
            _receive_once(remote, partial, policy, on_progress, on_notice)
        except _CutError as error:
            # Against the furthest byte: a server that always starts anew and cuts must not hold us for ever.
            failures = 0 if partial.size_bytes() > furthest else failures + 1
            furthest = max(furthest, partial.size_bytes())
            if failures >= policy.attempts:
                raise UserError(
                    f"{remote.url}: must send something new within {policy.attempts} attempts; {partial.path} "
                    "is kept, and the same command goes on from there.",
                    error,
                ) from error
            pause_s = min(policy.longest_pause_s, policy.first_pause_s * 2 ** max(failures - 1, 0))
            on_notice(f"{remote.url}: {error}; going on from byte {partial.size_bytes()} in {pause_s:g} s")
            time.sleep(pause_s)


def _receive_once(
    remote: RemoteFile,
    partial: _Partial,
    policy: FetchPolicy,
    on_progress: Callable[[int], None],
    on_notice: Callable[[str], None],
) -> None:
    """One request, appended to the partial file, or written over it when the server sends the whole."""
    offset = partial.size_bytes()
    with _open(remote, offset, partial.etag(remote.url), policy.timeout_s) as response:
        position = _start(response, remote, partial, offset)
        if position < offset:
            on_notice(f"{remote.url}: the server sends the whole file again; starting from byte 0")
        with partial.path.open("ab" if position else "wb") as sink:
            if not position:
                etag = response.headers.get("ETag")
                # A weak tag may stay while bytes change, and If-Range forbids it.
                partial.remember_origin(remote.url, None if etag is None or etag.startswith("W/") else etag)
            on_progress(position)
            while position <= remote.size_bytes and (chunk := _read(response)):
                sink.write(chunk)
                position += len(chunk)
                on_progress(position)
    if position < remote.size_bytes:
        raise _CutError(f"the connection ended at byte {position} of {remote.size_bytes}")


def _open(remote: RemoteFile, offset: int, etag: str | None, timeout_s: float) -> HTTPResponse:
    """Sends the request for everything from `offset` on."""
    headers = {"User-Agent": f"streetdigits/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if etag:
            headers["If-Range"] = etag
    try:
        # S310 warns of file: addresses; check_url has refused them, and redirects lead to no others.
        return urlopen(Request(remote.url, headers=headers), timeout=timeout_s)  # noqa: S310
    except HTTPError as error:
        with error:
            answer = f"{error.code} {error.reason}"
            if error.code in RETRIED_STATUSES:
                raise _CutError(answer) from error
            if error.code == 416:
                raise UserError(
                    f"{remote.url}: must have {remote.size_bytes} bytes.",
                    f"{answer} for a request from byte {offset} on",
                ) from error
            raise UserError(f"{remote.url}: must answer 200 or 206.", answer) from error
    except (OSError, HTTPException) as error:
        raise _CutError(_reason(error)) from error


def _start(response: HTTPResponse, remote: RemoteFile, partial: _Partial, offset: int) -> int:
    """The place in the file of the body's first byte: `offset`, or 0 when the whole file comes."""
    if response.status == 206:
        content_range = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None or int(match["start"]) != offset:
            partial.discard()  # Without bytes at hand the next request asks for no range.
            raise _CutError(f"asked for bytes from {offset} on, received Content-Range {content_range!r}")
        start, total = offset, None if match["total"] == "*" else int(match["total"])
    elif response.status == 200:
        start, total = 0, response.length
    else:
        raise UserError(f"{remote.url}: must answer 200 or 206.", f"{response.status} {response.reason}")
    if total is not None and total != remote.size_bytes:
        raise UserError(f"{remote.url}: must have {remote.size_bytes} bytes.", f"{total} bytes")
    return start


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise _CutError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _expected(remote: RemoteFile) -> str:
    return f"{remote.size_bytes} bytes and SHA-256 {remote.sha256}"


def _describe(path: Path) -> str:
    """Size and digest of a file, in the words of `_expected`."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return f"{path.stat().st_size} bytes and SHA-256 {digest.hexdigest()}"
