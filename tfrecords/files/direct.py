"""Ranges of objects in S3, received by the thread that asks for them instead of s3fs's event loop.

s3fs receives all answers of a process in one thread, in pieces of at most 256 KiB that Python joins. botocore, on which
s3fs is built, receives a range into one buffer, outside the interpreter's lock, so that other threads decode meanwhile:
214 MB from a server in memory took 0.06 to 0.12 s of processor time rather than 0.16 to 0.24 s.

Everything else is left to s3fs. A range that does not come at the first attempt is s3fs's to read, with its retries and
errors, and so are all of that bucket for a minute. Settings of fsspec's own (`FSSPEC_S3_...`, `~/.config/fsspec`) are
s3fs's alone: where there are any, nothing is read here.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

_PAUSE_S = 60.0
"""Time for which s3fs alone reads a bucket after a failure here, seconds."""
_CONNECTIONS = 32
"""Connections to keep; `blocks` and `ahead` have at most 20 threads."""
_log = logging.getLogger(__name__)
_clients: list[tuple["weakref.ref[Any]", Any]] = []
"""The client of the process, and the file system that it belongs to. A fork has another file system, so another client:
connections are not shared."""
_paused: dict[str, float] = {}
"""Buckets that s3fs reads, and until when."""
_lock = threading.Lock()


def read_range(system: Any, target: str, start: int, stop: int) -> bytes | None:
    """Returns a range of an object, or None where its file system is to read it.

    Args:
      system: fsspec's file system of the object.
      target: Address as the file system takes it.
      start: Offset of the first byte.
      stop: Offset after the last byte, above `start`.
    """
    if "s3" not in system.protocol or _has_settings():
        return None
    bucket, key, version = system.split_path(target)
    if time.monotonic() < _paused.get(bucket, 0.0):
        return None
    try:
        client = _client(system)
        wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{stop - 1}"}
        with client.get_object(**wanted, **({"VersionId": version} if version else {}))["Body"] as body:
            data = cast(bytes, body.read())
    except Exception as error:  # botocore's and urllib3's; s3fs meets the same, and its errors are known
        answer = getattr(error, "response", None) or {}
        if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
            return None
        _paused[bucket] = time.monotonic() + _PAUSE_S
        _log.debug("s3fs reads %s for %g s, after: %s", bucket, _PAUSE_S, error)
        return None
    return data


def _has_settings() -> bool:
    from fsspec.config import conf

    return bool(conf.get("s3") or conf.get("s3a"))


def _client(system: Any) -> Any:
    """Returns the client next to a file system."""
    with _lock:
        if _clients and _clients[0][0]() is system:
            return _clients[0][1]
        client = _make_client(system)
        _clients[:] = [(weakref.ref(system), client)]
        return client


def _make_client(system: Any) -> Any:
    from botocore.config import Config
    from botocore.session import get_session

    session = get_session()
    if system.session:
        # It has read botocore's descriptions of S3: 9 ms and 0.5 MB rather than 57 ms and 18 MB.
        session.register_component("data_loader", system.session.get_component("data_loader"))
    config = Config(
        connect_timeout=system.connect_timeout,
        read_timeout=system.read_timeout,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},
    )
    make: Callable[..., Any] = session.create_client
    return make("s3", config=config)


def _renew() -> None:
    """Makes the lock this process's own: at the fork another thread may have held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew)
