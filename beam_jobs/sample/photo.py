"""Draws a street photo of a house number: pixels and one box a digit, from a random generator."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from beam_jobs.sample.difficulty import Look
from beam_jobs.sample.glyphs import BORDER_PX, bend, glyph_mask
from beam_jobs.sample.scenery import (
    Scene,
    add_distractors,
    add_plate,
    add_shade,
    blend,
    ink_color,
    photograph,
    project,
    similarity,
    wall,
    warp,
)
from beam_jobs.sources.svhn.write import DigitBox

INK_THRESHOLD = 40  # of 255: coverage from which a pixel counts as ink, so a soft edge adds no pixel


@dataclass(frozen=True)
class Photo:
    """A picture and what it shows.

    Attributes:
      pixels: (height, width, 3) uint8, RGB.
      boxes: one a digit, left to right, each tight round the digit's ink and inside the picture.
      ink: (height, width) uint8, how much of each pixel the digits cover before blur: 255 is all of it.
    """

    pixels: np.ndarray
    boxes: tuple[DigitBox, ...]
    ink: np.ndarray


def draw_photo(rng: np.random.Generator, faces: tuple[str, ...], digits: tuple[int, ...], look: Look) -> Photo:
    """Draws `digits` (0..9, in reading order) in one of `faces` (of `glyph_mask`) on a wall, a door or a plate.

    Margins follow SVHN's annotations: about one digit's height
    at the sides and of a quarter above and below.
    """
    face = faces[rng.integers(len(faces))]
    glyphs, half_size, digit_height = _lay_out(rng, face, digits, look)
    scene = _place(rng, half_size, digit_height)
    masks = [warp(glyph, scene.matrix @ place, scene) for glyph, place in glyphs]
    ink = np.max(masks, axis=0)
    canvas = add_plate(rng, wall(rng, scene), scene)
    color = ink_color(rng, canvas[ink >= INK_THRESHOLD].mean(axis=0), look.contrast)
    canvas = add_distractors(rng, canvas, scene, faces, color)
    if rng.random() < 0.35:
        shift = np.round(rng.uniform(-0.08, 0.08, 2) * digit_height).astype(int)
        canvas = blend(canvas, np.roll(ink, tuple(shift), axis=(0, 1)), canvas * 0.6)
    canvas = add_shade(rng, blend(canvas, ink, color), scene, look.shade)
    pixels = photograph(rng, canvas, digit_height, look)
    return Photo(pixels, tuple(map(_box, digits, masks)), ink)


def _lay_out(
    rng: np.random.Generator, face: str, digits: tuple[int, ...], look: Look
) -> tuple[list[tuple[Image.Image, np.ndarray]], np.ndarray, float]:
    """Glyphs with their places in the number's plane, half the number's width and height, a digit's height: pixels."""
    median, spread, least, most = look.digit_px
    height = float(np.clip(rng.lognormal(np.log(median), spread), least, most))
    stroke, crooked = int(rng.choice(look.strokes)), rng.random() < 0.15
    stretch, gap = rng.uniform(*look.stretch), height * np.clip(rng.normal(0.1, 0.06), 0.03, 0.3)
    glyphs = [glyph_mask(face, digit, stroke) for digit in digits]
    scale = height / (glyph_mask(face, 0, stroke).height - 2 * BORDER_PX)
    if look.bend:
        glyphs = [bend(rng, glyph, look.bend) for glyph in glyphs]
    share, steepest = look.stagger
    slope = rng.uniform(-steepest, steepest) if share and rng.random() < share else 0.0
    widths = [(glyph.width - 2 * BORDER_PX) * scale * stretch for glyph in glyphs]
    half_width = (sum(widths) + gap * (len(digits) - 1)) / 2
    placed, left = [], -half_width
    for glyph, width in zip(glyphs, widths, strict=True):
        # Bounded, for `_place` to leave room: no digit may be cut off.
        x = left + width / 2
        middle = (x, slope * x + rng.uniform(-1, 1) * (0.06 if crooked else 0.02) * height)
        turn = rng.uniform(-1, 1) * (0.12 if crooked else 0.02)
        place = similarity(turn, *middle) @ np.diag((scale * stretch, scale, 1))
        placed.append((glyph, place @ similarity(0, -glyph.width / 2, -glyph.height / 2)))
        left += width + gap
    # 0.6, not 0.5, of a digit's height: crooked digits leave the line.
    return placed, np.array((half_width, 0.6 * height + abs(slope) * half_width)), height


def _place(rng: np.random.Generator, half_size: np.ndarray, digit_height: float) -> Scene:
    """Turns, slants and foreshortens the number's plane, and lays a picture with margins round it."""
    slant = np.eye(3)
    slant[0, 1] = np.clip(rng.normal(0, 0.1), -0.25, 0.25)
    slant[2, 0] = np.clip(rng.normal(0, 0.06), -0.15, 0.15) / max(half_size[0], digit_height)
    matrix = similarity(np.clip(rng.normal(0, 0.06), -0.17, 0.17), 0, 0) @ slant
    corners = project(matrix, half_size * [(-1, -1), (-1, 1), (1, -1), (1, 1)])
    sides = np.clip(rng.lognormal(0.1, 0.3, 2), 0.5, 2.5) * digit_height
    above_below = np.clip(rng.normal(0.2, 0.12, 2), 0.1, 0.6) * digit_height
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.array((sides[0], above_below[0]))
    size = np.ceil(high - low + (sides.sum(), above_below.sum())).astype(int)
    matrix = similarity(0, *(near - low)) @ matrix
    return Scene(size, digit_height, half_size[0], matrix, near, near + high - low)


def _box(digit: int, mask: np.ndarray) -> DigitBox:
    rows, columns = (np.flatnonzero((mask >= INK_THRESHOLD).any(axis=axis)) for axis in (1, 0))
    left, top, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return DigitBox(digit or 10, left, top, right - left, bottom - top)
