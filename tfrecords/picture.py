"""A picture file's bytes to RGB pixels, or the reason why not, and the pixels of a crop.

Preparation, prediction and serving all decode and cut pictures here, so that a model
never meets pictures that were made in another way than those it learned from.
"""

import io
import warnings
from collections.abc import Sequence

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tfrecords.boxes import BoundingBox
from tfrecords.crop import CropSpec, crop_box, window
from tfrecords.errors import UserError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded: a few bytes can claim any size, and 64 megapixels
already take 192 MB. SVHN's largest is below 1 megapixel."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN_RGB = bytes([8, 2, 0, 0, 0])
"""The end of a PNG header (PNG specification, 11.2.2): 8 bits, RGB, not interlaced."""


class PictureError(UserError):
    """A picture that cannot be used; `reason` names the rule in one word."""

    def __init__(self, reason: str, rule: str, received: object) -> None:
        super().__init__(rule, received)
        self.reason = reason


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Returns the picture as RGB, transparency dropped: (height, width, 3) uint8, not to be written to.

    Args:
      data: the file's bytes, in any format that Pillow reads.
      name: what errors call the file.

    Raises:
      PictureError: `not_a_picture`, `unreadable_picture` (damaged), `too_large`, or `bad_mode` (of a
        kind that has no plain 8-bit colours).
    """
    pixels = _decode_plain_png(data)
    return _decode_any(data, name) if pixels is None else pixels


def _decode_plain_png(data: bytes) -> NDArray[np.uint8] | None:
    """Returns the pixels of the kind of PNG that SVHN has, in half of Pillow's time; None of any other file."""
    if data[:16] != _SIGNATURE or data[24:29] != _PLAIN_RGB:
        return None
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if height * width > MAX_PIXELS:
        return None
    try:
        pixels: NDArray[np.uint8] = imagecodecs.spng_decode(data)
    except (imagecodecs.SpngError, ValueError, MemoryError):
        return None  # it accepts nothing that Pillow refuses (3,000 damaged files); Pillow says why
    return pixels if pixels.shape == (height, width, 3) else None


def _decode_any(data: bytes, name: str) -> NDArray[np.uint8]:
    too_large = f"{name}: A picture must have at most {MAX_PIXELS} pixels."
    try:
        with warnings.catch_warnings():
            # Pillow's own limit warns; ours refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            raise PictureError("too_large", too_large, picture.size)
        if picture.mode not in _MODES:
            raise PictureError("bad_mode", f"{name}: A picture's mode must be one of {_MODES}.", picture.mode)
        picture.load()
        if picture.mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")
        return np.asarray(picture.convert("RGB"))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", too_large, error) from error
    except UnidentifiedImageError as error:
        # Pillow's message holds a memory address, and equal inputs must make equal dead letters.
        raise PictureError("not_a_picture", f"{name}: The file must be a picture.", f"{len(data)} bytes") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError("unreadable_picture", f"{name}: The file must be a whole picture.", error) from error


def cut(picture: NDArray[np.uint8], box: BoundingBox, size: int) -> NDArray[np.uint8]:
    """Returns the part of a picture inside `box`, resized to (size, size, 3) uint8.

    Bilinear with antialiasing: the filter widens with the scale, as in
    `tf.image.resize(antialias=True)`. The aspect is not kept. Pixels outside the box
    have no part in it, as they would have in Pillow's `resize(box=)`.

    Args:
      picture: (height, width, 3) uint8, RGB.
      box: on whole pixels, inside the picture.
      size: height and width of the result, pixels.
    """
    part = picture[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    if max(part.shape[:2]) <= size:
        # Nothing to antialias: plain bilinear is the same filter, in a quarter of the time. The exact
        # kind is the one that OpenCV promises to be equal on every machine, to the bit.
        return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR))


def evaluation_view(picture: NDArray[np.uint8], boxes: Sequence[BoundingBox], spec: CropSpec) -> NDArray[np.uint8]:
    """Returns the picture that an evaluation split holds of a number: (record_size, record_size, 3) uint8.

    Args:
      picture: (height, width, 3) uint8, RGB.
      boxes: of the number or its digits; none where the picture is the number and nothing else, which
        is then resized as a whole.
      spec: how the model's records were cut.

    Raises:
      UserError: the boxes lie outside the picture.
    """
    if not boxes:
        return cut(picture, BoundingBox(0, 0, *picture.shape[:2]), spec.record_size)
    box = crop_box(boxes, spec.growth, *picture.shape[:2])
    return window(cut(picture, box, spec.crop_size), spec.centre, spec.record_size)
