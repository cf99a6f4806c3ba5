"""What a folder is for: why it is not what a command reads, and whether a command may write into it."""

from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.storage import is_remote

_SUBSETS = ("train", "test", "extra")
_MARKS = {
    "a dataset": ("manifest.json", "manifest.rejected.json", ".prepare"),
    "a run": ("config.json",),
    "pictures": ("digitStruct.mat", *(f"{subset}/digitStruct.mat" for subset in _SUBSETS)),
    "a SavedModel": ("saved_model.pb",),
}
"""Files and folders that only a folder of this purpose has."""


def why_not(directory: Path | str, file: str) -> str:
    """Returns why a directory is not what `file` would make it: a sentence about "it", without a full stop."""
    if is_remote(str(directory)) or Path(directory).is_dir():
        return f"it has no {file}"
    return "it is a file" if Path(directory).exists() else "it does not exist"


def check_purpose(option: str, folder: Path, own: str) -> None:
    """Checks that a command may write into a folder: what another command made there would be mixed with its files.

    Args:
      option: Option that named the folder.
      folder: Folder, which may be missing.
      own: Purpose that the folder may have already, one of `_MARKS`.

    Raises:
      UserError: It is a file, lies below one, or has another purpose.
    """
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not present.is_dir():
        raise UserError(f"{option} must be a folder, or a place for a new one.", present)
    purposes = [name for name, marks in _MARKS.items() if any((folder / mark).exists() for mark in marks)]
    if purposes and own not in purposes:
        raise UserError(f"{option} must be another folder than one of {purposes[0]}.", folder)
