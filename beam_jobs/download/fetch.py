"""One URL to one file: resumed, retried, and checked against a known size and SHA-256.

`pooch.retrieve` is no substitute: it overwrites another file at the destination, and it deletes its temporary file on
every error, even when a Ctrl-C stops the digest of a complete download. The digest is known in advance, so a mixture of
two versions never passes; If-Range only detects a changed file before its last byte. HTTP facts are from RFC 9110:
ranges (section 14), If-Range (13.1.5), 416 (15.5.17).
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from beam_jobs.download.archives import Archive
from tfrecords._version import __version__
from tfrecords.errors import UserError
from tfrecords.files.publish import sync, sync_names
from tfrecords.typed_json import from_json, parse_object

HASH_CHUNK_BYTES = 1024 * 1024
READ_CHUNK_BYTES = 64 * 1024
# Timeouts, overload and gateway errors pass; any other refusal would come again.
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class FetchPolicy:
    """Timeouts and retries.

    Attributes:
      timeout_s: Seconds without a byte after which a connection counts as lost.
      attempts: Number of requests in a row that may bring no new byte.
      first_pause_s: Seconds before the first retry; doubled with each failure in a row.
      longest_pause_s: Upper limit of a pause in seconds.
    """

    timeout_s: float = 60.0
    attempts: int = 6
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0


def fetch(
    url: str,
    archive: Archive,
    destination: Path,
    policy: FetchPolicy | None = None,
    on_progress: Callable[[int], None] = lambda position: None,
    on_notice: Callable[[str], None] = lambda message: None,
) -> None:
    """Downloads `url` to `destination`, which appears only when complete and checked.

    Until then the bytes are in `<destination>.partial`; a later call, in this or another process, requests only the
    rest. An existing destination is checked and kept.

    Args:
      url: Address, http or https.
      archive: Size and digest of the file.
      destination: File to create, in an existing folder.
      policy: Timeouts and retries; None for the defaults.
      on_progress: Function of the number of bytes received, which decreases if a server starts from byte 0 again.
      on_notice: Function of one line of text, for each retry and each start from byte 0.

    Raises:
      UserError: The URL is not http(s); the server refuses, does not answer or sends other bytes than `archive` says;
        or another file exists at `destination`.
      OSError: The file cannot be written.
    """
    check_url(url)
    rule = f"must have {archive.size_bytes} bytes and SHA-256 {archive.sha256}"
    if destination.exists():
        if difference := _difference(destination, archive):
            raise UserError(f"{destination}: {rule}; move it away to download it again.", difference)
        on_progress(archive.size_bytes)
        return
    partial = _partial_path(destination)
    transfer = _Transfer(url, archive.size_bytes, partial, policy or FetchPolicy(), on_progress, on_notice)
    transfer.run()
    if difference := _difference(partial, archive):
        transfer.discard()
        raise UserError(f"{url}: {rule}; the received bytes are deleted.", difference)
    sync(partial)
    partial.replace(destination)
    sync_names(destination.parent)
    transfer.discard()


def bytes_received(destination: Path) -> int:
    """Returns the size of `destination`, or of what an earlier `fetch` has received of it."""
    path = destination if destination.exists() else _partial_path(destination)
    return path.stat().st_size if path.exists() else 0


def check_url(url: str) -> None:
    """Checks an address, since urllib would open file: addresses too.

    Raises:
      UserError: `url` is not a valid http or https address.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise UserError("A download address must be http:// or https://, a host and a path without spaces.", url)


class _ConnectionLostError(Exception):
    """A failure that another request may cure."""


@dataclass(frozen=True)
class _Origin:
    """Where the bytes of an unfinished file came from, and the server's strong tag for them."""

    url: str
    etag: str | None


@dataclass(frozen=True)
class _Transfer:
    """Requests for the bytes that `path` lacks; the server's tag for its bytes is saved next to it."""

    url: str
    size_bytes: int
    path: Path
    policy: FetchPolicy
    on_progress: Callable[[int], None]
    on_notice: Callable[[str], None]

    def run(self) -> None:
        """Sends requests until the file has its size or more.

        Raises:
          UserError: The server refuses, has a file of another size, or sends no new byte within the allowed attempts.
          OSError: The file cannot be written.
        """
        furthest, failures = self._size(), 0
        while self._size() < self.size_bytes:
            try:
                self._receive()
            except _ConnectionLostError as error:
                # Compared with the furthest byte: a server that always starts from byte 0 and stops early is given up.
                failures = 0 if self._size() > furthest else failures + 1
                furthest = max(furthest, self._size())
                # Bytes of unstated length end with the connection, however it ends.
                if self._size() < self.size_bytes:
                    self._wait(failures, error)

    def discard(self) -> None:
        """Deletes the received bytes and their tag."""
        self.path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    @property
    def _origin(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _wait(self, failures: int, error: _ConnectionLostError) -> None:
        url, size = self.url, self._size()
        if failures >= self.policy.attempts:
            rule = f"must send new bytes within {self.policy.attempts} attempts"
            raise UserError(f"{url}: {rule}; {size} bytes are kept, and the same command resumes.", error) from error
        pause_s = min(self.policy.longest_pause_s, self.policy.first_pause_s * 2 ** max(failures - 1, 0))
        self.on_notice(f"{url}: {error}; resuming from byte {size} in {pause_s:g} s")
        time.sleep(pause_s)

    def _receive(self) -> None:
        """Appends the response to one request to the file, or overwrites the file if the response starts at byte 0."""
        offset = self._size()
        with self._request(offset) as response:
            position = self._start(response, offset)
            if position < offset:
                self.on_notice(f"{self.url}: the server sends the complete file again; starting from byte 0")
            end = None if response.length is None else position + response.length
            with self.path.open("ab" if position else "wb") as sink:
                if not position:
                    self._save_tag(response.headers.get("ETag"))
                self.on_progress(position)
                while position <= self.size_bytes and (chunk := _read(response, end, position)):
                    sink.write(chunk)
                    position += len(chunk)
                    self.on_progress(position)
        if position < self.size_bytes:
            raise _ConnectionLostError(f"the connection ended at byte {position} of {self.size_bytes}")

    def _request(self, offset: int) -> HTTPResponse:
        headers = {"User-Agent": f"streetdigits/{__version__}"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if tag := self._saved_tag():
                headers["If-Range"] = tag
        # S310 warns of file: addresses; check_url refuses them, and urllib follows no redirect to a file.
        request = Request(self.url, headers=headers)  # noqa: S310
        try:
            return cast(HTTPResponse, urlopen(request, timeout=self.policy.timeout_s))  # noqa: S310
        except HTTPError as refusal:
            return cast(HTTPResponse, refusal)  # A response too; `_start` checks its status.
        except (OSError, HTTPException) as error:
            raise _lost(error) from error

    def _start(self, response: HTTPResponse, offset: int) -> int:
        """Returns the position in the file of the response's first byte, after checks of its status and size."""
        answer = f"{response.status} {response.reason}"
        if response.status in RETRIED_STATUSES:
            raise _ConnectionLostError(answer)
        if response.status == 416:
            raise self._wrong_size(f"{answer} for a request from byte {offset}")
        if response.status not in {200, 206}:
            raise UserError(f"{self.url}: must answer 200 or 206.", answer)
        start, total = 0, "*" if response.length is None else str(response.length)
        if response.status == 206:
            content_range = response.headers.get("Content-Range", "")
            match = _CONTENT_RANGE.fullmatch(content_range)
            if match is None or int(match["start"]) != offset:
                self.discard()  # The next request then asks for no range.
                reason = f"requested the bytes from {offset}, received Content-Range {content_range!r}"
                raise _ConnectionLostError(reason)
            start, total = offset, match["total"]
        if total not in {"*", str(self.size_bytes)}:
            raise self._wrong_size(f"{total} bytes")
        return start

    def _saved_tag(self) -> str | None:
        """Returns the entity tag of the file's bytes, or None if they came without one or from another URL."""
        name = str(self._origin)
        try:
            origin = from_json(_Origin, parse_object(self._origin.read_bytes(), name), name)
        except (FileNotFoundError, UserError):
            return None
        return origin.etag if origin.url == self.url else None

    def _save_tag(self, tag: str | None) -> None:
        # A weak tag may remain when bytes change; If-Range forbids it.
        strong = None if tag is None or tag.startswith("W/") else tag
        self._origin.write_text(json.dumps(asdict(_Origin(self.url, strong))), encoding="utf-8")

    def _wrong_size(self, received: str) -> UserError:
        return UserError(f"{self.url}: must have {self.size_bytes} bytes.", received)


def _read(response: HTTPResponse, end: int | None, position: int) -> bytes:
    """Returns the next bytes of a response, up to position `end` where that is known; none at its end."""
    # Not read(), which loses the received part of a chunk when a connection is lost. Limited, since read1() of earlier
    # Pythons does not stop at Content-Length (python/cpython#113199).
    limit = READ_CHUNK_BYTES if end is None else min(READ_CHUNK_BYTES, end - position)
    try:
        return response.read1(limit) if limit else b""
    except (OSError, HTTPException) as error:
        raise _lost(error) from error


def _lost(error: Exception) -> _ConnectionLostError:
    cause = getattr(error, "reason", error)  # URLError wraps the cause.
    return _ConnectionLostError(str(cause) or type(cause).__name__)


def _partial_path(destination: Path) -> Path:
    return destination.with_name(destination.name + ".partial")


def _difference(path: Path, archive: Archive) -> str | None:
    """Returns size and digest of a file if they are not those of `archive`, else None."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    size, sha256 = path.stat().st_size, digest.hexdigest()
    return None if (size, sha256) == (archive.size_bytes, archive.sha256) else f"{size} bytes and SHA-256 {sha256}"
