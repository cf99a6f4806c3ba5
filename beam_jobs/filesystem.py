"""Files on any of Beam's file systems: local paths, gs://, s3://, hdfs://."""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfrecords.errors import UserError

_BUFFER_BYTES = 1 << 20


def join(folder: str, name: str) -> str:
    """Returns the path of `name` in `folder`."""
    return str(FileSystems.join(folder, name))


def is_local(path: str) -> bool:
    """True for a path on this machine, False for one with a scheme."""
    return FileSystems.get_scheme(path) is None


def check_file_system(path: str) -> None:
    """Raises:
    UserError: Beam has no file system for the scheme of `path`.
    """
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise UserError(
            "A path must be local or of a file system that Beam has, as gs://, with its extra.", path
        ) from error


def exists(path: str) -> bool:
    return bool(FileSystems.exists(path))


def read_bytes(path: str) -> bytes:
    """Returns a file's bytes as they are.

    Raises:
      OSError: the file cannot be read, or is none: a pipe would never end.
    """
    if is_local(path):
        # Beam's local file system adds half a dozen calls a file: too many for small pictures.
        return read_local(path)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        return bytes(stream.read())


def read_local(path: str) -> bytes:
    """Returns a local file's bytes.

    Raises:
      OSError: as `read_bytes`.
    """
    # Not to wait: opening a pipe that nobody writes to would. Bare calls: a stream takes twice as long.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        data = os.read(descriptor, status.st_size)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def publish(path: str, chunks: Iterable[bytes], scratch: str) -> None:
    """Writes a file so that `path` never holds a part of it: into the folder `scratch` first, then renamed.

    A worker that outlives its killed job finds its scratch folder gone, and writes nothing more.

    Raises:
      UserError: it cannot be written.
    """
    temporary = join(scratch, f"{FileSystems.split(path)[1]}.{uuid.uuid4().hex}")
    try:
        if is_local(path):
            with Path(temporary).open("wb", buffering=_BUFFER_BYTES) as stream:
                stream.writelines(chunks)
            Path(temporary).replace(path)
            return
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            stream.writelines(chunks)
        FileSystems.rename([temporary], [path])
    except OSError as error:
        delete([temporary])
        raise UserError(f"{path} cannot be written.", error.strerror or error) from error


def delete(paths: list[str]) -> None:
    """Deletes the files that exist of `paths`."""
    FileSystems.delete([path for path in paths if exists(path)])


def list_names(folder: str) -> list[str]:
    """Returns the names of the files directly in `folder`, sorted; none where there is no such folder."""
    if not exists(folder):
        return []
    (match,) = FileSystems.match([join(folder, "*")])
    return sorted(FileSystems.split(entry.path)[1] for entry in match.metadata_list)


def list_folders(path: str) -> list[str]:
    """Returns the names of the folders directly in a local folder, sorted."""
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))


def make_folder(path: str) -> None:
    """Makes a folder and its parents where they do not exist; other file systems need none.

    Raises:
      UserError: something else stands there, or it cannot be made.
    """
    if is_local(path):
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            rule = f"It must be a folder, or a place where one can be made ({error.strerror})."
            raise UserError(rule, path) from error


def delete_folder(path: str) -> None:
    """Deletes a folder and all in it, where it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    (match,) = FileSystems.match([join(path, "**")])
    FileSystems.delete([entry.path for entry in match.metadata_list])
