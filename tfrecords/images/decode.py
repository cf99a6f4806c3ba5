"""Picture files to RGB pixels, or the reason for a rejection; and the pixels of a crop.

Preparation and prediction decode and cut pictures here, so that a model's inputs are made in the same way as its
training data. A SavedModel does it again in TensorFlow, and `export` compares the two (`trainer.export`).
"""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox, CropSpec, Shape, crop_box, window
from tfrecords.images.depth import ROUNDED, high_bytes
from tfrecords.images.formats import NAMES, NoDecoderError, open_picture
from tfrecords.images.orientation import INVERSE, TAG_NUMBER, TRANSPOSED, orientation_in, read_orientation, turn_upright
from tfrecords.images.transparency import compose, with_key_colour
from tfrecords.record.codec import PNG_START

MAX_PIXELS = 64_000_000
"""Limit of a picture's size, checked before decoding: a few bytes can claim any size, and 64 megapixels already take
192 MB. SVHN's largest picture is below 1 megapixel."""
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, OverflowError, zlib.error)
"""What Pillow and the libraries below it raise for damaged files."""
_WHOLE = "The file must be a whole picture."
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_DEEP_MODES = ("I;16", "I;16B")
"""Grey of 16 bits, in HEIC, JPEG 2000, PNG and TIFF. Pillow also reads TIFF files of 12 bits so, without scaling
them."""
_ONE_OF_MODES = f"A picture's mode must be one of {(*_MODES, *_DEEP_MODES)}."
_PLAIN_RGB = bytes([8, 2, 0, 0, 0])
"""The end of a PNG header (PNG specification, 11.2.2): 8 bits, RGB, not interlaced."""
_NOT_PLAIN = (b"zTXt", b"iTXt", b"iCCP", b"tRNS", b"eXIf")
"""Chunks for Pillow: libspng inflates texts to any size, where Pillow has a limit, and ignores the other two."""
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)\b", re.IGNORECASE)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Number of channels by colour type of a PNG file."""
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step down and step right of each pass of an interlaced PNG (PNG specification, 8.2)."""
_PIECE_BYTES = 1 << 20
_END_OF_JPEG = b"\xff\xd9"
_RESTART_MARKERS = [bytes([0xFF, 0xD0 + index]) for index in range(8)]
_RESTARTS = re.compile(b"|".join(_RESTART_MARKERS))
_FILLERS = (b"\x55" * 64, b"\xaa" * 64)


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


def decode_picture(data: bytes, name: str, upright: bool = True) -> NDArray[np.uint8]:
    """Returns the picture in RGB, as viewers show it: (height, width, 3) uint8, which may be read-only.

    It is turned as its file says, transparent parts are on a background (`tfrecords.images.transparency`), and 16-bit
    samples are their high bytes.

    Args:
      data: Content of a file of one of `tfrecords.images.formats.NAMES`. The first of several pictures is decoded.
      name: Name of the file in error messages.
      upright: Whether to turn the picture as its file says. HEIC and JPEG XL are turned in any case, since their
        decoders return nothing else.

    Raises:
      PictureError: The reason is `not_a_picture`, `no_decoder` (of a format whose package is not installed),
        `unreadable_picture` (damaged), `too_large`, or `bad_mode` (neither colours nor grey of 1 to 16 bits).
    """
    if data[:16] != PNG_START:
        return _decode_any(data, name, upright)
    # Checked before Pillow, which refuses the largest pictures itself without their size.
    width, height = struct.unpack_from(">II", data.ljust(24, b"\0"), 16)
    _check_size(width, height, name)
    pixels = _decode_plain_png(data, width, height)
    return _decode_any(data, name, upright) if pixels is None else pixels


def picture_size(data: bytes, name: str, upright: bool = True) -> Shape:
    """Returns the height and width of what `decode_picture` returns, pixels; pixels are not decoded for it.

    Args:
      data: Content of a file. Of PNG and JPEG, the part up to the size is enough.
      name: Name of the file in error messages.
      upright: Whether to turn the picture as its file says.

    Raises:
      PictureError: As of `decode_picture`, except for damaged pixels.
    """
    if data[:16] == PNG_START and len(data) >= 24:  # a tenth of Pillow's time
        width, height = struct.unpack_from(">II", data, 16)
        _check_size(width, height, name)
        turn: tuple[int, ...] = (read_orientation(data),) if upright else ()
    else:
        with _reasons(data, name):
            picture = open_picture(data, lambda width, height: _check_size(width, height, name))
            (width, height), turn = picture.size, _turn(picture, data, upright)
    is_transposed = sum(each in TRANSPOSED for each in turn) % 2
    return (width, height) if is_transposed else (height, width)


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
        if kind in _NOT_PLAIN:
            return None
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


def _decode_any(data: bytes, name: str, upright: bool) -> NDArray[np.uint8]:
    with _reasons(data, name):
        try:
            return _read(data, name, upright)
        except _DAMAGE as error:
            pixels = _without_end(data, name, upright) if "truncated" in str(error) else None
            if pixels is None:
                raise
            return pixels


@contextmanager
def _reasons(data: bytes, name: str) -> Iterator[None]:
    """Raises what goes wrong with a picture in the block as a PictureError, and hides Pillow's warnings."""
    try:
        # Pillow warns about defects that it repairs and about sizes that are refused here. The filter covers Pillow
        # only, because threads that run here at the same time may leave it in place.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except PictureError:
        raise
    except NoDecoderError as error:
        raise PictureError("no_decoder", f"{name}: {error}.", f"{len(data)} bytes") from error
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+ pixels", str(error))
        raise _too_large(name, size[0] if size else str(error)) from error
    except UnidentifiedImageError as error:
        # Pillow's message holds a memory address, but equal inputs must give equal dead letters.
        rule = f"{name}: The file must be a picture ({', '.join(NAMES)})."
        # What a server answers that wants a login, or has lost the picture.
        received = "a web page" if _WEB_PAGE.match(data) else f"{len(data)} bytes"
        raise PictureError("not_a_picture", rule, received) from error
    except _DAMAGE as error:
        received = " ".join(str(error).split()) or type(error).__name__  # libheif's messages end in a line feed
        raise PictureError("unreadable_picture", f"{name}: {_WHOLE}", received) from error


def _read(data: bytes, name: str, upright: bool) -> NDArray[np.uint8]:
    """Returns the pixels as `decode_picture` does; raises what Pillow raises, and PictureError."""
    picture = open_picture(data, lambda width, height: _check_size(width, height, name))
    is_png = picture.format == "PNG"
    # Pillow reads grey of 16 bits in PPM files as 32 bits, scaled to 16.
    is_deep = picture.mode in _DEEP_MODES or (picture.mode == "I" and picture.format == "PPM")
    if picture.mode not in _MODES and not is_deep:
        raise PictureError("bad_mode", f"{name}: {_ONE_OF_MODES}", picture.mode)
    if is_png and not _has_every_row(data):
        raise PictureError("unreadable_picture", f"{name}: {_WHOLE}", "fewer rows than its header claims")
    turn = _turn(picture, data, upright)
    if not is_deep and picture.format in ROUNDED:
        picture = ROUNDED[picture.format](picture, data)
    _load(picture, name)
    if is_deep:
        picture = high_bytes(picture)
    elif picture.mode in ("1", "L", "RGB") and "transparency" in picture.info:
        picture = with_key_colour(picture, picture.info["transparency"], data[24] if is_png else 8)
    is_transparent = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
    pixels = np.asarray(compose(picture.convert("RGBA")) if is_transparent else picture.convert("RGB"))
    for orientation in turn:
        pixels = turn_upright(pixels, orientation)
    return pixels


def _load(picture: Image.Image, name: str) -> None:
    try:
        picture.load()
    except RuntimeError as error:  # of libheif
        raise OSError(str(error)) from error
    _check_size(*picture.size, name)  # HEIC files state two sizes


def _turn(picture: Image.Image, data: bytes, upright: bool) -> tuple[int, ...]:
    """Returns the orientations to apply to the pixels of a picture that is not loaded yet, one after the other."""
    if picture.format == "TIFF":
        # Pillow turns TIFF files when it loads them, by the tag or by XMP, which does not count.
        turned = picture.getexif().get(TAG_NUMBER, 1)
        stated = getattr(picture, "tag_v2", {}).get(TAG_NUMBER, 1)
        wanted = stated if upright and stated in INVERSE else 1
        return () if turned == wanted else (INVERSE.get(turned, 1), wanted)
    if not upright or "exif" not in picture.info or picture.format == "HEIF":
        return ()  # libheif turns HEIC as the file's properties say, and its EXIF data do not count
    if picture.format == "AVIF":
        return (orientation_in(picture.info["exif"]),)  # in which Pillow puts what the file's properties say
    if picture.format == "JXL":
        # Turned by the decoder, unless the file holds a JPEG, which is decoded as such.
        return (orientation_in(picture.info["exif"]),) if getattr(picture, "jpeg", False) else ()
    return (read_orientation(data),)


def _without_end(data: bytes, name: str, upright: bool) -> NDArray[np.uint8] | None:
    """Returns the pixels of a JPEG that lacks only its end, as some cameras and downloads leave it; else None.

    Pillow does not say whether pixels are missing. Where one is, it depends on what takes the place of the missing
    bytes: nothing, or either of two fillers, which differ in each bit. Scans that are missing from a progressive JPEG
    leave no trace, so it is never taken.
    """
    if data[:2] != b"\xff\xd8" or b"\xff\xc2" in data:
        return None
    start = data.removesuffix(b"\xff")  # half a marker
    restarts = _RESTARTS.findall(data)
    restart = _RESTART_MARKERS[(restarts[-1][1] + 1) % 8 if restarts else 0]  # 0xD0 is 0 modulo 8
    fillers = (b"", *(filler + restart + filler for filler in _FILLERS))
    try:
        first, *others = (_read(start + filler + _END_OF_JPEG, name, upright) for filler in fillers)
    except (OSError, SyntaxError, ValueError, EOFError):
        return None
    return first if all(np.array_equal(first, other) for other in others) else None


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


def cut(picture: NDArray[np.uint8], box: BoundingBox, shape: Shape) -> NDArray[np.uint8]:
    """Returns the part of a picture inside `box`, resized to (height, width, channels) uint8.

    The filter is bilinear with antialiasing: it widens with the scale, as in `tf.image.resize(antialias=True)`. The
    aspect ratio is not kept. Pixels outside the box have no effect, unlike in Pillow's `resize(box=)`.

    Args:
      picture: RGB or grey pixels: (height, width, 3 or 1) uint8.
      box: Box on whole pixels, inside the picture.
      shape: Height and width of the result, pixels.
    """
    part = picture[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    if part.shape[:2] == shape:
        return part
    if part.shape[2] == 1:
        part = part[:, :, 0]
    height, width = shape
    if part.shape[0] <= height and part.shape[1] <= width:
        # Without downscaling, plain bilinear is the same filter in a quarter of the time. OpenCV guarantees that the
        # exact variant gives the same bits on every machine.
        resized = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    else:
        resized = np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, picture.shape[2])


def evaluation_view(picture: NDArray[np.uint8], boxes: Sequence[BoundingBox], spec: CropSpec) -> NDArray[np.uint8]:
    """Returns the image of a number as in an evaluation split: (height, width, channels) uint8.

    Args:
      picture: RGB or grey pixels: (height, width, 3 or 1) uint8.
      boxes: Boxes of the number or of its digits. Without boxes, the complete picture is resized.
      spec: Geometry of the crops of the model's training data.

    Raises:
      UserError: The boxes lie outside the picture.
    """
    if not boxes:
        return cut(picture, BoundingBox(0, 0, *picture.shape[:2]), spec.record_shape)
    box = crop_box(boxes, spec.growth, *picture.shape[:2])
    return window(cut(picture, box, spec.crop_shape), spec.centre, spec.record_shape)
