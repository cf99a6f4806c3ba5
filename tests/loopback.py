"""A real server on the loopback interface that fails in the ways servers do."""

import contextlib
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

TAKE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""First line of a process that a test interrupts: a shell starts background processes with SIGINT ignored."""


class Server(http.server.ThreadingHTTPServer):
    """Serves files and fails as its attributes say."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files  # by path
        self.etag: str | None = '"v1"'
        self.has_ranges = True
        self.states_length = True
        self.cuts: list[int] = []  # bytes of the body of each of the next answers before the connection ends
        self.resets = False  # a cut is a reset instead of a clean end
        self.stalls = False  # a cut is silence instead of an end
        self.statuses: list[int] = []  # refusals before the first good answer
        self.refusals: dict[str, list[int]] = {}  # the same by path
        self.redirects: dict[str, str] = {}  # address by path that leads to it
        self.content_range: list[str] = []  # wrong headers before the first right one
        self.asked: list[tuple[str, str | None, str | None]] = []  # path, Range and If-Range of each request
        self.release = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def paths(self) -> list[tuple[str, str | None]]:
        """Path and Range of each request."""
        return [(path, asked) for path, asked, _ in self.asked]

    @property
    def conditions(self) -> list[tuple[str | None, str | None]]:
        """Range and If-Range of each request."""
        return [(asked, condition) for _, asked, condition in self.asked]

    @property
    def ranges(self) -> list[str | None]:
        """Range of each request."""
        return [asked for _, asked, _ in self.asked]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        condition = self.headers.get("If-Range")
        server.asked.append((self.path, asked, condition))
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        statuses = server.refusals.get(self.path) or server.statuses
        if statuses or self.path not in server.files:
            self.send_error(statuses.pop(0) if statuses else 404)
            return
        body = server.files[self.path]
        start = 0
        if asked and server.has_ranges and condition in {None, server.etag}:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
            right = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", server.content_range.pop(0) if server.content_range else right)
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.states_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self._send_body(body[start:])

    def _send_body(self, body: bytes) -> None:
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(body[:cut])
        if cut is not None and self.server.stalls:
            self.server.release.wait(100)
        if cut is not None and self.server.resets:
            time.sleep(0.02)  # so that the sent bytes are read before the reset discards them
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def serving(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Runs a server of `files`, by path, in its own thread."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(files) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.release.set()
            running.shutdown()
            thread.join()
