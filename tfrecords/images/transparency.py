"""Transparent pictures on a background that shows what is drawn.

In logos, screenshots and cut-out scans the number may be in the transparency alone, above one colour. Viewers choose
the background; here it is white, or black where the ink is light, whatever shows the picture.
"""

import numpy as np
from PIL import Image

LUMA = (299, 587, 114)
"""Weights of red, green and blue in the brightness of a colour, thousandths (ITU-R BT.601)."""
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def compose(picture: Image.Image) -> Image.Image:
    """Returns a picture with transparency on its background: RGB. Without transparent pixels, its colours as they are.

    The background is black if the mean brightness of the picture, weighted by opacity, is above half, and white
    otherwise. Sums are of integers, so that they are the same on every machine.

    Args:
      picture: RGBA picture.
    """
    alpha = picture.getchannel("A")
    colours = picture.convert("RGB")
    if alpha.getextrema()[0] == 255:
        return colours
    opacity = np.asarray(alpha)
    sums = np.einsum("yxc,yx->c", np.asarray(colours), opacity, dtype=np.int64, casting="unsafe")
    is_light = 2 * int(sums @ LUMA) > 255 * sum(LUMA) * int(opacity.sum(dtype=np.int64))
    composed = Image.new("RGB", picture.size, _BLACK if is_light else _WHITE)
    composed.paste(colours, mask=alpha)
    return composed


def with_key_colour(picture: Image.Image, key: int | tuple[int, ...], depth: int) -> Image.Image:
    """Returns a grey or RGB picture, one colour of which is transparent, as RGBA.

    Args:
      picture: Picture of the mode 1, L or RGB.
      key: Sample or samples of the transparent colour, as stored in the file.
      depth: Bits per sample in the file.
    """
    samples = np.array(key) & ((1 << depth) - 1)
    # Pillow scales samples to 8 bits but not the key, and for that reason misses it.
    samples = samples >> 8 if depth == 16 else samples * 255 // ((1 << depth) - 1)
    pixels = np.asarray(picture.convert("RGB"))
    transparent = (pixels == samples).all(-1)
    return Image.fromarray(np.dstack([pixels, np.where(transparent, 0, 255).astype(np.uint8)]))
