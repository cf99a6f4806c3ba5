"""The server of `tfrecords browse`: whom it answers and what, with which headers; and the command around it."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.loopback import TAKE_INTERRUPTS
from tests.scene_records import write_scenes
from tfrecords.__main__ import COMMANDS
from tfrecords.browse.server import Server, is_loopback
from tfrecords.cli import main
from tfrecords.errors import UserError

ROOT = Path(__file__).parents[1]
PAGE = "<p>\N{LATIN SMALL LETTER E WITH ACUTE}\ud800</p>"


def _answer(target: str) -> tuple[HTTPStatus, str]:
    if target == "/bug":
        raise RuntimeError("secret")
    if target == "/later":
        return HTTPStatus.SERVICE_UNAVAILABLE, "later"
    return HTTPStatus.OK, PAGE


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("127.0.0.1", 0, _answer) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: Server, method: str = "GET", target: str = "/", host: str | None = None) -> tuple[HTTPResponse, bytes]:
    port = server.server_address[1]
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, target, headers={"Host": host or f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        return answer, answer.read()


def test_a_page_forbids_the_browser_whatever_it_does_not_need(server: Server) -> None:
    answer, body = ask(server)
    assert (answer.status, body) == (200, "<p>\N{LATIN SMALL LETTER E WITH ACUTE}?</p>".encode())
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; ")
    assert "frame-ancestors 'none'" in policy and re.search(r"script-src 'sha256-[\w+/=]+'$", policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Server"].strip() == "streetdigits"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_head_has_the_headers_of_the_page_and_no_body(server: Server) -> None:
    answer, body = ask(server, "HEAD")
    assert answer.status == 200 and body == b"" and int(answer.headers["Content-Length"]) == len(PAGE) + 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_head_are_answered(method: str, server: Server) -> None:
    answer, _ = ask(server, method)
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True),
        ("LOCALHOST:9000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("attacker.example", False),
        ("attacker.example:8000", False),
        ("localhost.attacker.example", False),
        ("127.0.0.1.attacker.example", False),
        ("", False),
    ],
)
def test_only_names_that_cannot_be_rebound_are_answered(host: str, is_own: bool, server: Server) -> None:
    assert server.is_own_host(host) is is_own
    if host:
        answer, body = ask(server, host=host)
        assert answer.status == (200 if is_own else 421) and (is_own or b"answers to its own name" in body)


def test_a_request_that_is_none_is_refused_with_the_same_headers(server: Server) -> None:
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: localhost\r\n\r\n", b"421"),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
    ):
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                first = stream.readline()
                rest = stream.read()
        assert status in first, (request[:40], first)
        assert b"Content-Security-Policy: default-src 'none'" in rest and b"nonsense" not in rest.lower()


def test_a_bug_is_printed_and_not_shown(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    answer, body = ask(server, target="/bug")
    assert answer.status == 500 and b"secret" not in body
    assert "RuntimeError: secret" in capfd.readouterr().err


def test_a_page_that_is_not_ready_comes_by_itself(server: Server) -> None:
    answer, _ = ask(server, target="/later")
    assert answer.status == 503 and answer.headers["Refresh"] == "1"


def test_a_port_that_is_taken_is_named(server: Server) -> None:
    port = server.server_address[1]
    rule = rf"--port must be free; another program listens on it\. 0 takes any free one\. Received: {port}"
    with pytest.raises(UserError, match=rule):
        Server("127.0.0.1", port, _answer)
    with pytest.raises(
        UserError, match=r"--host must be a name or an address of this machine\. Received: 192\.0\.2\.1"
    ):
        Server("192.0.2.1", 0, _answer)


def test_hosts_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.7", "example.org")))


def test_the_command_serves_until_it_is_interrupted_and_warns_where_others_reach_it(tmp_path: Path) -> None:
    host = "0.0.0.0"
    photos = write_scenes(tmp_path / "photos")
    before = {path: path.stat().st_mtime_ns for path in photos.iterdir()}
    run = "from tfrecords.__main__ import COMMANDS; from tfrecords.cli import main; import sys"
    code = f"{TAKE_INTERRUPTS}; {run}; sys.exit(main('tfrecords', '', COMMANDS))"
    command = [sys.executable, "-c", code, "browse", str(photos), "--port", "0", "--host", host]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(rf"{re.escape(str(photos))}: http://{host}:(\d+)/ \(Ctrl-C ends it\)\n", line)
        assert found, line
        with contextlib.closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as connection:
            connection.request("GET", "/?text=19")
            answer = connection.getresponse()
            page = answer.read().decode()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert answer.status in (200, 503) and "photos" in page
    warned = [line for line in errors.splitlines() if "warning" in line]
    assert len(warned) == 1 and "anybody who reaches 0.0.0.0 can look" in warned[0] and process.returncode == 130
    assert rest == "" and errors.splitlines()[-1] == "stopped: interrupted" and "Traceback" not in errors
    assert {path: path.stat().st_mtime_ns for path in photos.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--port", "70000"], "--port must be 0..65535. Received: 70000"),
        (["--split", "train"], "--split is for a site, which --output names; a server has all splits."),
        (["--input", "gone"], "--input must be a folder of source pictures. Received: gone"),
        (["--suspects", "gone.parquet"], "gone.parquet: there is no such file of suspects."),
        (["--output", "made", "--seed", "-1"], "--seed must be at least 0. Received: -1"),
        (["--snapshot", "3"], "is no stream, and has no snapshots"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    options: list[str],
    rule: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "photos")
    assert main("tfrecords", "", COMMANDS, ["browse", "photos", *options]) == 1
    assert rule in capsys.readouterr().err
