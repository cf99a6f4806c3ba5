"""Boxes in pictures, and the crop around them: geometry only."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.flags import setting
from tfrecords.record.schema import MAX_LENGTH


class BoundingBox(NamedTuple):
    """Half-open pixels: rows ymin to below ymax, columns xmin to below xmax; y grows downwards."""

    ymin: float
    xmin: float
    ymax: float
    xmax: float

    @property
    def height(self) -> float:
        return self.ymax - self.ymin

    @property
    def width(self) -> float:
        return self.xmax - self.xmin

    def grow(self, fraction: float) -> "BoundingBox":
        """Returns the box with `fraction` of its height and width added, about its centre."""
        dy, dx = self.height * fraction / 2, self.width * fraction / 2
        return BoundingBox(self.ymin - dy, self.xmin - dx, self.ymax + dy, self.xmax + dx)

    def clip(self, height: float, width: float) -> "BoundingBox":
        """Returns the part inside a picture of that size; its height or width is 0 or less where there is none."""
        return BoundingBox(max(self.ymin, 0), max(self.xmin, 0), min(self.ymax, height), min(self.xmax, width))

    def round(self) -> "BoundingBox":
        """Returns the box with its edges on whole pixels, halves rounded to even."""
        return BoundingBox(*(round(edge) for edge in self))


def union(boxes: Iterable[BoundingBox]) -> BoundingBox:
    """Returns the smallest box around all of `boxes`, which must hold at least one."""
    ymins, xmins, ymaxs, xmaxs = zip(*boxes, strict=True)
    return BoundingBox(min(ymins), min(xmins), max(ymaxs), max(xmaxs))


Offset = tuple[int, int]
"""y, x of a record's window in the resized crop, pixels."""


@dataclass(frozen=True)
class CropSpec:
    """How pictures are cut; the defaults are those of Goodfellow et al. 2013 (arXiv 1312.6082, section 5.1).

    Attributes:
      growth: what is added to the union of the digits' boxes, as a fraction of its height and width.
      crop_size: height and width that the crop is resized to, pixels; the aspect is not kept.
      record_size: height and width of the window cut from it, pixels.
      jitters: windows at random places for each training picture; 0 stores the whole
        resized crop once, for a trainer that jitters.
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
        """The offset of the window in the crop's middle, rounded down."""
        margin = (self.crop_size - self.record_size) // 2
        return margin, margin

    def jitter(self, seed: int, key: str) -> Offset:
        """Returns the window's place for an example's key: uniform over all, the same on every machine."""
        digest = hashlib.blake2b(f"{seed}/jitter/{key}".encode(), digest_size=8).digest()
        places = self.crop_size - self.record_size + 1
        y, x = divmod(int.from_bytes(digest, "big") % (places * places), places)
        return y, x


def crop_box(boxes: Sequence[BoundingBox], growth: float, height: int, width: int) -> BoundingBox:
    """Returns the union of `boxes`, grown about its centre, on whole pixels inside the picture.

    Raises:
      UserError: one of `boxes` lies outside the picture, which holds none of its digit, or nothing of the union
        is left on whole pixels.
    """
    seen = all(ymin < height and xmin < width and ymax > 0 and xmax > 0 for ymin, xmin, ymax, xmax in boxes)
    # Grown by 30 % a box of 1e300 pixels stays finite, so one clip makes any finite box safe to round.
    box = union(boxes).grow(growth).clip(height, width).round()
    if not seen or box.height < 1 or box.width < 1:
        raise UserError(f"Each digit's box must overlap the picture ({height} x {width}, height x width).", boxes)
    return box


def window(crop: NDArray[np.uint8], offset: Offset, size: int) -> NDArray[np.uint8]:
    """Returns the (size, size, channels) part of `crop` whose upper left corner is at `offset`."""
    y, x = offset
    return crop[y : y + size, x : x + size]


def boxes_in_windows(
    boxes: Sequence[BoundingBox], box: BoundingBox, crop_size: int, offsets: Sequence[Offset]
) -> NDArray[np.float32]:
    """Returns the digits' boxes in each window's pixels: (windows, 5, 4) float32, zeros behind the last.

    Args:
      boxes: in the source picture's pixels, at most five.
      box: the crop in the source picture.
      crop_size: what the crop was resized to, pixels.
      offsets: of the windows in the resized crop, pixels.
    """
    # Few numbers: plain Python takes a third of what NumPy's calls would.
    y, x = crop_size / box.height, crop_size / box.width
    placed = np.zeros((len(offsets), MAX_LENGTH, 4), np.float32)
    inside = [
        ((ymin - box.ymin) * y, (xmin - box.xmin) * x, (ymax - box.ymin) * y, (xmax - box.xmin) * x)
        for ymin, xmin, ymax, xmax in boxes
    ]
    placed[:, : len(boxes)] = np.array(inside) - np.array([offset + offset for offset in offsets])[:, None]
    return placed
