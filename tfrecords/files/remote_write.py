"""Files that are written to addresses and deleted there, through fsspec.

s3fs and gcsfs retry by themselves what passes: s3fs 2026.9 five times with pauses of 0.1 to 0.9 s, and botocore below
it up to five times more: statuses 500 to 504, SlowDown, resets, time-outs (15 s), and the error that S3 puts into the
200 of a CompleteMultipartUpload. `tests/test_tfrecords_files_remote_write.py` makes each of them.
"""

import contextlib
import errno
import glob
import itertools
import os
import posixpath
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.remote import attempt
from tfrecords.files.remote_errors import WEB, bucket_of, scheme_of

_ATOMIC = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory", "oci", "oss", "obs"))
"""Schemes of object stores: an object appears when its upload is complete."""
_AMAZON = frozenset(("s3", "s3a"))
"""Schemes of stores that delete many files in a request, and that replace a file only if it is the one expected."""
_BULK_FILES = 1000
"""Files that one request may delete."""
_LARGE_BYTES = 64 << 20
"""Size from which on a file is sent in parts. One request for a smaller one, which needs a copy of it in memory."""
_PART_BYTES = 32 << 20
"""Size of a part. S3 takes 5 MiB to 5 GiB, and up to 10,000 of them: files of up to 320 GB."""
_UNFINISHED = ".partial-"
_FIRST_CAME_ANOTHER = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "412", "409"))
"""Codes of S3's answers to a conditional request where another writer was first."""


def write(address: str, chunks: Iterable[bytes]) -> None:
    """Writes the file at an address; it appears complete or not at all, and replaces one that is there.

    A large one is sent in parts as it comes. Parts of an upload that fails are deleted.

    Args:
      address: Address of the file.
      chunks: Bytes of the file, in order; iterated once more for each further attempt.

    Raises:
      UserError: The place cannot be written.
    """
    refuse_web(address)
    send = _send if scheme_of(address) in _ATOMIC else _send_and_rename
    bugs: list[Exception] = []

    def guarded() -> Iterator[bytes]:
        try:
            yield from chunks
        except Exception as error:
            bugs.append(error)
            raise

    try:
        attempt(address, lambda system, target: send(system, target, guarded()), "written")
    except (OSError, UserError) as error:
        if bugs:  # of whoever makes the chunks, and not of the place
            raise bugs[-1] from None
        if isinstance(error, UserError):
            raise
        raise UserError(f"{address} cannot be written.", error.strerror or error) from error


def create(address: str, data: bytes) -> bool:
    """Writes the file at an address unless there is one; returns whether it was written.

    S3 and Google's store decide it themselves (`If-None-Match`, a generation of 0), so that one of several writers
    creates the file. Where a store knows no such condition, two writers of the same moment may both succeed.

    Args:
      address: Address of the file.
      data: Content of the file.

    Raises:
      UserError: The place cannot be written.
    """
    refuse_web(address)

    def work(system: Any, target: str) -> bool:
        try:
            system.pipe_file(target, data, mode="create")
        except FileExistsError:
            return False
        except (NotImplementedError, ValueError, OSError) as error:
            # S3's 409, for another writer of the same moment, and the 412 of servers that name no condition in it.
            if _has_lost(error) and system.exists(target):
                return False
            # s3fs's error for a server of S3's protocol that knows no conditions, which answers NotImplemented.
            if isinstance(error, OSError) and error.errno != errno.ENOSYS:
                raise
            if system.exists(target):
                return False
            system.pipe_file(target, data)
        return True

    try:
        return attempt(address, work, "written")
    except OSError as error:
        raise UserError(f"{address} cannot be written.", error.strerror or error) from error


def replace(address: str, old: bytes, new: bytes) -> bool:
    """Writes the file at an address if its content is `old`; returns whether it was written.

    S3 decides it itself (`If-Match`), so that nothing is replaced that another writer has written since. On other
    stores such a writer of the same moment may be overwritten. False may also mean that an attempt was made whose
    answer was lost.

    Args:
      address: Address of the file.
      old: Content that the file must have.
      new: Content that it gets.

    Raises:
      UserError: The place cannot be written.
    """
    refuse_web(address)

    def work(system: Any, target: str) -> bool:
        found = system.info(target)
        if system.cat_file(target) != old:
            return False
        condition = {"IfMatch": found["ETag"]} if scheme_of(address) in _AMAZON and found.get("ETag") else {}
        try:
            system.pipe_file(target, new, **condition)
        except OSError as error:
            if not condition:
                raise
            if isinstance(error, FileNotFoundError) or _has_lost(error):
                return False
            if error.errno != errno.ENOSYS:
                raise
            system.pipe_file(target, new)
        return True

    try:
        return attempt(address, work, "written")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{address} cannot be written.", error.strerror or error) from error


def _has_lost(error: Exception) -> bool:
    """Returns whether S3 has not met a condition, since another writer was first."""
    answer = getattr(error.__cause__, "response", None)
    return isinstance(answer, dict) and answer.get("Error", {}).get("Code") in _FIRST_CAME_ANOTHER


def delete(address: str) -> None:
    """Deletes the file at an address, if there is one.

    Raises:
      UserError: The place cannot be written.
    """
    refuse_web(address)
    with contextlib.suppress(FileNotFoundError):
        attempt(address, lambda system, target: system.rm_file(target), "deleted")


def delete_all(addresses: list[str]) -> None:
    """Deletes the files at addresses of one bucket, those that are there; S3 takes 1,000 in a request.

    Raises:
      UserError: The place cannot be written.
    """
    if addresses and scheme_of(addresses[0]) in _AMAZON:
        keys = [address.removeprefix(f"{bucket_of(address)}/") for address in addresses]
        attempt(addresses[0], lambda system, _: _delete_keys(system, bucket_of(addresses[0]), keys), "deleted")
        return
    for address in addresses:
        delete(address)


def delete_folder(address: str) -> None:
    """Deletes every file below an address.

    Raises:
      UserError: The place cannot be written.
    """
    refuse_web(address)
    bucket = bucket_of(address)

    def work(system: Any, target: str) -> None:
        if scheme_of(address) in _AMAZON:
            folder = f"{address.removeprefix(bucket).strip('/')}/".lstrip("/")
            found = (name.partition("/")[2] for name in system.find(target))
            _delete_keys(system, bucket, [key for key in found if key.startswith(folder)])
        elif not glob.has_magic(target):
            system.rm(target, recursive=True)
        else:  # fsspec takes a name with * ? [ for a pattern
            for name in system.find(target):
                system.rm_file(name)

    with contextlib.suppress(FileNotFoundError):
        attempt(address, work, "deleted")


def _delete_keys(system: Any, bucket: str, keys: list[str]) -> None:
    """Deletes objects of a bucket of S3.

    Raises:
      OSError: One may not be deleted. S3 answers with 200 all the same, of which s3fs's own `rm` says nothing (2026.9).
    """
    for start in range(0, len(keys), _BULK_FILES):
        wanted = {"Objects": [{"Key": key} for key in keys[start : start + _BULK_FILES]], "Quiet": True}
        answer = system.call_s3("delete_objects", Bucket=bucket.partition("://")[2], Delete=wanted)
        for error in answer.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":
                kind = PermissionError if error.get("Code") == "AccessDenied" else OSError
                raise kind(errno.EACCES, f"{error.get('Key')}: {error.get('Message') or error.get('Code')}")


def abort_uploads(address: str) -> int:
    """Deletes the parts of uploads directly to a folder that were never completed, as of a process that was killed.

    Only S3 keeps, and charges for, such parts for good. Where it may not be asked for them, nothing is done.

    Returns:
      The number of uploads.

    Raises:
      UserError: The place cannot be written.
    """
    if scheme_of(address) not in _AMAZON:
        return 0

    def work(system: Any, target: str) -> int:
        bucket, key, _ = system.split_path(target)
        prefix = f"{key}/" if key else ""
        try:
            found = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads", [])
        except (PermissionError, NotImplementedError):
            return 0
        # Those of folders in it, as of other datasets in a bucket, may be at work.
        ours = [each for each in found if each["Key"].startswith(prefix) and "/" not in each["Key"][len(prefix) :]]
        for upload in ours:
            with contextlib.suppress(FileNotFoundError):
                system.abort_mpu(bucket, upload["Key"], upload["UploadId"])
        return len(ours)

    return attempt(address, work, "written")


def appears_complete(address: str) -> bool:
    """Returns whether a file at an address appears when it is complete, whoever writes it: in object stores."""
    return scheme_of(address) in _ATOMIC


def refuse_web(address: str) -> None:
    """Checks that an address can be written.

    Raises:
      UserError: It is one of the web.
    """
    if scheme_of(address) in WEB:
        raise UserError("An output must be local or in a store, as s3:// or gs://: a web server takes none.", address)


def _send(system: Any, target: str, chunks: Iterable[bytes]) -> None:
    """Writes a file in one request, or in parts where it is large."""
    first, rest = _split(chunks, _LARGE_BYTES)
    head = next(rest, None)
    if head is None:
        system.pipe_file(target, b"".join(first))
        return
    stream = system.open(target, "wb", block_size=_PART_BYTES)
    try:
        for chunk in itertools.chain(first, [head], rest):
            stream.write(chunk)
        stream.close()
    except BaseException:
        # Without it, fsspec completes the upload when the stream is collected.
        stream.closed = True
        stream.discard()
        raise


def _split(chunks: Iterable[bytes], size: int) -> tuple[list[bytes], Iterator[bytes]]:
    """Returns the first chunks, up to a size in bytes, and an iterator over the others."""
    others, taken = iter(chunks), 0
    first: list[bytes] = []
    for chunk in others:
        if taken + len(chunk) > size:
            return first, itertools.chain([chunk], others)
        first.append(chunk)
        taken += len(chunk)
    return first, iter(())


def _send_and_rename(system: Any, target: str, chunks: Iterable[bytes]) -> None:
    """Writes a file where it would be seen before it is complete, as on HDFS: under another name first."""
    folder, name = posixpath.split(target)
    system.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/{_UNFINISHED}{uuid.uuid4().hex}-{name}"
    try:
        with system.open(temporary, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
        if system.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        system.mv(temporary, target)
    except BaseException:
        with contextlib.suppress(Exception):
            system.rm_file(temporary)
        raise
