"""Rectangles in pictures, and how they are joined, grown and clipped."""

from collections.abc import Iterable
from typing import NamedTuple


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
