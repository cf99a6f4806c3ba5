"""Files on any file system of Beam: local paths, gs://, s3://, hdfs://. Beam is imported when it is needed."""

import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files import publish as local
from tfrecords.files.publish import atomic_path
from tfrecords.flags import refuse_mistyped_address

_BUFFER_BYTES = 1 << 20
_SCHEME = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")
_UNCOMPRESSED = "uncompressed"
"""Beam's `CompressionTypes.UNCOMPRESSED`."""


def join(folder: str, name: str) -> str:
    """Returns the path of `name` in `folder`."""
    return str(Path(folder, name)) if is_local(folder) else str(_beam().join(folder, name))


def parent(path: str) -> str:
    """Returns the folder that holds a file."""
    return str(Path(path).parent) if is_local(path) else str(_beam().split(path)[0])


def is_local(path: str) -> bool:
    """Returns whether a path is on this machine; other paths have a scheme, as gs://."""
    return _SCHEME.match(path.strip()) is None


def check_file_system(path: str) -> None:
    """Checks that Beam has a file system for the scheme of `path`.

    Raises:
      UserError: Beam has none, or the path is an address with a slash too few.
    """
    refuse_mistyped_address(path)
    if is_local(path):
        return
    try:
        _beam().get_filesystem(path)
    except ValueError as error:
        rule = "A path must be local, or on a file system of Beam, as gs://, whose extra is installed."
        raise UserError(rule, path) from error


def exists(path: str) -> bool:
    """Returns whether there is a file or a folder at `path`."""
    return Path(path).exists() if is_local(path) else bool(_beam().exists(path))


def read_bytes(path: str) -> bytes:
    """Returns a file's bytes, without decompression.

    Raises:
      OSError: The file cannot be read, or is not a regular file.
    """
    if is_local(path):
        # Beam's local file system adds half a dozen calls per file: too many for small pictures.
        return read_local(path)
    with _beam().open(path, compression_type=_UNCOMPRESSED) as stream:
        return bytes(stream.read())


def read_local(path: str) -> bytes:
    """Returns a local file's bytes.

    Raises:
      OSError: The file cannot be read, or is not a regular file.
    """
    descriptor, size = _open_regular(path)
    try:
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def read_start(path: str, size: int) -> tuple[bytes, int]:
    """Returns the beginning of a local file, of up to `size` bytes, and the file's size in bytes.

    Raises:
      OSError: The file cannot be read, or is not a regular file.
    """
    descriptor, length = _open_regular(path)
    try:
        return os.read(descriptor, size), length
    finally:
        os.close(descriptor)


def _open_regular(path: str) -> tuple[int, int]:
    """Returns the descriptor and the size of a local file.

    Raises:
      OSError: The file cannot be opened, or is not a regular file.
    """
    # Non-blocking, since opening a pipe without a writer would wait. Bare calls, since a stream takes twice as long.
    descriptor = os.open(_encoded(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def _encoded(path: str) -> bytes:
    """Returns the bytes of a path; annotations may name letters that the locale lacks, and files are then UTF-8."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape")


def publish(path: str, chunks: Iterable[bytes], scratch: str) -> None:
    """Writes a file that appears complete or not at all: first in the folder `scratch`, then renamed.

    A local file is on the disk before it gets its name; `sync_names` waits for the name. A worker that outlives its
    killed job finds its scratch folder deleted, and writes nothing more.

    Args:
      path: Path of the file.
      chunks: Bytes of the file, in order.
      scratch: Existing folder for the unfinished file, on the same file system.

    Raises:
      UserError: The file cannot be written.
    """
    try:
        if is_local(path):
            with (
                atomic_path(Path(path), Path(scratch), wait_for_name=False) as temporary,
                temporary.open("wb", buffering=_BUFFER_BYTES) as stream,
            ):
                stream.writelines(chunks)
        else:
            _publish_remote(path, chunks, scratch)
    except OSError as error:
        raise UserError(f"{path} cannot be written.", error.strerror or error) from error


def _publish_remote(path: str, chunks: Iterable[bytes], scratch: str) -> None:
    """Does what `publish` does, through Beam."""
    temporary = join(scratch, f"{_beam().split(path)[1]}.{uuid.uuid4().hex}")
    try:
        with _beam().create(temporary, compression_type=_UNCOMPRESSED) as stream:
            stream.writelines(chunks)
        _beam().rename([temporary], [path])
    except OSError:
        delete([temporary])
        raise


def delete(paths: list[str]) -> None:
    """Deletes the files of `paths` that exist."""
    found = [path for path in paths if exists(path)]
    for path in filter(is_local, found):
        Path(path).unlink()
    if remote := [path for path in found if not is_local(path)]:
        _beam().delete(remote)


def sync_names(folder: str) -> None:
    """Waits until all that was published in, and deleted from, a local folder is so on the disk."""
    if is_local(folder):
        local.sync_names(Path(folder))


def list_names(folder: str) -> list[str]:
    """Returns the sorted names of the files directly in `folder`; none if there is no such folder."""
    if not exists(folder):
        return []
    if is_local(folder):
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    (match,) = _beam().match([join(folder, "*")])
    return sorted(_beam().split(entry.path)[1] for entry in match.metadata_list)


def list_folders(path: str) -> list[str]:
    """Returns the sorted names of the folders directly in a local folder."""
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))


def make_folder(path: str, lasting: bool = False) -> None:
    """Creates a folder and its parents if they do not exist; file systems other than the local one need none.

    Args:
      path: Path of the folder.
      lasting: Whether to wait until the names of new folders are on the disk.

    Raises:
      UserError: There is something else at `path`, or the folder cannot be created.
    """
    if is_local(path):
        try:
            local.make_folder(Path(path)) if lasting else Path(path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            rule = f"The output must be a folder, or a place for a new one ({error.strerror})."
            raise UserError(rule, path) from error


def delete_folder(path: str) -> None:
    """Deletes a folder and everything in it, if it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    (match,) = _beam().match([join(path, "**")])
    _beam().delete([entry.path for entry in match.metadata_list])


def _beam() -> Any:
    """Returns Beam's `FileSystems`. Its import takes seconds, which `prepare --help` would take too."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
