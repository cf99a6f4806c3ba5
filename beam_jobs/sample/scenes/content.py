"""What a drawn scene holds: shares of what varies in it, and how widely."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SceneStyle:
    """Shares and ranges of the random values of a scene. Lengths are shares of the picture's width unless in pixels.

    Attributes:
      counts: Shares of pictures without a number, with one, and with two to four.
      close: Share of pictures that one number nearly fills.
      photos: Share of pictures that are one of `photo.draw_photo`, as SVHN's own are cut.
      photo_styles: Styles of those pictures; one is chosen.
      smeared: Share of those pictures that are extended beyond their edges, whose pixels are smeared outwards.
      longest_px: Minimum and maximum of a picture's longer side, log-uniform.
      aspects: Widths by height of pictures; one is chosen.
      number_width: Minimum and maximum width of a number, log-uniform.
      close_width: The same in close pictures.
      digit_px: Minimum height of a digit in a picture of 320 pixels or less; larger pictures have larger digits.
      long: Share of numbers with four or five digits in addition to those of SVHN's proportions.
      sloped: Share of numbers whose digits rise or fall.
      stairs: Share of numbers whose digits stand nearly below each other.
      plates: Share of numbers on a plate, a board or a letter box.
      turn: Standard deviation and maximum of a number's rotation, radians.
      contrast: Minimum and maximum difference between a digit and its background, in grey values of 255.
      words: Shares of pictures with no, one, two and three signs of letters; pictures without a number have one more.
      walls: Names of the walls in `surfaces`, with weights.
      things: Mean count of doors, windows and other things of a street.
      foliage: Share of pictures with leaves in front of them.
      bars: Share of pictures with railings or grilles in front of them.
      hidden: Share of a number's ink that may be hidden; a picture with more hidden is drawn again.
      hidden_digit: The same for one of its digits.
      faint: Least difference between a digit and what is around it; a picture with a fainter one is drawn again.
      shade: Share of pictures with shadows.
      smear: Share of pictures with motion blur.
      zoomed: Share of pictures that were enlarged after they were taken.
      quality: Minimum and maximum quality of the JPEG file.
    """

    counts: tuple[float, float, float] = (0.15, 0.65, 0.2)
    close: float = 0.15
    photos: float = 0.12
    photo_styles: tuple[str, ...] = ("clear", "street")
    smeared: float = 0.5
    longest_px: tuple[int, int] = (120, 640)
    aspects: tuple[float, ...] = (4 / 3, 4 / 3, 3 / 4, 3 / 4, 1.0, 3 / 2, 2 / 3, 16 / 9, 9 / 16)
    number_width: tuple[float, float] = (0.08, 0.6)
    close_width: tuple[float, float] = (0.6, 0.95)
    digit_px: float = 8
    long: float = 0.05
    sloped: float = 0.1
    stairs: float = 0.02
    plates: float = 0.45
    turn: tuple[float, float] = (0.05, 0.3)
    contrast: tuple[float, float] = (25, 150)
    words: tuple[float, ...] = (0.35, 0.3, 0.2, 0.15)
    walls: tuple[tuple[str, float], ...] = (
        *(("plaster", 0.3), ("brick", 0.25), ("siding", 0.15)),
        *(("stone", 0.12), ("wood", 0.12), ("garden", 0.06)),
    )
    things: float = 2.5
    foliage: float = 0.3
    bars: float = 0.12
    hidden: float = 0.5
    hidden_digit: float = 0.75
    faint: float = 10
    shade: float = 0.35
    smear: float = 0.1
    zoomed: float = 0.2
    quality: tuple[int, int] = (40, 96)


STREET = SceneStyle()
"""The style of `sample --scene`."""


def draw_numbers(
    rng: np.random.Generator, draw_number: Callable[[np.random.Generator], tuple[int, ...]], style: SceneStyle = STREET
) -> tuple[tuple[int, ...], ...]:
    """Returns the digits of the numbers of one scene, none for a picture without a number.

    Args:
      rng: Random generator.
      draw_number: Function that draws a number of SVHN's proportions.
      style: Shares and ranges.
    """
    kind = int(rng.choice(3, p=style.counts))
    count = kind if kind < 2 else int(rng.integers(2, 5))
    return tuple(_long(rng) if rng.random() < style.long else draw_number(rng) for _ in range(count))


def _long(rng: np.random.Generator) -> tuple[int, ...]:
    first, *others = rng.integers((1, 0, 0, 0, 0), 10).tolist()
    return (first, *others[: int(rng.integers(3, 5))])
