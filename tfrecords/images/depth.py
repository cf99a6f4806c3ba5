"""Samples of other than eight bits: the upper eight of more, and fewer scaled to 0..255."""

import imagecodecs
import numpy as np
from PIL import Image, ImageFile

from tfrecords.images.formats import CODESTREAM

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of TIFF files."""


def high_bytes(picture: Image.Image) -> Image.Image:
    """Returns a picture of 16-bit grey as 8-bit grey, or as RGBA if a grey value is transparent.

    Args:
      picture: Loaded picture of the mode I;16 or I;16B, or I with values of 16 bits.
    """
    samples = np.asarray(picture)
    tags = getattr(picture, "tag_v2", {})
    grey = (samples >> (tags.get(_BITS_PER_SAMPLE, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey  # white is zero, which Pillow heeds for 8 bits only
    if "transparency" not in picture.info:
        return Image.fromarray(grey)
    opacity = np.where(samples == picture.info["transparency"], 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([grey, grey, grey, opacity]))


def jpeg2000_depth(data: bytes) -> int:
    """Returns the bits per sample of the first channel of a JPEG 2000 file (ITU-T T.800, A.5.1); 8 if unknown."""
    start = data.find(CODESTREAM) + 42
    return (data[start] & 0x7F) + 1 if 42 <= start < len(data) else 8


def _deep_ppm(picture: Image.Image, data: bytes) -> Image.Image:
    """Returns a PPM of 16-bit RGB by its high bytes. Pillow rounds."""
    if not isinstance(picture, ImageFile.ImageFile):
        return picture
    decoder, _, offset, arguments = picture.tile[0]
    largest = arguments[1] if decoder == "ppm" and isinstance(arguments, tuple) else 0
    size = picture.height * picture.width * 3
    if largest <= 255 or len(data) < offset + 2 * size:
        return picture
    samples = np.frombuffer(data, ">u2", size, offset).astype(np.uint32) * 65535 // largest
    high = np.minimum(samples, 65535) >> 8
    return Image.fromarray(high.astype(np.uint8).reshape(picture.height, picture.width, 3))


def _deep_jpeg2000(picture: Image.Image, data: bytes) -> Image.Image:
    """Returns a JPEG 2000 file of other than 8 bits in 8 bits. Pillow (12.3) makes black of 16-bit white."""
    depth = jpeg2000_depth(data)
    if depth == 8 or picture.mode == "P":
        return picture
    try:
        samples = imagecodecs.jpeg2k_decode(data).astype(np.uint32)
    except (imagecodecs.Jpeg2kError, NotImplementedError) as error:  # the latter for channels of different depths
        raise OSError(str(error)) from error
    if samples.shape[2:] not in ((), (2,), (3,), (4,)):
        raise OSError(f"a JPEG 2000 file of the shape {samples.shape}")
    scaled = samples >> (depth - 8) if depth > 8 else samples * 255 // ((1 << depth) - 1)
    return Image.fromarray(scaled.astype(np.uint8))


ROUNDED = {"PPM": _deep_ppm, "JPEG2000": _deep_jpeg2000}
"""Functions for the formats whose samples of other than 8 bits Pillow does not cut to their high bytes."""
