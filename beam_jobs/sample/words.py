"""Words beside a drawn number, which are none: names of streets and people, signs, letters like digits."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from beam_jobs.sample.scenery import Scene, blend, gray_color, similarity, warp
from beam_jobs.sample.scenes.lettering import Lettering, word

_WIDEST = 6.0
"""Largest width of a word, heights of a digit."""


@dataclass(frozen=True)
class Word:
    """A word beside a number.

    Attributes:
      lettering: Word in its plane.
      size: Height of a capital letter, pixels.
      axis: 0 for a word left or right of the number, 1 for one above or below it.
      is_after: Whether it is right of the number, or below it.
      gap: Distance from the number, pixels.
    """

    lettering: Lettering
    size: float
    axis: int
    is_after: bool
    gap: float

    @property
    def room(self) -> np.ndarray:
        """(2, 2) pixels by which the margins around the number are larger: before and after, in x and y."""
        room = np.zeros((2, 2))
        half = self.lettering.half_size * self.size
        room[self.axis, int(self.is_after)] = 2 * half[self.axis] + self.gap
        if self.axis:
            # One that is longer than the number needs margins at its sides too.
            room[0] = half[0] / 2
        return room


def word_beside(rng: np.random.Generator, faces: tuple[str, ...], digit_height: float) -> Word:
    """Returns a random word for the picture of a number whose digits have `digit_height` pixels."""
    lettering = word(rng, faces)
    size = min(rng.uniform(0.4, 1.2), _WIDEST / (2 * lettering.half_size[0])) * digit_height
    axis = int(rng.random() < 0.6)
    return Word(lettering, size, axis, bool(rng.random() < 0.5), rng.uniform(0.1, 0.6) * digit_height)


def add_word(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, shown: Word, color: np.ndarray) -> np.ndarray:
    """Returns a (height, width, 3) canvas with a word, half of the time in the number's colour, (3,) RGB."""
    half = shown.lettering.half_size * shown.size
    middle = (scene.low + scene.high) / 2
    edge = scene.high if shown.is_after else scene.low
    middle[shown.axis] = edge[shown.axis] + (shown.gap + half[shown.axis]) * (1 if shown.is_after else -1)
    place = similarity(float(rng.normal(0, 0.04)), *middle) @ np.diag((shown.size, shown.size, 1))
    if rng.random() < 0.5:
        color = gray_color(rng, rng.uniform(10, 245))
    for mask, part in zip(shown.lettering.masks, shown.lettering.places, strict=True):
        canvas = blend(canvas, warp(Image.fromarray(mask), place @ part, scene), color)
    return canvas
