"""A proxy on the loopback interface, in front of a store's server, that counts requests and fails as a test asks.

    with proxying(s3_endpoint) as proxy:
        use_store(proxy.url, monkeypatch)               # tests.stores: what follows connects through the proxy
        proxy.fail(Status(503), method="PUT", times=2)  # the next two PUT are answered, and not passed on
        proxy.fail(Reset(), contains="uploadId")        # the next request with this text in its target is cut
        proxy.fail(Stall(1.0), skip=3)                  # three requests pass, the fourth waits a second first
        ...
        assert proxy.count("PUT", "shard") == 3         # requests that came, those that failed included
        assert not proxy.pending                        # all failures have happened

or the fixture `proxy` of tests/conftest.py: a new proxy in front of moto's server, which the environment names.

Failures are taken in the order in which they were asked for: each request takes the first one that fits it and is not
used up.
"""

import contextlib
import http.client
import http.server
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_OF_A_CONNECTION = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"))
"""Headers of an answer that the proxy makes itself."""
_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>of the proxy</Message></Error>'
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}
_OVERTAKEN = "InternalError"


@dataclass
class Request:
    """A request that came.

    Attributes:
      method: HTTP method.
      target: Path and query, percent-encoded as they came.
      headers: Headers of the request, with names in lower case.
      status: Status that was answered; 0 for none, or not yet.
    """

    method: str
    target: str
    headers: dict[str, str]
    status: int = 0


@dataclass(frozen=True)
class Status:
    """An answer of the proxy in S3's form; the store does not see the request.

    Attributes:
      status: Status of the answer; 200 with an error in its body is what S3 answers to a CompleteMultipartUpload or a
        CopyObject that fails after it began to answer.
      code: Code of the error in S3's body; None for the usual one of the status.
    """

    status: int
    code: str | None = None


@dataclass(frozen=True)
class Reset:
    """A reset of the connection.

    Attributes:
      passed_on: Whether the store gets the request first: the client cannot know whether it was done.
    """

    passed_on: bool = False


@dataclass(frozen=True)
class Cut:
    """An answer of the store whose body ends early.

    Attributes:
      size: Bytes of the body that arrive.
    """

    size: int


@dataclass(frozen=True)
class Stall:
    """A pause before the request is passed on; it ends early with the proxy.

    Attributes:
      seconds: Length of the pause; longer than the client waits, it is a time-out.
    """

    seconds: float


Failure = Status | Reset | Cut | Stall


@dataclass
class _Order:
    failure: Failure
    method: str | None
    contains: re.Pattern[str]
    skip: int
    times: int

    def takes(self, method: str, target: str) -> bool:
        """Returns whether a request fails, and counts it."""
        if not self.times or self.method not in (None, method) or not self.contains.search(target):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Proxy:
    """What a proxy has seen, and what it is to do.

    Attributes:
      url: Address of the proxy.
      requests: Requests that came, in order.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    _orders: list[_Order] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self, failure: Failure, *, method: str | None = None, contains: str = "", skip: int = 0, times: int = 1
    ) -> None:
        """Makes requests fail.

        Args:
          failure: What happens to them.
          method: HTTP method of the requests; None for all.
          contains: Regular expression that the target (path and query) must contain.
          skip: Number of fitting requests that pass first.
          times: Number of requests that fail; -1 for all that follow.
        """
        with self._lock:
            self._orders.append(_Order(failure, method, re.compile(contains), skip, times))

    def heal(self) -> None:
        """Forgets all failures."""
        with self._lock:
            self._orders.clear()

    @property
    def pending(self) -> list[Failure]:
        """Failures that have not happened as often as they were asked for."""
        return [order.failure for order in self._orders if order.times > 0]

    def count(self, method: str | None = None, contains: str = "") -> int:
        """Returns the number of requests of a method, all of them for None, whose target contains an expression."""
        fits = re.compile(contains).search
        return sum(method in (None, each.method) and fits(each.target) is not None for each in self.requests)

    def _next(self, method: str, target: str) -> Failure | None:
        with self._lock:
            return next((order.failure for order in self._orders if order.takes(method, target)), None)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.release = threading.Event()
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_address[1]}")

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a client that has given up is part of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body = self._body()
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        self.server.proxy.requests.append(request)
        failure = self.server.proxy._next(self.command, self.path)
        status, headers, answer = 0, [], b""
        if isinstance(failure, Stall):
            self.server.release.wait(failure.seconds)
        if isinstance(failure, Status):
            status = failure.status
            code = failure.code or _CODES.get(status, _OVERTAKEN)
            headers, answer = [("Content-Type", "application/xml")], _ERROR.format(code=code).encode()
        elif not (isinstance(failure, Reset) and not failure.passed_on):
            status, headers, answer = self._passed_on(body)
        if isinstance(failure, Reset):
            self._reset()
            return
        request.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer[: failure.size] if isinstance(failure, Cut) else answer)
        if isinstance(failure, Cut):
            self.wfile.flush()
            self.close_connection = True

    def _body(self) -> bytes:
        """Returns the body of the request; one in chunks as its content."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Returns status, headers and body of the store's answer."""
        connection = http.client.HTTPConnection(self.server.upstream, timeout=120)
        left_out = ("transfer-encoding", "content-length", "connection", "expect")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        try:
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            # The length of what a HEAD asks about is in its header alone.
            kept = _OF_A_CONNECTION - {"content-length"} if self.command == "HEAD" else _OF_A_CONNECTION
            return answer.status, [pair for pair in answer.getheaders() if pair[0].lower() not in kept], content
        finally:
            connection.close()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@contextlib.contextmanager
def proxying(upstream: str) -> Iterator[Proxy]:
    """Runs a proxy in threads of its own.

    Args:
      upstream: Address of the store's server, `http://127.0.0.1:5000`.
    """
    server = _Server(upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
