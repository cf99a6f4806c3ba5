"""A complete picture fitted into a square, for models that find numbers in it.

Preparation, training and prediction fit pictures here. A SavedModel does it again in TensorFlow, so it is made of what
`trainer.export` repeats: integers, the resize of `tfrecords.images.decode.cut`, and padding.
"""

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox, Shape
from tfrecords.images.decode import cut


def content_shape(height: int, width: int, canvas: int) -> Shape:
    """Returns the height and width that a picture has in a square, pixels: the longest side is that of the square.

    The other side is rounded, halves up, and is at least 1. Integers alone decide, the same on every machine; in
    TensorFlow they need 64 bits.

    Args:
      height: Height of the picture, pixels.
      width: Width of the picture, pixels.
      canvas: Height and width of the square, pixels.
    """
    longest = max(height, width)
    rows, columns = (max(1, (2 * side * canvas + longest) // (2 * longest)) for side in (height, width))
    return rows, columns


def fit_to_canvas(picture: NDArray[np.uint8], canvas: int) -> tuple[NDArray[np.uint8], NDArray[np.float64], Shape]:
    """Returns a picture resized to fit a square, in its upper left corner; the rest is 0.

    Small pictures are enlarged, large ones reduced, with the filter of `tfrecords.images.decode.cut`: a model sees all
    of them at one size.

    Args:
      picture: RGB or grey pixels: (height, width, 3 or 1) uint8.
      canvas: Height and width of the square, pixels.

    Returns:
      Image, (canvas, canvas, channels) uint8; scale, (4,) float64, by which a box (ymin, xmin, ymax, xmax) of the
      picture is multiplied to be one of the image, and divided for the way back; and the height and width of the
      picture in the image, pixels.
    """
    height, width, channels = picture.shape
    content = content_shape(height, width, canvas)
    image = np.zeros((canvas, canvas, channels), np.uint8)
    image[: content[0], : content[1]] = cut(picture, BoundingBox(0, 0, height, width), content)
    # Of each axis: the rounded side has a scale of its own.
    return image, np.tile((content[0] / height, content[1] / width), 2), content
