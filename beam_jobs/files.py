"""Files on any of Beam's file systems: local paths, gs://, s3://, hdfs://."""

import uuid
from collections.abc import Iterable
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfrecords.errors import UserError


def join(folder: str, name: str) -> str:
    """Returns the path of `name` in `folder`."""
    return str(FileSystems.join(folder, name))


def is_local(path: str) -> bool:
    """True for a path on this machine, False for one with a scheme."""
    return FileSystems.get_scheme(path) is None


def exists(path: str) -> bool:
    return bool(FileSystems.exists(path))


def read_bytes(path: str) -> bytes:
    """Returns a file's bytes as they are.

    Raises:
      OSError: the file cannot be read.
    """
    if is_local(path):
        # Beam's local file system adds half a dozen calls a file: too many for small pictures.
        return Path(path).read_bytes()
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        return bytes(stream.read())


def publish(path: str, chunks: Iterable[bytes]) -> None:
    """Writes a file so that `path` never holds a part of it: to a temporary name first, then renamed."""
    folder, name = FileSystems.split(path)
    temporary = join(folder, f".{name}.{uuid.uuid4().hex}.partial")
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            stream.writelines(chunks)
        FileSystems.rename([temporary], [path])
    except BaseException:
        delete([temporary])
        raise


def delete(paths: list[str]) -> None:
    """Deletes the files that exist of `paths`."""
    FileSystems.delete([path for path in paths if exists(path)])


def list_names(folder: str) -> list[str]:
    """Returns the names of the files directly in `folder`, sorted; none where there is no such folder."""
    if not exists(folder):
        return []
    (match,) = FileSystems.match([join(folder, "*")])
    return sorted(FileSystems.split(entry.path)[1] for entry in match.metadata_list)


def make_folder(path: str) -> None:
    """Makes a folder and its parents where they do not exist.

    Raises:
      UserError: something else stands there.
    """
    if is_local(path):
        if Path(path).exists() and not Path(path).is_dir():
            raise UserError("The output must be a folder.", path)
        Path(path).mkdir(parents=True, exist_ok=True)
