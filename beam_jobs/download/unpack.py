"""One tar.gz to one folder: safely, and completely or not at all."""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.publish import sync, sync_names

# Extraction filters (PEP 706) came with Python 3.10.12 and 3.11.4; Debian 12 has 3.11.2. `_check_member` needs none.
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
_DRAIN_BYTES = 1024 * 1024


def unpack(archive: Path, target: Path, on_progress: Callable[[int], None] = lambda position: None) -> None:
    """Extracts the folder `target.name` of a tar.gz to `target`, which appears only when complete.

    Files are extracted to a hidden folder next to `target`, which is renamed at the end. Members outside that one
    folder are checked too, but not kept. Modes, owners and times of the archive are ignored.

    Args:
      archive: Gzip-compressed tar file.
      target: Folder to create, in an existing folder.
      on_progress: Function of the number of compressed bytes read.

    Raises:
      UserError: `target` exists; or the archive is damaged, does not contain the folder, or has a member that is a
        link, a device or outside the archive's own folder.
      OSError: The files cannot be written.
    """
    if target.exists():
        raise UserError(f"{archive}: the folder to unpack to must not exist.", target)
    with tempfile.TemporaryDirectory(prefix=_prefix(target), dir=target.parent) as scratch:
        try:
            _extract(archive, Path(scratch), on_progress)
        except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
            raise UserError(f"{archive}: must be a complete tar.gz archive.", error) from error
        folder = Path(scratch, target.name)
        if not folder.is_dir():
            found = ", ".join(sorted(path.name for path in Path(scratch).iterdir())) or "nothing"
            raise UserError(f"{archive}: must contain a folder named {target.name}.", found)
        sync(folder)
        folder.rename(target)
        sync_names(target.parent)


def remove_leftovers(target: Path) -> None:
    """Deletes the hidden folders of `unpack` runs to `target` that were killed."""
    for folder in target.parent.glob(f"{_prefix(target)}*"):
        shutil.rmtree(folder)


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _extract(archive: Path, folder: Path, on_progress: Callable[[int], None]) -> None:
    with archive.open("rb") as raw, gzip.open(raw) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        while (member := tar.next()) is not None:
            _check_member(archive, member)
            if member.isdir():
                # tarfile without filters would create it with mode 0700.
                (folder / member.name).mkdir(parents=True, exist_ok=True)
            else:
                tar.extract(member, folder, set_attrs=False, **_FILTER)
            # tarfile keeps every header: 200,000 in `extra`. Not in its typed interface, but as old as tarfile.
            tar.members.clear()  # type: ignore[attr-defined]
            on_progress(raw.tell())
        stream.seek(tar.offset)
        # tarfile takes a damaged header after the first member for the end of the archive.
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"a damaged header at byte {tar.offset} of the unpacked archive")
        while stream.read(_DRAIN_BYTES):  # gzip's checksum is at the end.
            pass
        on_progress(raw.tell())


def _check_member(archive: Path, member: tarfile.TarInfo) -> None:
    """Accepts only files and folders inside the archive's folder; tarfile's `data` filter accepts some links too."""
    if not (member.isreg() or member.isdir()):
        kind = f"a link to {member.linkname}" if member.linkname else f"a special file of tar type {member.type!r}"
        raise UserError(f"{archive}: the member {member.name} must be a file or a folder.", kind)
    # Windows' rules recognise both slashes and drive letters.
    name = PureWindowsPath(member.name)
    if name.anchor or ".." in name.parts:
        raise UserError(f"{archive}: the path of every member must stay inside the folder.", member.name)
