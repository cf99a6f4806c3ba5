"""A picture file's bytes to RGB pixels, or the reason why not."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from beam_jobs.annotation import RejectedError

MAX_PIXELS = 64_000_000
"""Larger pictures are rejected before they are decoded: a few bytes can claim any size, and 64 megapixels
already take 192 MB. SVHN's largest is below 1 megapixel."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode_picture(data: bytes, name: str) -> Image.Image:
    """Returns the picture in mode RGB, transparency dropped.

    Raises:
      RejectedError: not a picture, damaged, too large, or of a kind that has no plain 8-bit colours.
    """

    def reject(reason: str, rule: str, received: object) -> RejectedError:
        return RejectedError("picture", reason, f"{name}: {rule}", received)

    try:
        with warnings.catch_warnings():
            # Pillow's own limit warns; ours rejects.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            raise reject("too_large", f"A picture must have at most {MAX_PIXELS} pixels.", picture.size)
        if picture.mode not in _MODES:
            raise reject("bad_mode", f"A picture's mode must be one of {', '.join(_MODES)}.", picture.mode)
        picture.load()
        if "transparency" in picture.info and picture.mode == "P":
            return picture.convert("RGBA").convert("RGB")
        return picture.convert("RGB")
    except Image.DecompressionBombError as error:
        raise reject("too_large", f"A picture must have at most {MAX_PIXELS} pixels.", error) from error
    except UnidentifiedImageError as error:
        # Pillow's message holds a memory address, and equal inputs must make equal dead letters.
        raise reject("not_a_picture", "The file must be a picture.", f"{len(data)} bytes") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, RejectedError):
            raise
        raise reject("unreadable_picture", "The file must be a whole picture.", error) from error
