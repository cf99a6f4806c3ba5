"""Tests reach no other machine."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.loopback import serving
from tests.offline import attempts, is_local


@pytest.mark.parametrize("connect", [socket.socket.connect, socket.socket.connect_ex])
def test_a_connection_to_another_machine_fails_the_test(connect: Callable[[socket.socket, Any], Any]) -> None:
    with (
        socket.socket() as connecting,
        pytest.raises(pytest.fail.Exception, match=r"^A test reaches for another machine: 192\.0\.2\.1$"),
    ):
        connect(connecting, ("192.0.2.1", 80))
    assert attempts == ["192.0.2.1"]
    attempts.clear()


def test_the_look_up_of_a_name_is_enough_and_no_thread_hides_it() -> None:
    def look_up() -> None:
        with pytest.raises(pytest.fail.Exception):
            socket.getaddrinfo("example.org", 443)

    thread = threading.Thread(target=look_up)
    thread.start()
    thread.join()
    assert attempts == ["example.org"]
    attempts.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "::1%lo", "0.0.0.0", "localhost", "b.localhost", ""])
def test_this_machine_is_local(host: str) -> None:
    assert is_local(host)


def test_loopback_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({}, monkeypatch) as server:
        host, port = server.server_address[:2]
        with socket.create_connection((str(host), port), timeout=10) as connection:
            assert connection.getpeername() == (host, port)
        with socket.socket() as connection:
            assert connection.connect_ex((host, port)) == 0
