"""How hard drawn numbers are to read: what varies in them, and how widely."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Ranges that a drawing's random numbers are spread over; lengths are shares of a digit's height unless in pixels.

    Attributes:
      drawn_faces: whether OpenCV's stroke faces are used beside the typefaces.
      digit_px: median, spread (of the logarithm), least and most of a digit's height, pixels.
      stretch: least and most of a digit's width over what its face gives it.
      strokes: pixels by which a glyph, of about 70, is made bolder; one is chosen.
      bend: by how much a glyph's outline wanders.
      stagger: share of numbers that climb or fall, and the most of it, as a slope.
      contrast: least and most that ink stands out from its ground, grey values of 255.
      blur: least and most sigma of the lens, and the power of the uniform number between them.
      smear: share of pictures that moved while they were taken.
      shade: share of pictures with a shadow's edge over the number.
      jpeg: share of pictures that were compressed, at a quality of 25 to 90.
    """

    drawn_faces: bool = False
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


LOOKS = {
    "clear": Look(),
    # Sizes as in SVHN's test boxes (median 24 pixels); the rest was widened until errors on real photos no longer
    # were of one kind: round zeros read as 9, faint and blurred digits, numbers that climb.
    "street": Look(
        drawn_faces=True,
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
