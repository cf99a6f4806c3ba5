"""Colours to grey and back: the channels of an image that is kept with one channel, or with three."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError

LUMA_WEIGHTS = (19595, 38470, 7471)
"""Weights of red, green and blue in 1/65536: Pillow's integers for the luma of ITU-R BT.601, 0.299, 0.587 and 0.114
(Pillow, src/libImaging/Convert.c, `L24`). They sum to 65536, so a grey pixel keeps its value."""
LUMA_BITS = 16
"""Fractional bits of the weights. The luma is rounded: half of 65536 is added before the shift."""


def to_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Returns an image with one or three channels: (height, width, channels) uint8.

    Colours become grey by Pillow's `convert("L")`; grey is repeated. Images are cut out and resized in RGB before, so
    preparation, prediction and a SavedModel call it, or do the same, last.

    Args:
      pixels: Image, (height, width, 1 or 3) uint8.
      channels: 1 or 3.

    Raises:
      UserError: There are other numbers of channels.
    """
    found = pixels.shape[-1] if pixels.ndim == 3 else 0
    if found not in (1, 3) or channels not in (1, 3):
        raise UserError("An image must have 1 or 3 channels.", f"shape {pixels.shape}, for {channels}")
    if found == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., np.newaxis]
