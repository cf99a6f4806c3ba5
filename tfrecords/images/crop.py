"""Geometry of boxes in pictures, and of the crop around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.flags import setting


class BoundingBox(NamedTuple):
    """Box in half-open pixels; y grows downwards.

    Attributes:
      ymin: First row.
      xmin: First column.
      ymax: Row after the last.
      xmax: Column after the last.
    """

    ymin: float
    xmin: float
    ymax: float
    xmax: float

    @property
    def height(self) -> float:
        """Number of rows."""
        return self.ymax - self.ymin

    @property
    def width(self) -> float:
        """Number of columns."""
        return self.xmax - self.xmin

    def grow(self, fraction: float) -> "BoundingBox":
        """Returns the box with `fraction` added to its height and width, around its centre."""
        dy, dx = self.height * fraction / 2, self.width * fraction / 2
        return BoundingBox(self.ymin - dy, self.xmin - dx, self.ymax + dy, self.xmax + dx)

    def clip(self, height: float, width: float) -> "BoundingBox":
        """Returns the part inside a picture of this size; for a box outside, its height or width is 0 or less."""
        return BoundingBox(max(self.ymin, 0), max(self.xmin, 0), min(self.ymax, height), min(self.xmax, width))

    def round(self) -> "BoundingBox":
        """Returns the box with its edges on whole pixels, halves rounded to even."""
        return BoundingBox(*(round(edge) for edge in self))


def union(boxes: Iterable[BoundingBox]) -> BoundingBox:
    """Returns the smallest box around one or more boxes."""
    ymins, xmins, ymaxs, xmaxs = zip(*boxes, strict=True)
    return BoundingBox(min(ymins), min(xmins), max(ymaxs), max(xmaxs))


Offset = tuple[int, int]
"""y, x of a window in the resized crop, pixels."""
Shape = tuple[int, int]
"""Height and width, pixels."""


@dataclass(frozen=True)
class CropSpec:
    """Geometry of crops. The defaults are those of Goodfellow et al. 2013 (arXiv 1312.6082, section 5.1).

    Attributes:
      growth: Growth of the union of the digits' boxes, as a fraction of its height and width.
      crop_size: Height of the resized crop, pixels; its width is `aspect` times as large. The picture's own aspect
        ratio is not kept.
      record_size: Height of the window that is cut from the resized crop, pixels; its width likewise.
      jitters: Number of windows at random offsets per training picture. 0 stores the complete resized crop once, for
        a trainer that jitters.
      aspect: Width of the resized crop and of its windows over their height.
    """

    growth: float = setting(
        0.3, "margin around the union of the digits' boxes, as a fraction of its size", group="pictures"
    )
    crop_size: int = setting(64, "height of the resized crop, pixels; its width, unless --aspect", group="pictures")
    record_size: int = setting(54, "height of the stored window of the crop, pixels; its width too", group="pictures")
    jitters: int = setting(
        5, "random windows per training picture; 0 stores the complete resized crop once", group="pictures"
    )
    aspect: float = setting(
        1.0, "width of crops and windows over their height; 3 suits numbers of eight digits", group="pictures"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.growth <= 10:
            raise UserError("growth must be 0..10.", self.growth)
        if not 1 <= self.record_size <= self.crop_size <= 4096:
            raise UserError(
                "record_size must be at least 1 and at most crop_size, crop_size at most 4096.",
                f"record_size {self.record_size}, crop_size {self.crop_size}",
            )
        if not 0 <= self.jitters <= 1000:
            raise UserError("jitters must be 0..1000.", self.jitters)
        if not 1 / 16 <= self.aspect <= 16:
            raise UserError("aspect must be 1/16..16.", self.aspect)

    # Cached: each is needed for each of millions of windows.
    @cached_property
    def crop_shape(self) -> Shape:
        """Height and width of the resized crop, pixels."""
        return self.crop_size, self._width(self.crop_size)

    @cached_property
    def record_shape(self) -> Shape:
        """Height and width of the window that is cut from the resized crop, pixels."""
        return self.record_size, self._width(self.record_size)

    def _width(self, height: int) -> int:
        return max(1, round(height * self.aspect))

    @property
    def centre(self) -> Offset:
        """Offset of the window in the middle of the crop, rounded down."""
        y, x = ((crop - record) // 2 for crop, record in zip(self.crop_shape, self.record_shape, strict=True))
        return y, x

    def jitter(self, seed: int, key: str) -> Offset:
        """Returns the offset of the window for an example's key: uniform, and the same on every machine."""
        rows, columns = self._places
        y, x = divmod(stable_digest(f"{seed}/jitter/{key}") % (rows * columns), columns)
        return y, x

    @cached_property
    def _places(self) -> tuple[int, int]:
        """Numbers of rows and columns at which a window can begin."""
        rows, columns = (crop - record + 1 for crop, record in zip(self.crop_shape, self.record_shape, strict=True))
        return rows, columns


def crop_box(boxes: Sequence[BoundingBox], growth: float, height: int, width: int) -> BoundingBox:
    """Returns the union of boxes, grown around its centre, on whole pixels inside the picture.

    Args:
      boxes: Boxes of the characters in the picture, or the box of the number; none for the complete picture.
      growth: Growth of the union, as a fraction of its height and width.
      height: Height of the picture, pixels.
      width: Width of the picture, pixels.

    Raises:
      UserError: A box lies outside the picture, or the crop has no whole pixel.
    """
    if not boxes:
        return BoundingBox(0, 0, height, width)
    seen = all(ymin < height and xmin < width and ymax > 0 and xmax > 0 for ymin, xmin, ymax, xmax in boxes)
    # Grown by 30 % a box of 1e300 pixels stays finite, so one clip makes any finite box safe to round.
    box = union(boxes).grow(growth).clip(height, width).round()
    if not seen or box.height < 1 or box.width < 1:
        raise UserError(f"Each digit's box must overlap the picture ({height} x {width}, height x width).", boxes)
    return box


def window(crop: NDArray[np.uint8], offset: Offset, shape: Shape) -> NDArray[np.uint8]:
    """Returns the part of a crop with its upper left corner at `offset`: (height, width, channels)."""
    (y, x), (height, width) = offset, shape
    return crop[y : y + height, x : x + width]


def boxes_in_windows(
    boxes: Sequence[BoundingBox], box: BoundingBox, crop_shape: Shape, offsets: Sequence[Offset], rows: int
) -> NDArray[np.float32]:
    """Returns the characters' boxes in the pixels of each window: (windows, rows, 4) float32, padded with zeros.

    Args:
      boxes: Boxes in pixels of the source picture, none to `rows`.
      box: Crop in the source picture.
      crop_shape: Height and width of the resized crop, pixels.
      offsets: Offsets of the windows in the resized crop, pixels.
      rows: Number of boxes with the padding.
    """
    # For so few values, plain Python takes a third of the time of NumPy's calls.
    y, x = crop_shape[0] / box.height, crop_shape[1] / box.width
    placed = np.zeros((len(offsets), rows, 4), np.float32)
    inside = [
        ((ymin - box.ymin) * y, (xmin - box.xmin) * x, (ymax - box.ymin) * y, (xmax - box.xmin) * x)
        for ymin, xmin, ymax, xmax in boxes
    ]
    if inside:
        placed[:, : len(boxes)] = np.array(inside) - np.array([offset + offset for offset in offsets])[:, None]
    return placed
