"""The status of a stream in Prometheus' text format, served by a process of its own.

A thread would keep the watcher from forking its workers. The process reads status.json, and ends with the watcher.
"""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

from beam_jobs.watch.status import Status
from tfrecords.errors import UserError
from tfrecords.files.place import Place

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "streetdigits_watch"
_HOST = "127.0.0.1"


def text(status: Status | None) -> str:
    """Returns the status as Prometheus reads it (text format 0.0.4); empty without one."""
    return "".join(f"{line}\n" for line in _lines(status)) if status else ""


def serve(stream: Place, port: int) -> "subprocess.Popen[bytes]":
    """Starts the process that serves the status of a stream at http://127.0.0.1:PORT/metrics.

    Raises:
      UserError: Nothing can listen at the port.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(f"--metrics-port must be a free port of {_HOST} ({error.strerror}).", port) from error
    with listener:
        command = [sys.executable, "-m", __name__, str(stream), str(listener.fileno())]
        # Its standard input ends with the watcher, however that ends.
        return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])  # noqa: S603


def _lines(status: Status) -> Iterator[str]:
    if status.snapshot is not None:
        yield from _metric("snapshot", "Number of the newest snapshot.", status.snapshot)
    for name in ("batches", "pictures", "examples"):
        yield from _metric(name, f"Number of {name} in the newest snapshot.", getattr(status, name))
    yield from _metric("dead_letters", "Number of rejected pictures in the newest snapshot.", status.dead_letters)
    yield from _metric("refused_batches", "Number of refused batches.", status.refused)
    corrections = {"applied": status.corrections_applied, "not_found": status.corrections_not_found}
    yield from _metric("corrections", "Number of corrections that came.", corrections, "result")
    yield from _metric("pending_batches", "Number of batches that wait.", status.pending)
    yield from _metric("oldest_pending_seconds", "Time that the oldest of them waits.", status.oldest_pending_s)
    yield from _metric("pictures_per_second", "Speed of the last generations.", status.pictures_per_s)
    if status.latency_s:
        shares = {"0.5": status.latency_s.p50, "0.95": status.latency_s.p95}
        yield from _metric("latency_seconds", "Time from ready to committed, of the last batches.", shares, "quantile")
    yield from _metric("status_time_seconds", "Time when the watcher wrote its status, since 1970.", status.time)


def _metric(name: str, help: str, value: float | Mapping[str, float], label: str = "reason") -> Iterator[str]:
    """Yields the lines of a metric.

    Args:
      name: Name, without the prefix.
      help: Description.
      value: Value; or values by that of a label.
      label: Name of the label.
    """
    yield f"# HELP {_PREFIX}_{name} {help}"
    yield f"# TYPE {_PREFIX}_{name} gauge"
    if not isinstance(value, Mapping):
        yield f"{_PREFIX}_{name} {value}"
        return
    for key, each in value.items():
        yield f'{_PREFIX}_{name}{{{label}="{key}"}} {each}'


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request for /metrics with the status of now."""

    stream: Place

    def do_GET(self) -> None:
        """Answers."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        try:
            data = text(Status.load(self.stream)).encode()
        except (OSError, UserError) as error:
            self.send_error(503, explain=str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the watcher's output is for the stream."""


def main(stream: str, descriptor: int) -> None:
    """Serves until standard input ends.

    Args:
      stream: Stream.
      descriptor: Descriptor of a socket that listens.
    """
    _Handler.stream = Place(stream)
    server = http.server.ThreadingHTTPServer((_HOST, 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=descriptor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    # Ctrl-C in a terminal reaches this process too, but only the watcher answers it.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1], int(sys.argv[2]))
