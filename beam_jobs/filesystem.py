"""Local files by bare calls, in any locale; files of the output, in any place."""

import errno
import os
import re
import stat
from collections.abc import Iterable

from tfrecords.errors import UserError
from tfrecords.files import publish as local
from tfrecords.files.place import Place
from tfrecords.files.publish import atomic_path

_BUFFER_BYTES = 1 << 20
_BEAM_STORE_OPTION = re.compile("--(s3|hdfs|azure|blob_service)_")
"""Beginnings of the options of Beam's own file systems (2.77: S3Options, HadoopFileSystemOptions, AzureOptions)."""
_AZURE = "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
_ENVIRONMENT = {
    "s3": "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_DEFAULT_REGION",
    "hdfs": "HADOOP_HOME, CLASSPATH and HADOOP_USER_NAME, and the host in the address, as hdfs://HOST:PORT/records",
    "azure": _AZURE,
    "blob_service": _AZURE,
}
"""Variables of the environment that fsspec's file systems read, by the first words of Beam's options."""


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


def publish(place: Place, chunks: Iterable[bytes], scratch: Place) -> None:
    """Writes a file that appears complete or not at all.

    A local file is written in the folder `scratch` first, and is on the disk before it gets its name; `sync_names`
    waits for the name. A worker that outlives its killed job finds its scratch folder deleted, and writes nothing more.
    An object of a store is written to its place at once: it appears when its upload is complete.

    Args:
      place: Place of the file.
      chunks: Bytes of the file, in order; iterated again for another attempt.
      scratch: Existing folder for the unfinished file, on the same file system; not used in stores.

    Raises:
      UserError: The file cannot be written.
    """
    if place.is_remote:
        place.write(chunks)
        return
    try:
        with (
            atomic_path(place.path, scratch.path, wait_for_name=False) as temporary,
            temporary.open("wb", buffering=_BUFFER_BYTES) as stream,
        ):
            stream.writelines(chunks)
    except OSError as error:
        raise UserError(f"{place} cannot be written.", error.strerror or error) from error


def sync_names(folder: Place) -> None:
    """Waits until all that was published in, and deleted from, a local folder is so on the disk."""
    if not folder.is_remote:
        local.sync_names(folder.path)


def list_names(folder: Place) -> list[str]:
    """Returns the sorted names of all entries of a folder, hidden ones included; none if there is no such folder.

    Raises:
      UserError: It is a file, or its place cannot be read.
    """
    try:
        return [entry.name for entry in folder.entries(hidden=True)]
    except FileNotFoundError:
        return []
    except OSError as error:
        rule = f"The output must be a folder, or a place for a new one ({error.strerror})."
        raise UserError(rule, folder) from error


def make_folder(folder: Place, lasting: bool = False) -> None:
    """Creates a local folder and its parents if they do not exist; stores need none.

    Args:
      folder: Place of the folder.
      lasting: Whether to wait until the names of new folders are on the disk.

    Raises:
      UserError: There is something else at `folder`, or it cannot be created.
    """
    if folder.is_remote:
        return
    try:
        local.make_folder(folder.path) if lasting else folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = f"The output must be a folder, or a place for a new one ({error.strerror})."
        raise UserError(rule, folder) from error


def refuse_store_options(options: Iterable[str]) -> None:
    """Checks that none of Beam's options is one for its own file systems: nothing here goes through these.

    Args:
      options: Command-line options that are not those of the command.

    Raises:
      UserError: One is.
    """
    for option in options:
        if found := _BEAM_STORE_OPTION.match(option):
            rule = (
                f"Stores take their settings from the environment, not from Beam's options: {_ENVIRONMENT[found[1]]}."
            )
            raise UserError(rule, option)
