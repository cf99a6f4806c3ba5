"""A place where a finder has found a number."""

from dataclasses import dataclass

from tfrecords.images.crop import BoundingBox


@dataclass(frozen=True)
class Found:
    """A place of a number in a picture.

    Attributes:
      box: Box of the number, pixels of the picture.
      confidence: Confidence that a number is there, 0..1.
    """

    box: BoundingBox
    confidence: float
