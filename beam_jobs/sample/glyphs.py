"""Masks of single digits, from typefaces or from OpenCV's stroke faces, straight or bent."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tfrecords.errors import UserError

_GLYPH_PX = 96  # Larger than any digit drawn, so glyphs are only ever reduced.
_MOST_GLYPHS = 4096  # About 30 MB, and every glyph of twenty faces; each digit of hundreds would fill the memory.
BORDER_PX = 2  # Empty pixels around a glyph, between which and its edge a transform interpolates.

# The typefaces in matplotlib's wheel whose digits have one height and cannot be mistaken.
_FACE_NAMES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif"),
    *("DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("STIXGeneralBolIta", "cmb10", "cmr10", "cmss10", "cmtt10"),
)
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


def find_faces() -> tuple[str, ...]:
    """Returns the paths of the TrueType faces in matplotlib's package, which is located without importing it.

    Raises:
      UserError: matplotlib or one of its faces is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" if spec and spec.origin else None
    paths = [folder / f"{name}.ttf" for name in _FACE_NAMES] if folder else []
    if not paths or not all(path.is_file() for path in paths):
        rule = "sample draws with the typefaces in matplotlib's wheel: pip install 'streetdigits[sample]'."
        raise UserError(rule, folder or "no matplotlib")
    return tuple(map(str, paths))


@lru_cache(maxsize=_MOST_GLYPHS)
def glyph_mask(face: str, digit: int, stroke: int) -> Image.Image:
    """Returns the coverage of one digit as a greyscale image, cropped to the digit and `BORDER_PX` on every side.

    Args:
      face: Path of a typeface, or one of `STROKE_FACES`.
      digit: Digit, 0 to 9.
      stroke: Pixels to add to the strokes of a glyph of about 70 pixels.
    """
    if face in _STROKE_FACES:
        canvas = np.zeros((2 * _GLYPH_PX, 2 * _GLYPH_PX), np.uint8)
        # A pen of 8 pixels for a digit of 70 is a regular weight.
        cv2.putText(canvas, str(digit), (40, 140), _STROKE_FACES[face], 3.2, 255, 8 + 2 * stroke, cv2.LINE_AA)
        image = Image.fromarray(canvas)
    else:
        font = ImageFont.truetype(face, _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = font.getbbox(str(digit), stroke_width=stroke)
        # Room on all sides of the place where `getbbox` expects the ink: some faces draw beyond it.
        room = _GLYPH_PX // 3
        image = Image.new("L", (int(right - left) + 2 * room, int(bottom - top) + 2 * room))
        ImageDraw.Draw(image).text((room - left, room - top), str(digit), fill=255, font=font, stroke_width=stroke)
    return ImageOps.expand(image.crop(image.getbbox()), BORDER_PX)


def bend(rng: np.random.Generator, glyph: Image.Image, limit: float) -> Image.Image:
    """Returns a glyph of the same size with its outline displaced by up to about `limit` of its height."""
    width, height = glyph.size
    # Three by three nodes: a digit leans, bulges and tapers, and stays readable.
    nodes = rng.uniform(-limit, limit, (3, 3, 2)).astype(np.float32) * height
    drift = cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    # The displacement fades to 0 at the edges, so that nothing is cut off.
    fade_x = np.clip(np.minimum(columns, width - 1 - columns) / (limit * height), 0, 1)
    fade_y = np.clip(np.minimum(rows, height - 1 - rows) / (limit * height), 0, 1)
    bent = cv2.remap(
        np.asarray(glyph),
        columns + drift[..., 0] * fade_x,
        rows + drift[..., 1] * fade_y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return Image.fromarray(bent)
