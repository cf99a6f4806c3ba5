"""Arrays to pictures: grey and diverging colours, heat over an image, tiles with gaps. NumPy only.

Blue and orange stay apart for colour-blind people, and white between them is zero.
"""

import math

import numpy as np
from numpy.typing import NDArray

_BLUE, _WHITE, _ORANGE = np.array([(33, 102, 172), (255, 255, 255), (230, 97, 1)], np.float64)
_UNKNOWN = 128
"""Grey of values that are not numbers."""
_HEAT_OPACITY = 0.8
"""Opacity of the hottest place of an overlay, so that the image shows through it."""
GAP_GREY = 255
"""Grey of the lines between tiles, and of places without a tile."""
_ENLARGED_SIDE = 800
"""Side that small pictures are enlarged up to, pixels."""
_MOST_PIXELS = 16
"""Largest side of an enlarged value, pixels."""


def grey(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Returns values as grey levels: 0 at `low`, 255 at `high`, clipped; all 0 where the two are equal.

    Args:
      values: Values of any shape.
      low: Value that is drawn black.
      high: Value that is drawn white.
    """
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(share * 255).astype(np.uint8)


def diverging(values: NDArray[np.floating], limit: float | None = None) -> NDArray[np.uint8]:
    """Returns signed values as colours: blue below zero, white at zero, orange above, grey for NaN.

    Args:
      values: Values, (height, width).
      limit: Absolute value of the full colours; None for the largest in `values`.

    Returns:
      (height, width, 3) uint8 RGB.
    """
    known = np.isfinite(values)
    finite = np.where(known, values, 0).astype(np.float64)
    limit = float(np.abs(finite).max(initial=0)) if limit is None else limit
    share = np.clip(finite / limit if limit > 0 else finite, -1, 1)[..., None]
    colours = _WHITE + np.abs(share) * (np.where(share < 0, _BLUE, _ORANGE) - _WHITE)
    return np.where(known[..., None], np.rint(colours), _UNKNOWN).astype(np.uint8)


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Returns an image in grey with orange where the heat is.

    Args:
      image: Image, (height, width, 1 or 3) uint8.
      heat: Heat of each place, (height, width), 0..1.

    Returns:
      (height, width, 3) uint8 RGB.
    """
    base = image.mean(axis=-1, keepdims=True)
    opacity = _HEAT_OPACITY * np.clip(heat.astype(np.float64), 0, 1)[..., None]
    picture: NDArray[np.uint8] = np.rint(base * (1 - opacity) + _ORANGE * opacity).astype(np.uint8)
    return picture


def enlarge(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Returns a picture (height, width, ...) with each pixel repeated `factor` times in both directions."""
    large: NDArray[np.uint8] = np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
    return large


def gap(factor: int) -> int:
    """Returns the width of the lines between tiles, pixels: a quarter of the side of a value, and at least 1."""
    return max(1, factor // 4)


def tiles(cells: NDArray[np.uint8], factor: int = 1) -> NDArray[np.uint8]:
    """Returns cells in rows and columns as one picture, with white lines between and around them.

    Args:
      cells: Grey cells, (rows, columns, height, width) uint8.
      factor: Side of a value, pixels.

    Returns:
      (rows * (height * factor + gap) + gap, columns * (width * factor + gap) + gap, 1) uint8, where gap is
      `gap(factor)`.
    """
    rows, columns, height, width = cells.shape
    line = gap(factor)
    large = cells.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (line, 0), (line, 0)), constant_values=GAP_GREY)
    joined = framed.transpose(0, 2, 1, 3).reshape(rows * (height * factor + line), columns * (width * factor + line))
    return np.pad(joined, ((0, line), (0, line)), constant_values=GAP_GREY)[..., None]


def wrap(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns cells as the rows and columns of an almost square table, without empty places where their number allows.

    Args:
      cells: Grey cells, (cells, height, width) uint8.

    Returns:
      (rows, columns, height, width) uint8, row by row; places after the last cell are white.
    """
    count, height, width = cells.shape
    root = math.ceil(math.sqrt(count))
    columns = next((columns for columns in range(root, 2 * root) if count % columns == 0), root)
    rows = math.ceil(count / columns)
    padded = np.pad(cells, ((0, rows * columns - count), (0, 0), (0, 0)), constant_values=GAP_GREY)
    return padded.reshape(rows, columns, height, width)


def best_factor(counts: tuple[int, int], cell: tuple[int, int], most_side: int = _ENLARGED_SIDE) -> int:
    """Returns the side of a value, 1..16 pixels, that enlarges small tiles up to a useful size.

    Args:
      counts: Number of rows and columns.
      cell: Height and width of a cell, values.
      most_side: Largest side of the picture, pixels; 800 in any case. Tiles that are larger are not enlarged.
    """
    room = min(most_side, _ENLARGED_SIDE)

    def fits(factor: int) -> bool:
        line = gap(factor)
        return all(count * (side * factor + line) + line <= room for count, side in zip(counts, cell, strict=True))

    return next((factor for factor in range(_MOST_PIXELS, 1, -1) if fits(factor)), 1)
