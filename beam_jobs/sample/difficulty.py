"""Styles of drawn numbers: what varies in them, and how widely."""

from dataclasses import dataclass, replace


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
      jpeg: Share of pictures with JPEG compression.
      quality: Minimum quality of JPEG, and the one above its maximum.
      device: `display`, `meter` or `either` for the numbers of devices; empty for those of houses.
      numbers: `even`; `logarithmic`: from two digits on, the first is most often a 1, since each street has its low
        numbers and few have high ones; or `counter`: leading zeros.
      gap: Mean, standard deviation, minimum and maximum of the space between two digits.
      stacked: Share of numbers with one digit below the other.
      turn: Standard deviation and largest value of the number's rotation, in radians.
      tilt: Standard deviation of the vertical perspective.
      slack: Smallest and largest distance of the boxes' edges from the ink: boxes that people draw are loose.
      edges: Probability of a part of another digit or of a bar at the left edge of the picture, and at the right one.
      plates: Share of pictures with a plate behind the number.
      vivid: Share of pictures with a strong colour on the plate or in the digits.
      equal_lightness: Share of pictures in which digits and ground differ by hue, and hardly by lightness.
      outline: Share of numbers of which only the outline is painted.
      contour: Share of numbers with an outline in a second colour.
      relief: Share of raised numbers, with light and shadow at their edges.
      gradient: Share of numbers that get lighter or darker from top to bottom.
      neon: Share of numbers that glow.
      worn: Share of numbers whose paint has flaked.
      tiles: Share of pictures with a tile behind each digit.
      screws: Share of pictures with a screw on each side of the number.
      reflection: Share of pictures with a reflection.
      obstacle: Share of pictures with a twig or leaf over the number.
      overexposed: Share of pictures with more contrast than the camera takes.
      few_pixels: Share of pictures enlarged from fewer pixels.
      fringe: Share of pictures with shifted red and blue.
      sharpen: Share of pictures with halos, as software that sharpens makes.
      words: Share of pictures with a word beside, above or below the number.
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
    quality: tuple[int, int] = (25, 91)
    device: str = ""
    numbers: str = "even"
    gap: tuple[float, float, float, float] = (0.1, 0.06, 0.03, 0.3)
    stacked: float = 0.0
    turn: tuple[float, float] = (0.06, 0.17)
    tilt: float = 0.0
    slack: tuple[float, float] = (0.0, 0.0)
    edges: float = 0.25
    plates: float = 0.4
    vivid: float = 0.0
    equal_lightness: float = 0.0
    outline: float = 0.0
    contour: float = 0.0
    relief: float = 0.0
    gradient: float = 0.0
    neon: float = 0.0
    worn: float = 0.0
    tiles: float = 0.0
    screws: float = 0.0
    reflection: float = 0.0
    obstacle: float = 0.0
    overexposed: float = 0.0
    few_pixels: float = 0.0
    fringe: float = 0.0
    sharpen: float = 0.0
    words: float = 0.0


_STREET = Style(
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
)
_DEVICE = replace(
    _STREET,
    numbers="counter",
    digit_px=(30, 0.4, 14, 72),
    slack=(-0.02, 0.1),
    overexposed=0.15,
    few_pixels=0.15,
    fringe=0.15,
    sharpen=0.2,
)

STYLES = {
    "clear": Style(),
    # Sizes as in the boxes of SVHN's test set (median 24 pixels). The other ranges were widened until a model's errors
    # on real photos were no longer of one kind: round zeros read as 9, faint and blurred digits, numbers that rise.
    "street": _STREET,
    # `street` with what was left: ones read as 7 and 4, digits far apart, loose boxes, materials, cameras, words.
    "varied": replace(
        _STREET,
        contrast=(20, 190),
        blur=(0.005, 0.13, 1.5),
        stagger=(0.2, 0.6),
        quality=(15, 91),
        numbers="logarithmic",
        gap=(0.14, 0.12, -0.03, 0.6),
        stacked=0.02,
        turn=(0.09, 0.4),
        tilt=0.05,
        slack=(-0.03, 0.2),
        edges=0.35,
        vivid=0.1,
        equal_lightness=0.03,
        outline=0.03,
        contour=0.08,
        relief=0.15,
        gradient=0.08,
        neon=0.04,
        worn=0.05,
        tiles=0.06,
        screws=0.06,
        reflection=0.06,
        obstacle=0.05,
        overexposed=0.2,
        few_pixels=0.3,
        fringe=0.25,
        sharpen=0.3,
        words=0.3,
    ),
    "display": replace(_DEVICE, device="display", reflection=0.25),
    "meter": replace(_DEVICE, device="meter", stroke_faces=False, reflection=0.15),
    "device": replace(_DEVICE, device="either", stroke_faces=False, reflection=0.2),
}
