"""Picture files to RGB pixels, or the reason for a rejection; and the pixels of a crop.

Preparation, prediction and serving all decode and cut pictures here, so that a model's inputs are always made in the
same way as its training data.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox, CropSpec, crop_box, window
from tfrecords.record.codec import PNG_START

MAX_PIXELS = 64_000_000
"""Limit of a picture's size, checked before decoding: a few bytes can claim any size, and 64 megapixels already take
192 MB. SVHN's largest picture is below 1 megapixel."""
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Accepted formats, of those that Pillow reads. EPS would start Ghostscript on untrusted data, and TGA has no
signature, so any data can be TGA."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_PLAIN_RGB = bytes([8, 2, 0, 0, 0])
"""The end of a PNG header (PNG specification, 11.2.2): 8 bits, RGB, not interlaced."""
_COMPRESSED_TEXTS = (b"zTXt", b"iTXt", b"iCCP")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Number of channels by colour type of a PNG file."""
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step down and step right of each pass of an interlaced PNG (PNG specification, 8.2)."""
_PIECE_BYTES = 1 << 20


class PictureError(UserError):
    """A picture that cannot be used.

    Attributes:
      reason: Broken rule in one word, such as `too_large`.
    """

    def __init__(self, reason: str, rule: str, received: object) -> None:
        """Makes the message.

        Args:
          reason: Broken rule in one word.
          rule: Sentence that says what is allowed, with the file that it concerns.
          received: Offending value.
        """
        super().__init__(rule, received)
        self.reason = reason


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Returns the picture as RGB without transparency: (height, width, 3) uint8, read-only.

    Args:
      data: Content of a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file. The first of several pictures is decoded.
      name: Name of the file in error messages.

    Raises:
      PictureError: The reason is `not_a_picture`, `unreadable_picture` (damaged), `too_large`, or `bad_mode` (not plain
        8-bit colours).
    """
    if data[:16] != PNG_START:
        return _decode_any(data, name)
    # Checked before Pillow, which refuses the largest pictures itself without their size.
    width, height = struct.unpack_from(">II", data.ljust(24, b"\0"), 16)
    _check_size(width, height, name)
    pixels = _decode_plain_png(data, width, height)
    return _decode_any(data, name) if pixels is None else pixels


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width} x {height}")


def _too_large(name: str, received: str) -> PictureError:
    return PictureError("too_large", f"{name}: A picture must have at most {MAX_PIXELS} pixels.", received)


def _decode_plain_png(data: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """Returns the pixels of a PNG of the kind in SVHN, in half of Pillow's time; None for any other file."""
    if data[24:29] != _PLAIN_RGB:
        return None
    for kind, _, _ in _chunks(data):
        if kind == b"IDAT":
            break
        if kind in _COMPRESSED_TEXTS:
            return None  # libspng inflates them to any size; Pillow has a limit
    try:
        pixels: NDArray[np.uint8] = imagecodecs.spng_decode(data)
    except (imagecodecs.SpngError, ValueError, MemoryError):
        return None  # libspng accepts nothing that Pillow refuses (3,000 damaged files); Pillow gives the reason
    return pixels if pixels.shape == (height, width, 3) else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind, the start and the end of the data of each chunk of a PNG."""
    offset = 8
    while kind := data[offset + 4 : offset + 8]:
        start = offset + 8
        stop = start + int.from_bytes(data[offset : offset + 4], "big")
        yield kind, start, stop
        offset = stop + 4


def _decode_any(data: bytes, name: str) -> NDArray[np.uint8]:
    whole = f"{name}: The file must be a whole picture."
    try:
        # Pillow warns about defects that it repairs and about sizes that are refused here. The filter covers Pillow
        # only, because threads that run here at the same time may leave it in place.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            picture: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
            _check_size(*picture.size, name)
            if picture.mode not in _MODES:
                raise PictureError("bad_mode", f"{name}: A picture's mode must be one of {_MODES}.", picture.mode)
            if picture.format == "PNG" and not _has_every_row(data):
                raise PictureError("unreadable_picture", whole, "fewer rows than its header claims")
            picture.load()
            if picture.mode == "P" and "transparency" in picture.info:
                picture = picture.convert("RGBA")
            return np.asarray(picture.convert("RGB"))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+ pixels", str(error))
        raise _too_large(name, pixels[0] if pixels else str(error)) from error
    except UnidentifiedImageError as error:
        # Pillow's message holds a memory address, but equal inputs must give equal dead letters.
        rule = f"{name}: The file must be a picture ({', '.join(_FORMATS)})."
        raise PictureError("not_a_picture", rule, f"{len(data)} bytes") from error
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:
        raise PictureError("unreadable_picture", whole, str(error) or type(error).__name__) from error


def _has_every_row(data: bytes) -> bool:
    """Returns whether a PNG holds all its rows. Pillow fills missing ones with black.

    libpng would find them too, but prints warnings about good files to stderr and refuses widths above a million.
    """
    width, height, depth, colour, interlaced = struct.unpack_from(">IIBB2xB", data, 16)
    if data[:16] != PNG_START or colour not in _CHANNELS:
        return False  # Pillow also searches for a header later in the file
    bits = depth * _CHANNELS[colour]
    missing = 0
    for y, x, dy, dx in _ADAM7 if interlaced else _ONE_PASS:
        columns = len(range(x, width, dx))
        missing += len(range(y, height, dy)) * (1 + -(-columns * bits // 8)) if columns else 0
    stream = zlib.decompressobj()
    for kind, start, stop in _chunks(data):
        piece = data[start:stop] if kind == b"IDAT" else b""
        while piece and missing > 0:
            missing -= len(stream.decompress(piece, _PIECE_BYTES))
            piece = stream.unconsumed_tail
    return missing <= 0 or missing <= len(stream.flush())


def cut(picture: NDArray[np.uint8], box: BoundingBox, size: int) -> NDArray[np.uint8]:
    """Returns the part of a picture inside `box`, resized to (size, size, 3) uint8.

    The filter is bilinear with antialiasing: it widens with the scale, as in `tf.image.resize(antialias=True)`. The
    aspect ratio is not kept. Pixels outside the box have no effect, unlike in Pillow's `resize(box=)`.

    Args:
      picture: RGB pixels: (height, width, 3) uint8.
      box: Box on whole pixels, inside the picture.
      size: Height and width of the result, pixels.
    """
    part = picture[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    if max(part.shape[:2]) <= size:
        # Without downscaling, plain bilinear is the same filter in a quarter of the time. OpenCV guarantees that the
        # exact variant gives the same bits on every machine.
        return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR))


def evaluation_view(picture: NDArray[np.uint8], boxes: Sequence[BoundingBox], spec: CropSpec) -> NDArray[np.uint8]:
    """Returns the image of a number as in an evaluation split: (record_size, record_size, 3) uint8.

    Args:
      picture: RGB pixels: (height, width, 3) uint8.
      boxes: Boxes of the number or of its digits. Without boxes, the complete picture is resized.
      spec: Geometry of the crops of the model's training data.

    Raises:
      UserError: The boxes lie outside the picture.
    """
    if not boxes:
        return cut(picture, BoundingBox(0, 0, *picture.shape[:2]), spec.record_size)
    box = crop_box(boxes, spec.growth, *picture.shape[:2])
    return window(cut(picture, box, spec.crop_size), spec.centre, spec.record_size)
