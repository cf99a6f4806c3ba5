"""Styles of drawn numbers: what varies in them, and how widely."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """Ranges of the random values of a picture. Lengths are shares of a digit's height unless in pixels.

    Attributes:
      stroke_faces: Whether OpenCV's stroke faces are used in addition to the typefaces.
      digit_px: Median, standard deviation of the logarithm, minimum and maximum of a digit's height in pixels.
      stretch: Minimum and maximum factor of a digit's width.
      strokes: Pixels that are added to the strokes of a glyph of about 70 pixels; one is chosen.
      bend: Largest displacement of a glyph's outline.
      stagger: Share of numbers that rise or fall, and the largest slope.
      contrast: Minimum and maximum difference between a digit and its background, in grey values of 255.
      blur: Minimum and maximum sigma of the lens blur, and the power of the uniform random value between them.
      smear: Share of pictures with motion blur.
      shade: Share of pictures with the edge of a shadow across the number.
      jpeg: Share of pictures with JPEG compression, at a quality of 25 to 90.
    """

    stroke_faces: bool = False
    digit_px: tuple[float, float, float, float] = (30, 0.4, 18, 72)
    stretch: tuple[float, float] = (0.55, 0.95)
    strokes: tuple[int, ...] = (0, 0, 2, 4)
    bend: float = 0.0
    stagger: tuple[float, float] = (0.0, 0.0)
    contrast: tuple[float, float] = (55, 150)
    blur: tuple[float, float, float] = (0.01, 0.05, 1)
    smear: float = 0.0
    shade: float = 0.0
    jpeg: float = 0.0


STYLES = {
    "clear": Style(),
    # Sizes as in the boxes of SVHN's test set (median 24 pixels). The other ranges were widened until a model's errors
    # on real photos were no longer of one kind: round zeros read as 9, faint and blurred digits, numbers that rise.
    "street": Style(
        stroke_faces=True,
        digit_px=(25, 0.42, 11, 72),
        stretch=(0.5, 1.3),
        strokes=(0, 0, 2, 4, 7),
        bend=0.05,
        stagger=(0.12, 0.6),
        contrast=(25, 150),
        blur=(0.01, 0.12, 1.5),
        smear=0.15,
        shade=0.12,
        jpeg=0.5,
    ),
}
