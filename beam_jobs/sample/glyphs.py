"""Single digits as masks: from typefaces, from OpenCV's stroke faces, and bent."""

from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

_GLYPH_PX = 96  # larger than any digit drawn, so glyphs are only ever made smaller
BORDER_PX = 2  # empty pixels round a glyph, for its edge to be interpolated against

# Without the complex faces, whose strokes are double lines.
_STROKE_FACES = {
    "stroke simplex": cv2.FONT_HERSHEY_SIMPLEX,
    "stroke duplex": cv2.FONT_HERSHEY_DUPLEX,
    "stroke triplex": cv2.FONT_HERSHEY_TRIPLEX,
    "stroke script": cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    "stroke italic": cv2.FONT_HERSHEY_TRIPLEX | cv2.FONT_ITALIC,
}
STROKE_FACES = tuple(_STROKE_FACES)
"""Names of OpenCV's faces for `glyph_mask`."""


@cache
def glyph_mask(face: str, digit: int, stroke: int) -> Image.Image:
    """Coverage (L) of one digit, tight but for `BORDER_PX` on every side; `stroke` pixels bolder.

    Args:
      face: path of a typeface, or one of `STROKE_FACES`.
      digit: 0..9.
      stroke: pixels, of a glyph of about 70.
    """
    if face in _STROKE_FACES:
        canvas = np.zeros((2 * _GLYPH_PX, 2 * _GLYPH_PX), np.uint8)
        # A pen of 8 pixels for a digit of 70 is a regular weight.
        cv2.putText(canvas, str(digit), (40, 140), _STROKE_FACES[face], 3.2, 255, 8 + 2 * stroke, cv2.LINE_AA)
        image = Image.fromarray(canvas)
    else:
        font = ImageFont.truetype(face, _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
        image = Image.new("L", (2 * _GLYPH_PX, 2 * _GLYPH_PX))
        ImageDraw.Draw(image).text((40, 20), str(digit), fill=255, font=font, stroke_width=stroke)
    return ImageOps.expand(image.crop(image.getbbox()), BORDER_PX)


def bend(rng: np.random.Generator, glyph: Image.Image, most: float) -> Image.Image:
    """Returns a glyph of the same size whose outline wanders by up to about `most` of its height."""
    width, height = glyph.size
    # Three by three nodes: a digit leans, bulges and tapers, and remains one.
    nodes = rng.uniform(-most, most, (3, 3, 2)).astype(np.float32) * height
    drift = cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    # Outwards nothing is cut off: the edges' own drift is taken away.
    fade_x = np.clip(np.minimum(columns, width - 1 - columns) / (most * height), 0, 1)
    fade_y = np.clip(np.minimum(rows, height - 1 - rows) / (most * height), 0, 1)
    bent = cv2.remap(
        np.asarray(glyph),
        columns + drift[..., 0] * fade_x,
        rows + drift[..., 1] * fade_y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return Image.fromarray(bent)
