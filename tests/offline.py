"""Refuses what would leave this machine: a test that waits for the Internet is neither quick nor the same everywhere.

Connections to loopback, to this machine's own addresses and through Unix sockets pass. What libraries reach in C, and
other processes, is not seen here: `unshare --net` runs the tests without any network.
"""

import ipaddress
import socket
from typing import Any, cast

import pytest

attempts: list[str] = []
"""Hosts that were reached for, also where a library or a thread has swallowed the failure; a fixture asserts none."""
_get_addresses = socket.getaddrinfo
_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def refuse_other_machines() -> None:
    """Makes connections to other machines, and the look-up of their names, fail the test."""

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        _check(host)
        return _get_addresses(host, *args, **options)

    def connect(self: socket.socket, address: Any) -> None:
        _check_address(self, address)
        _connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _check_address(self, address)
        return _connect_ex(self, address)

    module, kind = vars(socket), cast("Any", socket.socket)
    module["getaddrinfo"], kind.connect, kind.connect_ex = look_up, connect, connect_ex


def _check_address(connecting: socket.socket, address: Any) -> None:
    # A datagram's socket sends nothing when it connects: that is how libraries find the address of this machine.
    if connecting.family in (socket.AF_INET, socket.AF_INET6) and connecting.type != socket.SOCK_DGRAM:
        _check(address[0], is_name=False)


def _check(host: str | bytes | None, is_name: bool = True) -> None:
    name = host.decode() if isinstance(host, bytes) else host or ""
    if is_local(name) or (is_name and _is_number(name)):  # to look up a number asks nobody
        return
    attempts.append(name)
    # No Exception: libraries would try again, with pauses, or find another way.
    pytest.fail(f"A test reaches for another machine: {name}")


def is_local(host: str) -> bool:
    """Returns whether a host is this machine: loopback or a name or address of its own; an empty one is, too."""
    name = host.partition("%")[0]
    if not _is_number(name):
        return name in ("", "localhost", socket.gethostname(), socket.getfqdn()) or name.endswith(".localhost")
    number = ipaddress.ip_address(name)
    return number.is_loopback or number.is_unspecified or name in _own_addresses()


def _own_addresses() -> set[str]:
    try:
        return {str(found[4][0]) for found in _get_addresses(socket.gethostname(), None)}
    except OSError:  # the machine's name is in no list
        return set()


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
