"""Typefaces of a folder, to draw with in addition to those that are installed."""

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


def _check_digits(path: Path) -> None:
    try:
        font = ImageFont.truetype(str(path), _PROBE_PX, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"{path} must be a typeface that FreeType can read.", error) from error
    absent = bytes(font.getmask(_ABSENT))
    drawn = [bytes(font.getmask(digit)) for digit in "0123456789"]
    missing = [str(digit) for digit, mask in enumerate(drawn) if not any(mask) or mask == absent]
    if missing:
        raise UserError(
            f"{path} must have all ten digits: remove it from the folder.", f"none for {', '.join(missing)}"
        )
