"""Files at addresses, through fsspec, whose file systems bring their own credentials."""

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from tfrecords.errors import UserError


def file_system(address: str) -> Any:
    """Returns fsspec's file system for an address.

    Raises:
      UserError: fsspec is not installed, or it or its file system cannot reach the address.
    """
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise UserError("Remote files need fsspec: pip install 'streetdigits[remote]'.", address) from error
    try:
        return fsspec.url_to_fs(address)[0]
    except (ImportError, ValueError) as error:
        raise UserError(f"fsspec cannot reach {address}.", error) from error


def is_file(address: str) -> bool:
    """Returns whether there is a file at an address."""
    return bool(file_system(address).isfile(address))


def is_dir(address: str) -> bool:
    """Returns whether there is a folder at an address."""
    return bool(file_system(address).isdir(address))


def entries(address: str) -> list[tuple[str, bool]]:
    """Returns the name of each entry of a folder, and whether it is a folder."""
    listed = file_system(address).ls(address, detail=True)
    return [(posixpath.basename(each["name"].rstrip("/")), each["type"] == "directory") for each in listed]


def walk(address: str) -> list[str]:
    """Returns the relative path of every file below an address."""
    system = file_system(address)
    root = system._strip_protocol(address).rstrip("/") + "/"
    return [name.removeprefix(root) for name in system.find(address)]


def read_bytes(address: str) -> bytes:
    """Returns the content of the file at an address."""
    return cast(bytes, file_system(address).cat_file(address))


def open_file(address: str) -> BinaryIO:
    """Opens the file at an address for reading."""
    return cast(BinaryIO, file_system(address).open(address, "rb"))


@contextmanager
def copied(address: str) -> Iterator[Path]:
    """Yields the path of a temporary copy of the file at an address."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, posixpath.basename(address))
        file_system(address).get_file(address, str(path))
        yield path
