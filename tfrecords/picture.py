"""A picture file's bytes to RGB pixels, or the reason why not: one way for preparing and for predicting."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from tfrecords.errors import UserError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded: a few bytes can claim any size, and 64 megapixels
already take 192 MB. SVHN's largest is below 1 megapixel."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class PictureError(UserError):
    """A picture that cannot be used; `reason` names the rule in one word."""

    def __init__(self, reason: str, rule: str, received: object) -> None:
        super().__init__(rule, received)
        self.reason = reason


def decode_picture(data: bytes, name: str) -> Image.Image:
    """Returns the picture in mode RGB, transparency dropped.

    Args:
      data: the file's bytes, in any format that Pillow reads.
      name: what errors call the file.

    Raises:
      PictureError: `not_a_picture`, `unreadable_picture` (damaged), `too_large`, or `bad_mode` (of a
        kind that has no plain 8-bit colours).
    """
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
        return picture.convert("RGB")
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", too_large, error) from error
    except UnidentifiedImageError as error:
        # Pillow's message holds a memory address, and equal inputs must make equal dead letters.
        raise PictureError("not_a_picture", f"{name}: The file must be a picture.", f"{len(data)} bytes") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError("unreadable_picture", f"{name}: The file must be a whole picture.", error) from error
