"""One tar.gz into one folder: safely, and whole or not at all."""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from tfrecords.errors import UserError

# Python 3.10 and 3.11 have extraction filters from 3.10.12 and 3.11.4 on (PEP 706).
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
_DRAIN_BYTES = 1024 * 1024
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}


def unpack(archive: Path, target: Path, on_progress: Callable[[int], None] = lambda position: None) -> None:
    """Extracts the folder `target.name` of a tar.gz to `target`, which appears only when whole.

    Extraction goes to a hidden folder beside `target`, hence on the same file
    system, and is renamed at the end. What the archive holds outside that one
    folder is checked too, but not kept. Modes, owners and times are not taken over.

    Args:
      archive: a gzip-compressed tar file.
      target: the folder to make; its parent exists.
      on_progress: called with the compressed bytes read so far.

    Raises:
      UserError: `target` exists; the archive is damaged, has no such folder, or has
        a member that is a link, a device, or named so as to leave the folder.
      OSError: the files cannot be written.
    """
    if target.exists():
        raise UserError(f"{archive}: unpacks to a folder that must not exist yet.", target)
    with tempfile.TemporaryDirectory(prefix=_prefix(target), dir=target.parent) as scratch:
        try:
            _extract(archive, Path(scratch), on_progress)
        except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
            raise UserError(f"{archive}: must be a whole tar.gz archive.", error) from error
        folder = Path(scratch, target.name)
        if not folder.is_dir():
            found = ", ".join(sorted(path.name for path in Path(scratch).iterdir())) or "nothing"
            raise UserError(f"{archive}: must hold a folder named {target.name}.", found)
        folder.rename(target)


def remove_leftovers(target: Path) -> None:
    """Removes what an `unpack` that was killed has left beside `target`."""
    for folder in target.parent.glob(f"{_prefix(target)}*"):
        shutil.rmtree(folder)


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _extract(archive: Path, folder: Path, on_progress: Callable[[int], None]) -> None:
    with archive.open("rb") as raw, gzip.open(raw) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        while (member := tar.next()) is not None:
            _check_member(archive, member)
            if member.isdir():
                # tarfile would make it with the archive's mode, or with 0700 before filters came.
                (folder / member.name).mkdir(parents=True, exist_ok=True)
            else:
                tar.extract(member, folder, set_attrs=False, **_FILTER)
            # Or it keeps every header: 200,000 of them in `extra`. Outside the typed interface, as old as tarfile.
            tar.members.clear()  # type: ignore[attr-defined]
            on_progress(raw.tell())
        stream.seek(tar.offset)
        # To tarfile, a damaged header after the first member is the archive's end.
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"a damaged header at byte {tar.offset} of the unpacked archive")
        while stream.read(_DRAIN_BYTES):  # gzip's checksum stands at the end.
            pass
        on_progress(raw.tell())


def _check_member(archive: Path, member: tarfile.TarInfo) -> None:
    """Raises `UserError` for all but files and folders that stay inside the folder.

    tarfile's own `data` filter takes links that stay inside and strips leading
    slashes; none of SVHN's archives has either, so here both are errors.
    """
    if not (member.isreg() or member.isdir()):
        kind = _KINDS.get(member.type, f"type {member.type!r}")
        raise UserError(
            f"{archive}: the member {member.name} must be a file or a folder.",
            f"{kind} to {member.linkname}" if member.linkname else kind,
        )
    # The Windows rules know both kinds of slash and drive letters.
    name = PureWindowsPath(member.name)
    if name.anchor or ".." in name.parts:
        raise UserError(f"{archive}: every member's path must stay inside the folder.", member.name)
