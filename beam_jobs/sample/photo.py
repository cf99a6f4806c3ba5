"""One photo of a house number, drawn from a random generator: its pixels and one box per digit."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from beam_jobs.sample.counters import display_counter, draw_counter, meter_counter
from beam_jobs.sample.difficulty import Style
from beam_jobs.sample.glyphs import BORDER_PX, bend, glyph_mask
from beam_jobs.sample.materials import add_obstacle, add_reflection, add_screws, add_tiles, paint
from beam_jobs.sample.scenery import (
    Scene,
    add_distractors,
    add_plate,
    add_shade,
    blend,
    hued_color,
    ink_color,
    photograph,
    project,
    similarity,
    wall,
    warp,
)
from beam_jobs.sample.words import add_word, word_beside
from beam_jobs.sources.svhn.write import DigitBox

INK_THRESHOLD = 40  # Coverage, of 255, from which a pixel counts as ink, so that a soft edge adds no pixel.


@dataclass(frozen=True)
class Photo:
    """A picture with its annotation.

    Attributes:
      pixels: (height, width, 3) uint8, RGB.
      boxes: One box per digit, left to right, each around the digit's ink, tight unless the style has slack, and inside
        the picture.
      ink: (height, width) uint8, coverage of each pixel by the digits before blur; 255 is complete coverage.
    """

    pixels: np.ndarray
    boxes: tuple[DigitBox, ...]
    ink: np.ndarray


def draw_photo(rng: np.random.Generator, faces: tuple[str, ...], digits: tuple[int, ...], style: Style) -> Photo:
    """Returns a photo of a number on a wall or a plate.

    Margins follow SVHN's annotations: about one digit height at the sides and a quarter of it above and below.

    Args:
      rng: Random generator, which determines every pixel.
      faces: Faces for `glyph_mask`; one is chosen.
      digits: Digits 0 to 9 in reading order.
      style: Ranges of the random values.
    """
    face = faces[rng.integers(len(faces))]
    if style.device:
        return _draw_device(rng, face, digits, style)
    glyphs, half_size, digit_height = _lay_out(rng, face, digits, style)
    word = word_beside(rng, faces, digit_height) if style.words and rng.random() < style.words else None
    scene = _place(rng, half_size, digit_height, style, word.room if word else None)
    masks = [warp(glyph, scene.matrix @ place, scene) for glyph, place in glyphs]
    ink = np.max(masks, axis=0)
    canvas = add_plate(rng, wall(rng, scene), scene, style.plates, style.vivid)
    canvas = add_screws(rng, add_tiles(rng, canvas, scene, masks, style.tiles), scene, style.screws)
    color = _ink_color(rng, canvas[ink >= INK_THRESHOLD].mean(axis=0), style)
    canvas = add_distractors(rng, canvas, scene, faces, color, style.edges)
    if word:
        canvas = add_word(rng, canvas, scene, word, color)
    if rng.random() < 0.35:
        shift = np.round(rng.uniform(-0.08, 0.08, 2) * digit_height).astype(int)
        canvas = blend(canvas, np.roll(ink, tuple(shift), axis=(0, 1)), canvas * 0.6)
    canvas = add_shade(rng, paint(rng, canvas, ink, color, scene, style), scene, style.shade)
    canvas = add_obstacle(rng, add_reflection(rng, canvas, scene, style.reflection), scene, style.obstacle)
    pixels = photograph(rng, canvas, digit_height, style)
    boxes = _loosened(rng, _boxes(digits, masks), scene, style.slack)
    return Photo(pixels, boxes, ink)


def _draw_device(rng: np.random.Generator, face: str, digits: tuple[int, ...], style: Style) -> Photo:
    """Returns a photo of the number of a display or a meter: see `draw_photo`."""
    is_display = style.device == "display" or (style.device == "either" and rng.random() < 0.5)
    counter = display_counter(rng, digits, style) if is_display else meter_counter(rng, face, digits, style)
    scene = _place(rng, counter.half_size, counter.digit_height, style)
    masks = [warp(glyph, scene.matrix @ place, scene) for glyph, place in counter.glyphs]
    ink = np.max(masks, axis=0)
    canvas = draw_counter(rng, wall(rng, scene), counter, ink, scene)
    canvas = add_reflection(rng, add_shade(rng, canvas, scene, style.shade), scene, style.reflection)
    pixels = photograph(rng, canvas, counter.digit_height, style)
    return Photo(pixels, _loosened(rng, _boxes(digits, masks), scene, style.slack), ink)


def _lay_out(
    rng: np.random.Generator, face: str, digits: tuple[int, ...], style: Style
) -> tuple[list[tuple[Image.Image, np.ndarray]], np.ndarray, float]:
    """Returns each glyph with its matrix to the number's plane, half the number's size and a digit's height, pixels."""
    median, spread, low, high = style.digit_px
    height = float(np.clip(rng.lognormal(np.log(median), spread), low, high))
    stroke, crooked = int(rng.choice(style.strokes)), rng.random() < 0.15
    mean, deviation, nearest, farthest = style.gap
    stretch, gap = rng.uniform(*style.stretch), height * np.clip(rng.normal(mean, deviation), nearest, farthest)
    glyphs = [glyph_mask(face, digit, stroke) for digit in digits]
    scale = height / (glyph_mask(face, 0, stroke).height - 2 * BORDER_PX)
    if style.bend:
        glyphs = [bend(rng, glyph, style.bend) for glyph in glyphs]
    share, steepest = style.stagger
    slope = rng.uniform(-steepest, steepest) if share and rng.random() < share else 0.0
    widths = [(glyph.width - 2 * BORDER_PX) * scale * stretch for glyph in glyphs]
    if style.stacked and rng.random() < style.stacked:
        return _stack(rng, glyphs, np.array((scale * stretch, scale)), height)
    half_width = (sum(widths) + gap * (len(digits) - 1)) / 2
    placed, left = [], -half_width
    for glyph, width in zip(glyphs, widths, strict=True):
        # Bounded, so that the margins of `_place` suffice: no digit may be cut off.
        x = left + width / 2
        middle = (x, slope * x + rng.uniform(-1, 1) * (0.06 if crooked else 0.02) * height)
        turn = rng.uniform(-1, 1) * (0.12 if crooked else 0.02)
        place = similarity(turn, *middle) @ np.diag((scale * stretch, scale, 1))
        placed.append((glyph, place @ similarity(0, -glyph.width / 2, -glyph.height / 2)))
        left += width + gap
    # 0.6, not 0.5, of a digit's height: crooked digits leave the line.
    return placed, np.array((half_width, 0.6 * height + abs(slope) * half_width)), height


def _stack(
    rng: np.random.Generator, glyphs: list[Image.Image], scale: np.ndarray, height: float
) -> tuple[list[tuple[Image.Image, np.ndarray]], np.ndarray, float]:
    """Returns the layout of `_lay_out` with each digit below the one before, scaled by `scale` (x, y)."""
    pitch, sideways = height * rng.uniform(1.05, 1.4), height * rng.uniform(-0.3, 0.3)
    steps = np.arange(len(glyphs)) - (len(glyphs) - 1) / 2
    placed = []
    for step, glyph in zip(steps, glyphs, strict=True):
        place = similarity(0, sideways * step, pitch * step) @ np.diag((*scale, 1))
        placed.append((glyph, place @ similarity(0, -glyph.width / 2, -glyph.height / 2)))
    half_width = max(glyph.width for glyph in glyphs) * scale[0] / 2 + abs(sideways * steps[0])
    return placed, np.array((half_width, pitch * len(glyphs) / 2 + 0.1 * height)), height


def _place(
    rng: np.random.Generator, half_size: np.ndarray, digit_height: float, style: Style, room: np.ndarray | None = None
) -> Scene:
    """Returns a scene with the number's plane rotated, slanted and in perspective, and margins around the number.

    The margins, (2, 2) pixels before and after in x and y, are `room` larger.
    """
    slant = np.eye(3)
    slant[0, 1] = np.clip(rng.normal(0, 0.1), -0.25, 0.25)
    slant[2, 0] = np.clip(rng.normal(0, 0.06), -0.15, 0.15) / max(half_size[0], digit_height)
    if style.tilt:
        slant[2, 1] = np.clip(rng.normal(0, style.tilt), -0.15, 0.15) / half_size[1]
    deviation, most = style.turn
    matrix = similarity(np.clip(rng.normal(0, deviation), -most, most), 0, 0) @ slant
    corners = project(matrix, half_size * [(-1, -1), (-1, 1), (1, -1), (1, 1)])
    sides = np.clip(rng.lognormal(0.1, 0.3, 2), 0.5, 2.5) * digit_height
    above_below = np.clip(rng.normal(0.2, 0.12, 2), 0.1, 0.6) * digit_height
    low, high = corners.min(axis=0), corners.max(axis=0)
    margins = np.stack((sides, above_below))
    if room is not None:
        margins += room
    near = margins[:, 0]
    size = np.ceil(high - low + margins.sum(axis=1)).astype(int)
    matrix = similarity(0, *(near - low)) @ matrix
    return Scene(size, digit_height, half_size[0], matrix, near, near + high - low)


def _ink_color(rng: np.random.Generator, ground: np.ndarray, style: Style) -> np.ndarray:
    """Returns the (3,) RGB of the digits on `ground`."""
    color = ink_color(rng, ground, style.contrast)
    if style.equal_lightness and rng.random() < style.equal_lightness:
        return hued_color(rng, ground.mean() + rng.uniform(-20, 20))
    if style.vivid and rng.random() < style.vivid:
        return hued_color(rng, color.mean())
    return color


def _loosened(
    rng: np.random.Generator, boxes: tuple[DigitBox, ...], scene: Scene, slack: tuple[float, float]
) -> tuple[DigitBox, ...]:
    """Returns boxes whose edges are moved outwards by `slack`, inside the picture: up and down alike for all digits."""
    if not any(slack):
        return boxes
    width, height = scene.size
    above, below = rng.uniform(*slack, 2) * scene.digit_height
    loose = []
    for box in boxes:
        before, after = rng.uniform(*slack, 2) * scene.digit_height
        left, top = max(0, round(box.left - before)), max(0, round(box.top - above))
        right = min(int(width), max(left + 1, round(box.left + box.width + after)))
        bottom = min(int(height), max(top + 1, round(box.top + box.height + below)))
        loose.append(DigitBox(box.label, left, top, right - left, bottom - top))
    return _in_reading_order(loose)


def _boxes(digits: tuple[int, ...], masks: list[np.ndarray]) -> tuple[DigitBox, ...]:
    return _in_reading_order(list(map(_box, digits, masks)))


def _in_reading_order(boxes: list[DigitBox]) -> tuple[DigitBox, ...]:
    """Returns boxes of which none begins left of one before it: readers sort them by their left edges.

    Those of stacked digits are widened to the left for it; the union of all boxes stays the same.
    """
    ordered, least = [], boxes[-1].left
    for box in reversed(boxes):
        least = min(least, box.left)
        ordered.append(DigitBox(box.label, least, box.top, box.width + box.left - least, box.height))
    return tuple(reversed(ordered))


def _box(digit: int, mask: np.ndarray) -> DigitBox:
    rows, columns = (np.flatnonzero((mask >= INK_THRESHOLD).any(axis=axis)) for axis in (1, 0))
    left, top, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return DigitBox(digit or 10, left, top, right - left, bottom - top)
