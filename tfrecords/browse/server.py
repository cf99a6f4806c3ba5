"""The server of the pages: the standard library's, which is enough for a few people and needs nothing to be installed.

A framework would bring routing and forms, of which seven pages that are only read need nothing, and a server of its
own. `http.server` is not meant for the open internet: the command serves loopback unless it is told otherwise.
"""

import errno
import ipaddress
import socket
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tfrecords.browse.views import SCRIPT_POLICY
from tfrecords.errors import UserError, one_line

Answer = Callable[[str], tuple[HTTPStatus, str]]
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    f"frame-ancestors 'none'; {SCRIPT_POLICY}"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The dataset may be another one at the next look.
    "Cache-Control": "no-cache",
}
_REFRESH_S = 1
_IDLE_S = 60.0
"""Time after which a connection without a request is closed."""


class Server(ThreadingHTTPServer):
    """Serves pages to GET and HEAD.

    Attributes:
      answer: Function that returns status and page of the target of a request.
      url: Address of the first page.
    """

    daemon_threads = True
    allow_reuse_port = False

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        """Listens on a port.

        Args:
          host: Name or address to listen on.
          port: Port; 0 for any free one.
          answer: Function that returns status and page of the target of a request.

        Raises:
          UserError: The host is unknown or not of this machine, or the port is taken or not allowed.
        """
        self.answer, self._host = answer, host
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], _Handler)  # type: ignore[arg-type]
        except socket.gaierror as error:
            raise UserError("--host must be a name or an address of this machine.", host) from error
        except OSError as error:
            raise _listen_error(error, host, port) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}/"

    def is_own_host(self, host: str) -> bool:
        """Returns whether a request's Host may be this server's.

        A page of somebody else's can make its own name lead here (DNS rebinding), and would then read the answers. So
        the only names are localhost and the one of --host; addresses cannot be made to lead elsewhere.
        """
        name = host.strip().lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name in ("localhost", self._host.lower()) or is_address(name)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints a traceback, except for connections that a browser has given up."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            traceback.print_exc()


def is_address(host: str) -> bool:
    """Returns whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Returns whether only programs of this machine reach a host."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def _listen_error(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError("--port must be free; another program listens on it. 0 takes any free one.", port)
    if error.errno == errno.EACCES:
        return UserError("--port must be one that this user may listen on, most often 1024 or above.", port)
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError("--host must be a name or an address of this machine.", host)
    return UserError(f"{host} cannot be listened on: {one_line(error)}.", port)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "streetdigits", ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answers with a page."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answers with the headers of a page."""
        self._answer()

    def _refuse(self) -> None:
        # The body is not read: what follows on this connection would be taken for the next request.
        self.close_connection = True
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.\n", "plain", {"Allow": "GET, HEAD"})

    # Names that the standard library looks up.
    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.is_own_host(hosts[0]):
            text = "This server answers to its own name only: see --host.\n"
            self._send(HTTPStatus.MISDIRECTED_REQUEST, text, "plain", {})
            return
        try:
            status, page = self.server.answer(self.path)
        # A bug, which is printed here, and of which the page says only that it is one.
        except Exception:
            traceback.print_exc()
            text = "This page could not be made; the program that serves it has printed why.\n"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text, "plain", {})
            return
        is_waiting = status == HTTPStatus.SERVICE_UNAVAILABLE
        self._send(status, page, "html", {"Refresh": str(_REFRESH_S)} if is_waiting else {})

    def _send(self, status: HTTPStatus, text: str, kind: str, headers: dict[str, str]) -> None:
        # JSON and Parquet may hold one half of a surrogate pair, which UTF-8 cannot encode.
        body = text.encode("utf-8", errors="replace")
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers a request that is none with its status and one line."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, f"{status.phrase}\n", "plain", {})

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing: the terminal is for what goes wrong."""


def serve(server: Server) -> None:
    """Answers requests until the process is interrupted."""
    try:
        server.serve_forever()
    finally:
        server.server_close()
