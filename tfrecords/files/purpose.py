"""What a folder is for: why it is not what a command reads, and whether a command may write into it."""

import os
import uuid
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.place import Place

_SUBSETS = ("train", "test", "extra")
_STREAM = "a stream"
_MARKS = {
    _STREAM: ("stream.json",),
    "a dataset": ("manifest.json", "manifest.rejected.json", ".prepare"),
    "a run": ("config.json",),
    "pictures": ("digitStruct.mat", *(f"{subset}/digitStruct.mat" for subset in _SUBSETS)),
    "a SavedModel": ("saved_model.pb",),
}
"""Files and folders that only a folder of this purpose has."""


def why_not(directory: Place | Path | str, file: str) -> str:
    """Returns why a directory is not what `file` would make it: a sentence about "it", without a full stop."""
    place = Place(directory)
    if place.is_remote or place.is_dir():
        return f"it has no {file}"
    return "it is a file" if place.exists() else "it does not exist"


def check_purpose(option: str, folder: Path, own: str) -> None:
    """Checks that a command may write into a folder: what another command made there would be mixed with its files.

    Args:
      option: Option that named the folder.
      folder: Folder, which may be missing.
      own: Purpose that the folder may have already, one of `_MARKS`.

    Raises:
      UserError: It is a file, lies below one, or has another purpose.
    """
    present = _nearest(folder)
    if not present.is_dir():
        raise UserError(f"{option} must be a folder, or a place for a new one.", present)
    purposes = [name for name, marks in _MARKS.items() if any((folder / mark).exists() for mark in marks)]
    # A stream is a dataset, too, but only its own command writes into it.
    if purposes and (own not in purposes or (_STREAM in purposes and own != _STREAM)):
        raise UserError(f"{option} must be another folder than one of {purposes[0]}.", folder)


def check_writable(option: str, folder: Place | Path) -> None:
    """Checks that files can be written to a folder, before the work that they are to hold is done.

    Args:
      option: Option that named the folder or a file in it.
      folder: Folder, which may be missing. An address gets an empty file, which is deleted again: nothing else shows
        whether a store takes files.

    Raises:
      UserError: It is a file, lies below one, or may not be written to or made; or it is an address of the web.
    """
    place = Place(folder)
    if place.is_remote:
        probe = place / f".{uuid.uuid4().hex}.probe"
        probe.write([b""])
        probe.delete()
        return
    present = _nearest(place.path)
    if not present.is_dir() or not os.access(present, os.W_OK):
        raise UserError(f"{option} needs a folder that can be written to.", present)


def _nearest(folder: Path) -> Path:
    """Returns the absolute path of a folder, or of the nearest of those above it that is there."""
    path = folder.absolute()
    return next(each for each in (path, *path.parents) if each.exists())
