"""Files at addresses, through fsspec, whose file systems bring their own credentials.

fsspec for all that is read, rather than Beam's file systems in workers. Beam 2.77 makes a new boto3 client for each
object of S3 that it opens: 40 pictures took more than a minute where fsspec and boto3 read some 100/s (moto's server on
loopback, a busy machine). fsspec also reads https://, and takes credentials and endpoints from the platform's
environment, where Beam's S3 wants options of the pipeline.

Every call looks its file system up, since a connection and the thread that serves it must not cross a fork; fsspec
keeps one for each process. Listings are never kept, since another process may write the files that are waited for.
"""

import contextlib
import datetime
import errno
import os
import re
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from tfrecords.errors import UserError
from tfrecords.files import direct, google_store, remote_errors
from tfrecords.files.remote_errors import WEB, ShortReadError, bucket_of, scheme_of
from tfrecords.files.waiting import answered, awaiting, has_answered

_T = TypeVar("_T")
_PAUSES_S = (0.2, 1.0, 4.0)
"""Pauses between attempts, seconds; the error of the attempt after the last one is raised."""
_TIMEOUT_S = 30.0
"""Longest time to wait for a connection and for the next bytes, seconds. A long file may take longer."""
MAX_WEB_BYTES = 1 << 30
"""Longest file at an https:// address that `read_bytes` takes into memory: a table's URLs may lead anywhere."""
_PACKAGES = {
    "s3": "s3fs: pip install 'streetdigits[s3]'",
    "s3a": "s3fs: pip install 'streetdigits[s3]'",
    "gs": "gcsfs: pip install 'streetdigits[gcs]'",
    "gcs": "gcsfs: pip install 'streetdigits[gcs]'",
    "http": "aiohttp: pip install 'streetdigits[remote]'",
    "https": "aiohttp: pip install 'streetdigits[remote]'",
    "abfs": "adlfs: pip install adlfs",
    "az": "adlfs: pip install adlfs",
}
_unreachable: dict[str, str] = {}
"""Hosts that `read_linked` could not reach, each with the reason."""
_VERSIONS = ("ETag", "etag", "generation", "LastModified", "mtime", "last_modified", "modificationTime", "created")
"""What the file systems of s3fs, gcsfs, adlfs, and fsspec's of HTTP, HDFS and memory state of a file's version."""
_first_use = threading.RLock()
"""Held while a file system is looked up."""
_STRAY_PERCENT = re.compile("%(?![0-9a-fA-F]{2})")


def file_system(address: str) -> Any:
    """Returns fsspec's file system for an address, the same one for each bucket in a process.

    Raises:
      UserError: fsspec or the package of its file system is not installed, or it has none for the address.
    """
    # Threads that import fsspec, s3fs and what these need at the same time may meet a module that is half imported.
    with _first_use:
        return _file_system(address)


def _file_system(address: str) -> Any:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise UserError("Remote files need fsspec: pip install 'streetdigits[remote]'.", address) from error
    scheme = scheme_of(address)
    try:
        # By the bucket: in a complete address fsspec gives `::` and `?` meanings of their own.
        return fsspec.url_to_fs(bucket_of(address), **_options(scheme))[0]
    except UserError:
        raise
    except ImportError as error:
        needs = _PACKAGES.get(scheme)
        rule = f"{scheme}:// needs {needs}." if needs else f"fsspec cannot reach {address}."
        raise UserError(rule, address if needs else error) from error
    except ValueError as error:
        raise UserError(f"fsspec cannot reach {address}.", error) from error
    except Exception as error:  # each library has its own, as for a Hadoop that is not there
        raise remote_errors.explain(error, address) from error


def _renew() -> None:
    """Makes the lock this process's own: at the fork another thread may have held it."""
    global _first_use
    _first_use = threading.RLock()


os.register_at_fork(after_in_child=_renew)


def _options(scheme: str) -> dict[str, Any]:
    """Returns the options of a scheme's file system; equal ones give the same file system."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        # With more, s3fs asks for each object's size first: twice the requests (70/s rather than 108/s on loopback).
        options["max_concurrency"] = 1
    if scheme in google_store.SCHEMES:
        options |= google_store.options(scheme)
    if scheme in WEB:
        options |= {"encoded": True, "get_client": _web_client}
    return options


async def _web_client(**options: Any) -> Any:
    """Returns an aiohttp session with time-outs, the environment's proxies and a limit on what is read at once."""
    import aiohttp

    class Limited(aiohttp.ClientResponse):
        """Answer whose body is not read into memory beyond a limit."""

        async def read(self) -> bytes:
            """Returns the body."""
            chunks, size = [], 0
            async for chunk in self.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_WEB_BYTES:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self.url))
            return b"".join(chunks)

    wait = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT_S, sock_read=_TIMEOUT_S)
    return aiohttp.ClientSession(timeout=wait, trust_env=True, response_class=Limited, **options)


def _target(address: str) -> str:
    """Returns an address as its file system takes it: one of the web with its letters percent-encoded."""
    if scheme_of(address) not in WEB:
        return address
    parts = urllib.parse.urlsplit(address)
    if not parts.netloc.isascii():
        parts = parts._replace(netloc=parts.netloc.encode("idna").decode())
    text = _STRAY_PERCENT.sub("%25", urllib.parse.urlunsplit(parts._replace(fragment="")))
    return urllib.parse.quote(text, safe="%/:?[]@!$&'()*+,;=~")


def attempt(address: str, work: Callable[[Any, str], _T], done: str) -> _T:
    """Returns what work on an address returns, after further attempts if an error may pass.

    Args:
      address: Address to work on.
      work: Function of the file system and the address as that takes it.
      done: What the work does to the address, for errors: read, written, deleted.

    Raises:
      OSError: The file is missing, or it alone is at fault.
      UserError: The place as a whole cannot be read or written.
    """
    for pause in (*_PAUSES_S, None):
        try:
            with awaiting(address):
                result = work(file_system(address), _target(address))
            answered(address)
            return result
        except Exception as error:  # each library has its own
            if isinstance(error, FileNotFoundError):
                error = _missing(address, error)
            if pause is None or not remote_errors.may_pass(error, address):
                raise remote_errors.explain(error, address, done) from error
        time.sleep(pause)
    raise AssertionError


def _missing(address: str, error: FileNotFoundError) -> FileNotFoundError:
    """Returns the error of what is missing: gcsfs's own does not say of a file whether its bucket is there."""
    if scheme_of(address) in google_store.SCHEMES and not has_answered(address):
        try:
            file_system(address).info(_target(address))
        except FileNotFoundError as closer:
            error = closer
        except Exception:  # noqa: S110  (it was to say more of the first error)
            pass
    answered(address)
    return error


def _attempt(address: str, work: Callable[[Any, str], _T]) -> _T:
    """Does what `attempt` does, for work that reads."""
    return attempt(address, work, "read")


def is_file(address: str) -> bool:
    """Returns whether there is a file at an address."""
    if scheme_of(address) in WEB:
        try:
            return _attempt(address, lambda system, target: bool(system.exists(target, strict=True)))
        except OSError:
            return False
    return _kind(address) == "file"


def exists(address: str) -> bool:
    """Returns whether there is a file or a folder at an address."""
    return is_file(address) if scheme_of(address) in WEB else _kind(address) is not None


def is_dir(address: str) -> bool:
    """Returns whether there is a folder at an address; servers of the web have none."""
    return scheme_of(address) not in WEB and _kind(address) == "directory"


def _kind(address: str) -> str | None:
    """Returns `file` or `directory`, or None if there is neither."""
    try:
        return _attempt(address, lambda system, target: str(system.info(target)["type"]))
    except OSError:
        return None


def entries(address: str) -> list[tuple[str, bool]]:
    """Returns the name of each entry of a folder, and whether it is a folder.

    Raises:
      OSError: There is no such folder.
      UserError: The place as a whole cannot be read.
    """
    _refuse_web(address)
    root, listed = _attempt(address, lambda system, target: (_root(system, target), system.ls(target, detail=True)))
    inside = [(_below(each["name"], root), each["type"] == "directory") for each in listed]
    _check_folder(address, [name for name, _ in inside])
    return [(name.rstrip("/"), is_folder) for name, is_folder in inside if name]


def walk(address: str) -> list[str]:
    """Returns the relative path of every file below an address.

    Raises:
      OSError: There is no such folder.
      UserError: The place as a whole cannot be read.
    """
    _refuse_web(address)
    root, found = _attempt(address, lambda system, target: (_root(system, target), system.find(target)))
    names = [_below(name, root) for name in found]
    _check_folder(address, names)
    # A store's console makes a folder by an empty object whose name ends in a slash.
    return [name for name in names if name and not name.endswith("/")]


def versions_below(address: str) -> dict[str, tuple[int, str]]:
    """Returns the size and the version, as `version` has them, of every file below an address, by relative path.

    Raises:
      OSError: There is no such folder.
      UserError: The place as a whole cannot be read.
    """
    _refuse_web(address)
    root, found = _attempt(
        address, lambda system, target: (_root(system, target), system.find(target, detail=True).values())
    )
    by_name = {_below(each["name"], root): each for each in found}
    _check_folder(address, list(by_name))
    return {
        name: (int(each.get("size") or 0), _version(each))
        for name, each in by_name.items()
        if name and not name.endswith("/")
    }


def _refuse_web(address: str) -> None:
    if scheme_of(address) in WEB:
        raise UserError("An https:// address must be a file: it has no listing of a folder.", address)


def _root(system: Any, target: str) -> str:
    """Returns an address as a file system's listings have it."""
    return cast(str, system._strip_protocol(target)).rstrip("/")


def _below(name: str, root: str) -> str:
    """Returns the path of a listed name below the listed folder: empty for the folder itself."""
    return "" if name == root else name.removeprefix(f"{root}/")


def stated(address: str) -> dict[str, tuple[int | None, float | None]]:
    """Returns the size and the time of the last change of every file directly in a folder, as a listing states them.

    Raises:
      UserError: The place as a whole cannot be read.
    """
    try:
        root, listed = _attempt(address, lambda system, target: (_root(system, target), system.ls(target, detail=True)))
    except OSError:
        return {}
    return {_below(each["name"], root): (each.get("size"), _changed(each)) for each in listed if each["type"] == "file"}


def _changed(entry: dict[str, Any]) -> float | None:
    """Returns the time of a listed file's last change, seconds since 1970, on the clock of the place; None if unknown.

    s3fs calls it LastModified, adlfs last_modified, fsspec's others mtime or created, as numbers, dates or ISO 8601.
    """
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def _check_folder(address: str, names: list[str]) -> None:
    """Checks that a listing is a folder's: that of a file is the file, and that of nothing may be empty.

    Raises:
      OSError: It is not.
    """
    if names in ([], [""]):
        kind = _kind(address)
        if kind != "directory":
            number = errno.ENOTDIR if kind else errno.ENOENT
            raise OSError(number, os.strerror(number), address)


def read_bytes(address: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Returns the content of the file at an address, or a range of it.

    Args:
      address: Address of the file.
      start: Offset of the first byte; None for the first one.
      stop: Offset after the last byte; None for the end of the file.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """
    if start is None and stop is None:
        return _attempt(address, lambda system, target: cast(bytes, system.cat_file(target)))

    def read(system: Any, target: str) -> bytes:
        if start is not None and stop is not None and start < stop:
            found = direct.read_range(system, target, start, stop)
            if found is not None:
                return found
        # By name: s3fs has a version of the object in the place that other file systems have the start in.
        return cast(bytes, system.cat_file(target, start=start, end=stop))

    data = _attempt(address, read)
    # A server of the web may answer a request for a range with all of the file (RFC 9110, section 14.2).
    ignored = start is not None and stop is not None and len(data) > stop - start
    return data[start:stop] if ignored else data


def read_linked(address: str) -> bytes:
    """Returns the content of the file at an address that a table or the like holds, next to those of other hosts.

    One host that is gone, or one file that its server fails on, is no reason to end a job: after the attempts it is an
    error of this file. A host that could not be reached is not tried again, which would take long, in this process.

    Raises:
      OSError: The file is missing, or cannot be read.
      UserError: No other file could be read either: a wrong bucket, no network, or a server that asks for a pause.
    """
    host = bucket_of(address)
    if host in _unreachable:
        raise OSError(errno.EHOSTUNREACH, _unreachable[host], address)
    try:
        return read_bytes(address)
    except UserError as error:
        reason = remote_errors.own_fault(error.__cause__, address)
        if reason is None:
            raise
        if remote_errors.never_connects(error.__cause__, address):
            _unreachable[host] = reason
        raise OSError(errno.EIO, reason, address) from error


def size(address: str) -> int:
    """Returns the size of the file at an address, bytes.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """
    return _attempt(address, lambda system, target: int(system.size(target)))


def version(address: str) -> tuple[int, str]:
    """Returns the size of the file at an address, bytes, and a text that differs when the file was replaced.

    The text is what the place states of the file: an ETag, a generation, or times; empty where it states nothing.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """
    found = _attempt(address, lambda system, target: cast(dict[str, Any], system.info(target)))
    if found["type"] != "file":
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), address)
    if found["size"] is None:
        raise UserError("A server must state the size of a file that is read in parts.", address)
    return int(found["size"]), _version(found)


def _version(entry: dict[str, Any]) -> str:
    """Returns what a place states of the version of a file."""
    return " ".join(f"{entry[key]}" for key in _VERSIONS if entry.get(key))


def download(address: str, path: Path) -> None:
    """Copies the file at an address to a local path.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """

    def copy(system: Any, target: str) -> None:
        # Servers of the web need not state a size; aiohttp compares what arrives with what they state.
        expected = None if scheme_of(address) in WEB else system.size(target)
        answered(address)  # the content may take long
        system.get_file(target, str(path))
        received = path.stat().st_size
        if expected is not None and received != expected:
            raise ShortReadError(address, received, expected)

    _attempt(address, copy)


def open_file(address: str) -> BinaryIO:
    """Opens a copy of the file at an address for reading; the copy goes when it is closed, or with the process.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """
    with copied(address, "copy") as path:
        return path.open("rb")


@contextmanager
def copied(address: str, name: str) -> Iterator[Path]:
    """Yields the path of a temporary copy of the file at an address.

    Args:
      address: Address of the file.
      name: Name of the copy.

    Raises:
      OSError: The file is missing, or it alone cannot be read.
      UserError: The place as a whole cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        download(address, path)
        yield path
