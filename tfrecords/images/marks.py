"""Boxes with texts, drawn on a picture."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tfrecords.images.crop import BoundingBox

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""
FOUND: Colour = (230, 60, 60)
"""Colour of what a model found."""
TRUE: Colour = (33, 102, 172)
"""Colour of what is there; apart from `FOUND` for colour-blind people too."""
_INK: Colour = (255, 255, 255)
_SHARE = 30
"""Size of the letters on a picture: its longest side over this, pixels."""


class Mark(NamedTuple):
    """A box to draw.

    Attributes:
      box: Box, pixels of the picture.
      text: Text above it, or below it where there is no room; empty for none.
      colour: Colour of the box, and of the text's ground.
    """

    box: BoundingBox
    text: str = ""
    colour: Colour = FOUND


def draw_marks(picture: NDArray[np.uint8], marks: Iterable[Mark]) -> Image.Image:
    """Returns a picture with boxes and their texts.

    Args:
      picture: Pixels, (height, width, 3) uint8 RGB, which stay as they are.
      marks: Boxes, the last one on top.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    pen, size = ImageDraw.Draw(image), max(12, max(image.size) // _SHARE)
    font = ImageFont.load_default(size)
    for mark in marks:
        ymin, xmin, ymax, xmax = mark.box.clip(*picture.shape[:2])
        pen.rectangle((xmin, ymin, xmax, ymax), outline=mark.colour, width=max(1, size // 10))
        if not mark.text:
            continue
        # The default font has ASCII and little else.
        text = mark.text.encode("ascii", "replace").decode()
        left, top, right, bottom = pen.textbbox((xmin, ymin), text, font=font, anchor="lb")
        # Below the box where there is no room above it.
        down = 0 if top >= 0 else ymax + (bottom - top) - ymin
        pen.rectangle((left, top + down, right, bottom + down), fill=mark.colour)
        pen.text((xmin, ymin + down), text, fill=_INK, font=font, anchor="lb")
    return image
