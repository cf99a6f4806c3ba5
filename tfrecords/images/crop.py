"""Geometry of boxes in pictures, and of the crop around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.flags import setting
from tfrecords.record.schema import MAX_LENGTH


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


@dataclass(frozen=True)
class CropSpec:
    """Geometry of crops. The defaults are those of Goodfellow et al. 2013 (arXiv 1312.6082, section 5.1).

    Attributes:
      growth: Growth of the union of the digits' boxes, as a fraction of its height and width.
      crop_size: Height and width of the resized crop, pixels. The aspect ratio is not kept.
      record_size: Height and width of the window that is cut from the resized crop, pixels.
      jitters: Number of windows at random offsets per training picture. 0 stores the complete resized crop once, for
        a trainer that jitters.
    """

    growth: float = setting(
        0.3, "margin around the union of the digits' boxes, as a fraction of its size", group="pictures"
    )
    crop_size: int = setting(64, "height and width of the resized crop, pixels", group="pictures")
    record_size: int = setting(54, "height and width of the stored window of the crop, pixels", group="pictures")
    jitters: int = setting(
        5, "random windows per training picture; 0 stores the complete resized crop once", group="pictures"
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

    @property
    def centre(self) -> Offset:
        """Offset of the window in the middle of the crop, rounded down."""
        margin = (self.crop_size - self.record_size) // 2
        return margin, margin

    def jitter(self, seed: int, key: str) -> Offset:
        """Returns the offset of the window for an example's key: uniform, and the same on every machine."""
        offsets = self.crop_size - self.record_size + 1
        y, x = divmod(stable_digest(f"{seed}/jitter/{key}") % (offsets * offsets), offsets)
        return y, x


def crop_box(boxes: Sequence[BoundingBox], growth: float, height: int, width: int) -> BoundingBox:
    """Returns the union of boxes, grown around its centre, on whole pixels inside the picture.

    Args:
      boxes: Boxes of the digits in the picture.
      growth: Growth of the union, as a fraction of its height and width.
      height: Height of the picture, pixels.
      width: Width of the picture, pixels.

    Raises:
      UserError: A box lies outside the picture, or the crop has no whole pixel.
    """
    seen = all(ymin < height and xmin < width and ymax > 0 and xmax > 0 for ymin, xmin, ymax, xmax in boxes)
    # Grown by 30 % a box of 1e300 pixels stays finite, so one clip makes any finite box safe to round.
    box = union(boxes).grow(growth).clip(height, width).round()
    if not seen or box.height < 1 or box.width < 1:
        raise UserError(f"Each digit's box must overlap the picture ({height} x {width}, height x width).", boxes)
    return box


def window(crop: NDArray[np.uint8], offset: Offset, size: int) -> NDArray[np.uint8]:
    """Returns the part of a crop with its upper left corner at `offset`: (size, size, channels)."""
    y, x = offset
    return crop[y : y + size, x : x + size]


def boxes_in_windows(
    boxes: Sequence[BoundingBox], box: BoundingBox, crop_size: int, offsets: Sequence[Offset]
) -> NDArray[np.float32]:
    """Returns the digits' boxes in the pixels of each window: (windows, 5, 4) float32, padded with zeros.

    Args:
      boxes: Boxes in pixels of the source picture, none to five.
      box: Crop in the source picture.
      crop_size: Height and width of the resized crop, pixels.
      offsets: Offsets of the windows in the resized crop, pixels.
    """
    # For so few values, plain Python takes a third of the time of NumPy's calls.
    y, x = crop_size / box.height, crop_size / box.width
    placed = np.zeros((len(offsets), MAX_LENGTH, 4), np.float32)
    inside = [
        ((ymin - box.ymin) * y, (xmin - box.xmin) * x, (ymax - box.ymin) * y, (xmax - box.xmin) * x)
        for ymin, xmin, ymax, xmax in boxes
    ]
    if inside:
        placed[:, : len(boxes)] = np.array(inside) - np.array([offset + offset for offset in offsets])[:, None]
    return placed
