"""Stores that do not answer: a name that does not resolve is an error soon, anything else is said while it is awaited.

The libraries of stores try again by themselves, without a word: without a network s3fs for 16 s and gcsfs for 35 s.
Neither lets itself be told for how long. Once a bucket has answered, nothing here costs anything.
"""

import os
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tfrecords.errors import UserError
from tfrecords.files import google_store
from tfrecords.files.remote_errors import bucket_of, scheme_of

_PATIENCE_S = 5.0
"""Time without an answer after which a line says so, seconds."""
_PAUSES_S = (0.5, 1.5)
"""Pauses between attempts to resolve a name, seconds."""
_CONNECT_S = 3.0
_PORTS = {"http": 80, "https": 443}
_answered: set[str] = set()
"""Buckets that have answered in this process, or in the one that it was forked from."""


def answered(address: str) -> None:
    """Notes that the bucket of an address has answered: whatever it said, it is reached."""
    _answered.add(bucket_of(address))


def has_answered(address: str) -> bool:
    """Returns whether the bucket of an address has answered."""
    return bucket_of(address) in _answered


@contextmanager
def awaiting(address: str) -> Iterator[None]:
    """Prints a line on standard error, once, if the bucket of an address has not answered after some seconds.

    Raises:
      UserError: The name of the store's host does not resolve, now and some seconds later.
    """
    bucket = bucket_of(address)
    endpoint = None if has_answered(address) else _endpoint(scheme_of(address))
    if endpoint is None or not _import(scheme_of(address)):
        yield
        return
    _check_name(bucket, endpoint)
    timer = threading.Timer(_PATIENCE_S, _say, (bucket, endpoint))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _import(scheme: str) -> bool:
    """Imports the file system of a scheme: seconds on a busy machine, in which nobody has been asked yet.

    Returns:
      Whether it is installed; whoever uses it says what is not.
    """
    if scheme in google_store.SCHEMES:
        google_store.before_import()
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        return False
    return True


def _say(bucket: str, endpoint: str) -> None:
    if bucket in _answered:
        return
    reason = _fault(endpoint)
    if bucket not in _answered:
        text = f"{bucket} does not answer yet{f': {reason}' if reason else ''}; trying again"
        print(text, file=sys.stderr, flush=True)


def _endpoint(scheme: str) -> str | None:
    """Returns the URL of a store's server; without a host where botocore alone can say it; None for another place."""
    if scheme in google_store.SCHEMES:
        named = _configured(scheme, "endpoint_url") or google_store.emulator()
        universe = os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN") or "googleapis.com"
        return named or f"https://storage.{universe}"
    if scheme in ("s3", "s3a"):
        named = _configured(scheme, "endpoint_url")
        return named or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://"
    return None


def _configured(scheme: str, name: str) -> str | None:
    """Returns an option of fsspec's configuration, `FSSPEC_S3_ENDPOINT_URL`."""
    try:
        # Not from `sys.modules`: another thread may be importing it.
        from fsspec.config import conf
    except ImportError:
        return None
    value = conf.get(scheme, {}).get(name)
    return value if isinstance(value, str) else None


def _host(endpoint: str) -> tuple[str, int] | None:
    """Returns the host and the port that this machine connects to itself; None if they are unknown or a proxy's."""
    try:
        parts = urllib.parse.urlsplit(endpoint)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not host or not port:
        return None
    proxies = urllib.request.getproxies()
    is_proxied = (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(host)
    return None if is_proxied else (host, port)


def _check_name(bucket: str, endpoint: str) -> None:
    """Checks that the name of a store's host resolves.

    Raises:
      UserError: It does not.
    """
    target = _host(endpoint)
    if target is None:
        return
    for pause in (*_PAUSES_S, None):
        try:
            socket.getaddrinfo(*target, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if pause is None:
                rule = f"{bucket} cannot be reached: is there a network, and is the name of the host right?"
                raise UserError(rule, f"{target[0]}: {error.strerror}") from error
            time.sleep(pause)
        except (OSError, UnicodeError):  # whatever it is, the library says it better
            return
        else:
            return


def _fault(endpoint: str) -> str | None:
    """Returns why a connection to a server fails; None if it does not, or nobody can say."""
    target = _host(endpoint)
    if target is None:
        return None
    try:
        socket.create_connection(target, timeout=_CONNECT_S).close()
    except TimeoutError:
        return f"{target[0]} does not accept a connection within {_CONNECT_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return None
