"""Typefaces of a folder, to draw with in addition to those that are installed."""

import io
from pathlib import Path

from PIL import ImageFont

from tfrecords.errors import UserError
from tfrecords.files.shards import file_sha256

_ENDINGS = (".otf", ".ttf")
_PROBE_PX = 32
_ABSENT = "\uffff"  # No character, so every face draws its box for missing ones.


def folder_faces(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each typeface in a folder by its name, in the order of the names.

    Args:
      folder: Folder of TrueType and OpenType files. Its sub-folders are not read.

    Raises:
      UserError: The folder has no typeface, or one of them cannot be read or lacks a digit.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in _ENDINGS and path.is_file())
    if not paths:
        rule = f"--faces must be a folder with typefaces: files that end in {' or '.join(_ENDINGS)}."
        raise UserError(rule, folder)
    for path in paths:
        _check_digits(path)
    return {path.name: file_sha256(path) for path in paths}


def has_digits(content: bytes) -> bool:
    """Returns whether a typeface file, by its bytes, can be read and draws all ten digits."""
    try:
        return not _missing_digits(io.BytesIO(content))
    except OSError:
        return False


def _check_digits(path: Path) -> None:
    try:
        missing = _missing_digits(str(path))
    except OSError as error:
        raise UserError(f"{path} must be a typeface that FreeType can read.", error) from error
    if missing:
        raise UserError(
            f"{path} must have all ten digits: remove it from the folder.", f"none for {', '.join(missing)}"
        )


def _missing_digits(file: str | io.BytesIO) -> list[str]:
    font = ImageFont.truetype(file, _PROBE_PX, layout_engine=ImageFont.Layout.BASIC)
    absent = bytes(font.getmask(_ABSENT))
    drawn = [bytes(font.getmask(digit)) for digit in "0123456789"]
    return [str(digit) for digit, mask in enumerate(drawn) if not any(mask) or mask == absent]
