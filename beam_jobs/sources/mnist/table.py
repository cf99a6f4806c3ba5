"""MNIST as CSV: a row is a picture, with a column for its label or without one (https://www.kaggle.com/c/digit-recognizer/data).

Without a header, the label is the first value.
"""

from math import isqrt

from beam_jobs.sources.pixels.rows import Head, Layout, layout_of
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_LEAST_SIDE = 2


def layout(head: Head, place: Place) -> Layout:
    """Returns the meaning of the columns of a CSV file that begins with `head`.

    Without a header, a square number of values is a picture without a label, and one value more is its label.

    Raises:
      UserError: The columns are not those of a square picture.
    """
    found = layout_of(head, 0 if _is_square(head.columns - 1) else None)
    if not _is_square(len(found.pixels)):
        rule = f"{place} must have the pixels of a square picture in a row (28x28: 784), and one label or none."
        if head.names and found.label is None:
            rule += " No column is named label."
        raise UserError(rule, f"{len(found.pixels)} columns of pixels")
    return found


def _is_square(pixels: int) -> bool:
    """Returns whether a number of pixels can be that of a square picture."""
    return pixels >= _LEAST_SIDE**2 and isqrt(pixels) ** 2 == pixels
