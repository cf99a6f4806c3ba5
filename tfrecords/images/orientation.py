"""The orientation that a picture file states, and its pixels turned as every viewer shows them.

Phones store pictures as the sensor lies, and say in EXIF data how to turn them. Browsers and annotation tools turn
them, so boxes are in the turned picture. The rules are those of browsers: the tag counts in EXIF data only, not in XMP,
and only as one SHORT of 1 to 8. Read by hand, because Pillow's reader raises on damaged EXIF data, which viewers
ignore, and because a SavedModel follows the same rules in TensorFlow (`trainer.export.picture_graph`).
"""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 1000
"""Limit of the segments or chunks that are searched for EXIF data; files have fewer than 50 before it."""
HEAD_BYTES = 10
"""Bytes read of a segment or chunk: kind, length and, in JPEG, the mark of EXIF data."""
EXIF_MARK = b"Exif\0\0"
TAG = {b"II*\0": b"\x12\x01\x03\0\x01\0\0\0", b"MM\0*": b"\x01\x12\0\x03\0\0\0\x01"}
"""The first bytes of the tag's entry (orientation, SHORT, one value), by the first bytes of EXIF data: little-endian or
big-endian (TIFF 6.0, section 2)."""
TAG_NUMBER = 0x112
INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""Orientation that undoes each orientation."""
TRANSPOSED, ROWS_REVERSED, COLUMNS_REVERSED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)
"""Orientations whose rows and columns are exchanged, and those whose rows or columns are reversed after that."""

_Step = tuple[int, int]
"""Bytes to the next segment or chunk, or 0 after the last that can matter; bytes to its EXIF data, or 0."""


def read_orientation(data: bytes) -> int:
    """Returns how a picture is to be turned: 1 (as it is) to 8, as in EXIF 2.32, section 4.6.5.

    Args:
      data: Content of a picture file. JPEG, PNG (`eXIf` before the pixels) and WebP are searched. Pillow turns TIFF
        files itself, and the other formats hold no EXIF data.
    """
    if data[:2] == b"\xff\xd8":
        exif = _find(data, 2, _jpeg_step)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        exif = _find(data, 8, _png_step)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        exif = _find(data, 12, _webp_step)
    else:
        return 1
    return orientation_in(exif)


def orientation_in(exif: bytes) -> int:
    """Returns the orientation that EXIF data state; 1 where they are damaged or state none.

    Args:
      exif: EXIF data, with or without the mark that precedes them in JPEG.
    """
    return _orientation(exif.removeprefix(EXIF_MARK))


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Returns (height, width, channels) pixels as viewers show them: contiguous, the same array for orientation 1."""
    if orientation == 1:
        return pixels
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in ROWS_REVERSED:
        pixels = pixels[::-1]
    if orientation in COLUMNS_REVERSED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _find(data: bytes, offset: int, step: Callable[[bytes, int], _Step]) -> bytes:
    """Returns the EXIF data of a file; empty without any."""
    last = len(data) - HEAD_BYTES
    for _ in range(MAX_STEPS):
        if offset > last:
            break
        size, exif = step(data, offset)
        if exif:
            return data[offset + exif : offset + size]
        if not size:
            break
        offset += size
    return b""


def _jpeg_step(data: bytes, offset: int) -> _Step:
    """Reads a segment (ITU-T T.81, B.1.1). Only applications' data and comments precede EXIF data."""
    kind = data[offset + 1]
    if kind == 0xFF:  # a fill byte
        return 1, 0
    if data[offset] != 0xFF or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
        return 0, 0
    exif = 4 if kind == 0xE1 and data.startswith(EXIF_MARK, offset + 4) else 0
    return 2 + 256 * data[offset + 2] + data[offset + 3], exif


def _png_step(data: bytes, offset: int) -> _Step:
    """Reads a chunk (PNG specification, 5.3). Nothing is searched from the pixels on."""
    kind = data[offset + 4 : offset + 8]
    if kind == b"IDAT":
        return 0, 0
    return 12 + int.from_bytes(data[offset : offset + 4], "big"), 8 if kind == b"eXIf" else 0


def _webp_step(data: bytes, offset: int) -> _Step:
    """Reads a chunk (RFC 9649, 2.3), which is padded to an even size."""
    length = int.from_bytes(data[offset + 4 : offset + 8], "little")
    return 8 + length + length % 2, 8 if data.startswith(b"EXIF", offset) else 0


def _orientation(exif: bytes) -> int:
    """Returns the orientation in EXIF data, 1 where it is damaged or states none."""
    tag = TAG.get(exif[:4])
    if tag is None or len(exif) < 8:
        return 1
    order = "<" if exif[:1] == b"I" else ">"
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if len(exif) < start + 2:
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    for offset in range(start + 2, min(start + 2 + 12 * entries, len(exif) - 11), 12):
        if exif[offset : offset + 8] == tag:
            (value,) = struct.unpack_from(f"{order}H", exif, offset + 8)
            return value if 1 <= value <= 8 else 1
    return 1
