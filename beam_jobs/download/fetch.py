"""One URL into one file: resumable, retried, and checked against a known size and digest.

The digest is known beforehand, so bytes of two versions can never pass for a
whole file; If-Range only finds a changed file before its last byte.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.download.http_range import CutError, RangeError, RemoteFile, check_url, request_rest
from tfrecords.errors import UserError

HASH_CHUNK_BYTES = 1024 * 1024


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
    rule = f"must have {remote.size_bytes} bytes and SHA-256 {remote.sha256}"
    if destination.exists():
        if not _is_whole(destination, remote):
            raise UserError(f"{destination}: {rule}; move it away to fetch it anew.", _describe(destination))
        on_progress(remote.size_bytes)
        return
    partial = _Partial(_partial_path(destination))
    _Transfer(remote, partial, policy or FetchPolicy(), on_progress, on_notice).run()
    if not _is_whole(partial.path, remote):
        received = _describe(partial.path)
        partial.discard()
        raise UserError(f"{remote.url}: {rule}; what came is discarded.", received)
    partial.path.replace(destination)
    partial.discard()


def bytes_at_hand(destination: Path) -> int:
    """How many bytes of `destination` an earlier `fetch` has left, whole or in part."""
    return destination.stat().st_size if destination.exists() else _Partial(_partial_path(destination)).size()


@dataclass(frozen=True)
class _Partial:
    """What has come so far, and beside it where it came from, so that a later run can go on."""

    path: Path

    @property
    def origin_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size(self) -> int:
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


@dataclass(frozen=True)
class _Transfer:
    """Requests, until the partial file is long enough or nothing new comes any more."""

    remote: RemoteFile
    partial: _Partial
    policy: FetchPolicy
    on_progress: Callable[[int], None]
    on_notice: Callable[[str], None]

    def run(self) -> None:
        furthest, failures = self.partial.size(), 0
        while self.partial.size() < self.remote.size_bytes:
            error = self._attempt()
            if error is None:
                continue
            # Against the furthest byte: a server that always starts anew and cuts must not hold us for ever.
            failures = 0 if self.partial.size() > furthest else failures + 1
            furthest = max(furthest, self.partial.size())
            if failures >= self.policy.attempts:
                raise UserError(
                    f"{self.remote.url}: must send something new within {self.policy.attempts} attempts; "
                    f"{self.partial.size()} bytes are kept, and the same command goes on from there.",
                    error,
                ) from error
            self._pause(failures, error)

    def _attempt(self) -> CutError | None:
        """One request; None when the partial file is long enough after it."""
        try:
            self._receive()
        except RangeError as error:
            self.partial.discard()  # Without bytes at hand the next request asks for no range.
            return error
        except CutError as error:
            # Bytes of no stated length end with the connection, however that ends.
            return error if self.partial.size() < self.remote.size_bytes else None
        return None

    def _receive(self) -> None:
        """Appends the answer to the partial file, or writes over it when the whole file comes."""
        offset = self.partial.size()
        etag = self.partial.etag(self.remote.url)
        with request_rest(self.remote, offset, etag, self.policy.timeout_s) as answer:
            if answer.start < offset:
                self.on_notice(f"{self.remote.url}: the server sends the whole file again; starting from byte 0")
            position = answer.start
            with self.partial.path.open("ab" if position else "wb") as sink:
                if not position:
                    self.partial.remember_origin(self.remote.url, answer.etag)
                self.on_progress(position)
                for chunk in answer.chunks:
                    sink.write(chunk)
                    position += len(chunk)
                    self.on_progress(position)
                    if position > self.remote.size_bytes:
                        break
        if position < self.remote.size_bytes:
            raise CutError(f"the connection ended at byte {position} of {self.remote.size_bytes}")

    def _pause(self, failures: int, error: CutError) -> None:
        pause_s = min(self.policy.longest_pause_s, self.policy.first_pause_s * 2 ** max(failures - 1, 0))
        self.on_notice(f"{self.remote.url}: {error}; going on from byte {self.partial.size()} in {pause_s:g} s")
        time.sleep(pause_s)


def _partial_path(destination: Path) -> Path:
    return destination.with_name(destination.name + ".partial")


def _is_whole(path: Path, remote: RemoteFile) -> bool:
    return path.stat().st_size == remote.size_bytes and _sha256(path) == remote.sha256


def _describe(path: Path) -> str:
    return f"{path.stat().st_size} bytes and SHA-256 {_sha256(path)}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
