"""Formats of picture files: their suffixes, and how a file of each is opened.

Light enough for those that only list files: decoders are imported where a file needs them.
"""

import importlib.util
import io
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_USUAL = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
_NEWER = (".avif", ".heic", ".heif", ".hif", ".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx", ".jxl", ".webp")
SUFFIXES = frozenset((*_USUAL, *_NEWER))
"""Suffixes, in lower case, of the formats that are read, or refused with the package that would read them."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that every installation reads, as Pillow names them. EPS would start Ghostscript on untrusted data, and TGA
has no signature, so any data can be TGA."""
NAMES = (*FORMATS, "AVIF", "HEIC", "JPEG 2000", "JPEG XL")
"""Names of all formats."""
DECODERS = ("pillow-heif", "pillow-jxl-plugin")
"""Packages that decode more formats where they are installed."""

_JP2, CODESTREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
"""First bytes of JPEG 2000: of a file (ITU-T T.800, I.5.1), and of a codestream (A.4.1, A.5.1)."""
_JXL, _JXL_CODESTREAM = b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"
"""First bytes of JPEG XL: of a file (ISO/IEC 18181-2, 9.1), and of a codestream (18181-1, D.1)."""
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
"""Brands of ISO base media files that hold pictures (ISO/IEC 23008-12, annex B; AV1 Image File Format, 6)."""
_MAX_BRANDS = 64
_HEIF_SIZES = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)
"""Width and height of a picture or of a tile (ISO/IEC 23008-12, 6.5.3)."""
_CheckSize = Callable[[int, int], None]
"""Function of width and height that raises if a picture is too large to decode."""
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


class NoDecoderError(Exception):
    """The package that reads a format is not installed."""

    def __init__(self, name: str, remedy: str) -> None:
        """Takes the name of the format, and what installs or is its decoder."""
        super().__init__(f"{name} needs a decoder that is not installed: {remedy}")
        self.format = name


def open_picture(data: bytes, check_size: _CheckSize) -> "Image.Image":
    """Returns a picture whose pixels are not decoded yet.

    Args:
      data: Content of the file.
      check_size: Function of width and height that raises if a picture is too large to decode.

    Raises:
      NoDecoderError: The decoder of the format is not installed.
      Exception: What Pillow raises for a file that is no picture or damaged.
    """
    from PIL import Image

    opener = _OPENERS.get(_kind(data))
    picture: Image.Image
    if opener is None:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    else:
        try:
            picture = opener(data, check_size)
        except (RuntimeError, NotImplementedError) as error:  # of the libraries below Pillow, for damaged files
            raise OSError(str(error)) from error
    check_size(*picture.size)
    return picture


def _kind(data: bytes) -> str | None:
    """Returns the name of a format whose decoder may be missing; None for all others."""
    if data.startswith((_JP2, CODESTREAM)):
        return "JPEG 2000"
    if data.startswith((_JXL, _JXL_CODESTREAM)):
        return "JPEG XL"
    if data[4:8] != b"ftyp":
        return None
    stop = min(int.from_bytes(data[:4], "big"), 4 * _MAX_BRANDS)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, stop, 4))}
    # A file of the one kind may name the general brands too, so the more specific one comes first.
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIF_BRANDS else None


def _open_avif(data: bytes, check_size: _CheckSize) -> "Image.Image":
    from PIL import Image

    if importlib.util.find_spec("PIL._avif") is None:
        raise NoDecoderError("AVIF", "pip install 'pillow>=11.3'")
    return Image.open(io.BytesIO(data), formats=("AVIF",))


def _open_heif(data: bytes, check_size: _CheckSize) -> "Image.Image":
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise NoDecoderError("HEIC", "pip install 'streetdigits[heif]'") from error
    # A picture may be a small part of the one that is decoded for it.
    for size in _HEIF_SIZES.findall(data):
        check_size(*struct.unpack(">II", size))
    # Not as a plugin: that would change what Pillow opens for everyone in this process.
    picture: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    return picture


def _open_jpeg2000(data: bytes, check_size: _CheckSize) -> "Image.Image":
    from PIL import Image, features

    if not features.check_codec("jpg_2000"):
        raise NoDecoderError("JPEG 2000", "Pillow with OpenJPEG, as in its wheels")
    return Image.open(io.BytesIO(data), formats=("JPEG2000",))


def _open_jxl(data: bytes, check_size: _CheckSize) -> "Image.Image":
    try:
        # Importing it is what lets Pillow open the format.
        import pillow_jxl  # noqa: F401
    except ImportError as error:
        raise NoDecoderError("JPEG XL", "pip install pillow-jxl-plugin") from error
    from PIL import Image

    check_size(*_jxl_size(data))  # opening decodes
    return Image.open(io.BytesIO(data), formats=("JXL",))


_OPENERS: dict[str | None, Callable[[bytes, _CheckSize], "Image.Image"]] = {
    "AVIF": _open_avif,
    "HEIC": _open_heif,
    "JPEG 2000": _open_jpeg2000,
    "JPEG XL": _open_jxl,
}


def _jxl_size(data: bytes) -> tuple[int, int]:
    """Returns the width and height of a JPEG XL file, as its first bytes state them (ISO/IEC 18181-1, D.2).

    Raises:
      ValueError: The file has no codestream.
    """
    start = 0
    while data.startswith(_JXL):  # boxes: size, kind, content (18181-2, 9)
        size, kind = struct.unpack_from(">I4s", data.ljust(start + 8, b"\0"), start)
        if kind in (b"jxlc", b"jxlp"):
            start += 8 if kind == b"jxlc" else 12
            break
        if size < 8:
            raise ValueError("a JPEG XL file without a codestream")
        start += size
    bits = int.from_bytes(data[start + 2 : start + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def length() -> int:
        return 8 * (take(5) + 1) if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    is_small = take(1)
    height = length()
    ratio = _JXL_RATIOS.get(take(3))
    return (height * ratio[0] // ratio[1] if ratio else length()), height
