"""Draws a street photo of a house number: pixels and one box a digit, from a random generator."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from beam_jobs.matlab import DigitBox

INK_THRESHOLD = 40  # of 255: coverage from which a pixel counts as ink, so a soft edge adds no pixel
_GLYPH_PX = 96  # larger than any digit drawn, so glyphs are only ever made smaller
_BORDER_PX = 2  # empty pixels round a glyph, for its edge to be interpolated against
_OVERSAMPLING = 2


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


@dataclass(frozen=True)
class _Scene:
    """Where a number stands, in pixels: `matrix` maps its plane, origin at its centre, to the picture.

    `size` is the picture's (width, height), `low` and `high` the number's least and greatest (x, y) in it.
    """

    size: np.ndarray
    digit_height: float
    half_width: float
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray


def draw_photo(rng: np.random.Generator, faces: tuple[str, ...], digits: tuple[int, ...]) -> Photo:
    """Draws `digits` (0..9, in reading order) in one of `faces` (paths) on a wall, a door or a plate.

    Sizes follow SVHN's annotations: digits of about 30 pixels, a margin of about one digit's height
    at the sides and of a quarter above and below.
    """
    face = faces[rng.integers(len(faces))]
    glyphs, half_width, digit_height = _lay_out(rng, face, digits)
    scene = _place(rng, half_width, digit_height)
    masks = [_warp(glyph, scene.matrix @ place, scene) for glyph, place in glyphs]
    ink = np.max(masks, axis=0)
    canvas = _add_plate(rng, _wall(rng, scene), scene)
    color = _ink_color(rng, canvas[ink >= INK_THRESHOLD].mean(axis=0))
    canvas = _add_distractors(rng, canvas, scene, faces, color)
    if rng.random() < 0.35:
        shift = np.round(rng.uniform(-0.08, 0.08, 2) * digit_height).astype(int)
        canvas = _blend(canvas, np.roll(ink, tuple(shift), axis=(0, 1)), canvas * 0.6)
    pixels = _photograph(rng, _blend(canvas, ink, color), digit_height)
    return Photo(pixels, tuple(map(_box, digits, masks)), ink)


@cache
def _glyph(face: str, digit: int, stroke: int) -> Image.Image:
    """Coverage (L) of one digit, tight but for `_BORDER_PX` on every side; `stroke` pixels bolder."""
    font = ImageFont.truetype(face, _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (2 * _GLYPH_PX, 2 * _GLYPH_PX))
    ImageDraw.Draw(image).text((40, 20), str(digit), fill=255, font=font, stroke_width=stroke)
    return ImageOps.expand(image.crop(image.getbbox()), _BORDER_PX)


def _lay_out(
    rng: np.random.Generator, face: str, digits: tuple[int, ...]
) -> tuple[list[tuple[Image.Image, np.ndarray]], float, float]:
    """Glyphs with their places in the number's plane, half the number's width, a digit's height: pixels."""
    height = float(np.clip(rng.lognormal(np.log(30), 0.4), 18, 72))
    stroke, crooked = int(rng.choice((0, 0, 2, 4))), rng.random() < 0.15
    stretch, gap = rng.uniform(0.55, 0.95), height * np.clip(rng.normal(0.1, 0.06), 0.03, 0.3)
    glyphs = [_glyph(face, digit, stroke) for digit in digits]
    scale = height / (_glyph(face, 0, stroke).height - 2 * _BORDER_PX)
    widths = [(glyph.width - 2 * _BORDER_PX) * scale * stretch for glyph in glyphs]
    half_width = (sum(widths) + gap * (len(digits) - 1)) / 2
    placed, left = [], -half_width
    for glyph, width in zip(glyphs, widths, strict=True):
        # Bounded, for `_place` to leave room: no digit may be cut off.
        middle = (left + width / 2, rng.uniform(-1, 1) * (0.06 if crooked else 0.02) * height)
        turn = rng.uniform(-1, 1) * (0.12 if crooked else 0.02)
        place = _similarity(turn, *middle) @ np.diag((scale * stretch, scale, 1))
        placed.append((glyph, place @ _similarity(0, -glyph.width / 2, -glyph.height / 2)))
        left += width + gap
    return placed, half_width, height


def _similarity(angle: float, x: float, y: float) -> np.ndarray:
    """(3, 3): turns by `angle` radians, then moves by (x, y) pixels."""
    return np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y], [0, 0, 1]])


def _place(rng: np.random.Generator, half_width: float, digit_height: float) -> _Scene:
    """Turns, slants and foreshortens the number's plane, and lays a picture with margins round it."""
    slant = np.eye(3)
    slant[0, 1] = np.clip(rng.normal(0, 0.1), -0.25, 0.25)
    slant[2, 0] = np.clip(rng.normal(0, 0.06), -0.15, 0.15) / max(half_width, digit_height)
    matrix = _similarity(np.clip(rng.normal(0, 0.06), -0.17, 0.17), 0, 0) @ slant
    # 0.6, not 0.5, of a digit's height: crooked digits leave the line.
    reach = np.array((half_width, 0.6 * digit_height))
    corners = _project(matrix, reach * [(-1, -1), (-1, 1), (1, -1), (1, 1)])
    sides = np.clip(rng.lognormal(0.1, 0.3, 2), 0.5, 2.5) * digit_height
    above_below = np.clip(rng.normal(0.2, 0.12, 2), 0.1, 0.6) * digit_height
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.array((sides[0], above_below[0]))
    size = np.ceil(high - low + (sides.sum(), above_below.sum())).astype(int)
    matrix = _similarity(0, *(near - low)) @ matrix
    return _Scene(size, digit_height, half_width, matrix, near, near + high - low)


def _project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps (n, 2) points (x, y) by a (3, 3) homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _warp(mask: Image.Image, matrix: np.ndarray, scene: _Scene) -> np.ndarray:
    """Coverage (height, width) uint8 of `mask`, whose pixels `matrix` maps to the picture's."""
    coverage = np.zeros(scene.size[::-1], np.uint8)
    corners = _project(matrix, np.array([(x, y) for x in (0, mask.width) for y in (0, mask.height)]))
    low, high = np.clip((np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))), 0, scene.size).astype(int)
    if (high > low).all():
        # Only where the mask falls: the whole picture takes 5 times as long.
        inverse = np.linalg.inv(np.diag((_OVERSAMPLING, _OVERSAMPLING, 1)) @ _similarity(0, *-low) @ matrix)
        coefficients, size = tuple((inverse / inverse[2, 2]).ravel()[:8]), tuple((high - low) * _OVERSAMPLING)
        warped = mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        coverage[low[1] : high[1], low[0] : high[0]] = warped.reduce(_OVERSAMPLING)
    return coverage


def _box(digit: int, mask: np.ndarray) -> DigitBox:
    rows, columns = (np.flatnonzero((mask >= INK_THRESHOLD).any(axis=axis)) for axis in (1, 0))
    left, top, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return DigitBox(digit or 10, left, top, right - left, bottom - top)


def _color(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """(3,) RGB near a grey of `lightness`, 0..255: most things on a street are hardly coloured."""
    return np.clip(lightness + rng.normal(0, rng.choice((5, 12, 28)), 3), 5, 250)


def _wall(rng: np.random.Generator, scene: _Scene) -> np.ndarray:
    """(height, width, 3) float, 0..255: blotches, a slope of light, grooves, and edges beside the number."""
    width, height = scene.size
    blotches = rng.normal(0, rng.uniform(1, 12), (max(2, height // 12), max(2, width // 12))).astype(np.float32)
    smooth = np.asarray(Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC))
    grid = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    slope_x, slope_y = rng.normal(0, 14, 2) / scene.size
    light = float(slope_x) * grid[0] + float(slope_y) * grid[1]
    if rng.random() < 0.3:
        period = scene.digit_height * rng.uniform(0.3, 0.9)
        light -= rng.uniform(4, 18) * (grid[rng.integers(2)] % period < 0.1 * period)
    canvas = _color(rng, rng.uniform(30, 225)).astype(np.float32) + (smooth + light)[..., np.newaxis]
    for axis in rng.integers(0, 2, rng.integers(0, 4)):
        before = grid[axis] < rng.uniform(0, scene.low[axis])
        after = grid[axis] > rng.uniform(scene.high[axis], scene.size[axis])
        part = before if rng.random() < 0.5 else after
        canvas = _blend(canvas, part * np.float32(rng.uniform(60, 220)), _color(rng, rng.uniform(20, 235)))
    return canvas


def _add_plate(rng: np.random.Generator, canvas: np.ndarray, scene: _Scene) -> np.ndarray:
    """Sets two numbers in five on a plate, from oblong to oval, half of them with a rim."""
    if rng.random() > 0.4:
        return canvas
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    power = rng.choice((0.05, 0.3, 1.0))  # a superellipse's: 0 is an oblong, 1 an oval
    outline = np.column_stack([np.sign(wave) * np.abs(wave) ** power for wave in (np.cos(angles), np.sin(angles))])
    # A superellipse round an oblong is larger than it by this much at the middle of each side.
    outline *= np.array((scene.half_width, scene.digit_height / 2)) * 2 ** (power / 2)
    pads = rng.uniform(0.12, 0.4) * scene.digit_height * np.array((1, 0.6) if rng.random() < 0.5 else (0.2,))
    for pad in pads:
        image = Image.new("L", tuple(scene.size * _OVERSAMPLING))
        corners = _project(scene.matrix, outline + np.sign(outline) * pad) * _OVERSAMPLING
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=255)
        mask = np.asarray(image.reduce(_OVERSAMPLING))
        canvas = _blend(canvas, mask, _color(rng, rng.uniform(20, 235)))
    return canvas


def _ink_color(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """(3,) RGB that stands out from `ground` by 55 to 150 of 255 in lightness, to the side with room."""
    lightness = ground.mean()
    lighter = lightness < 110 or (lightness < 145 and rng.random() < 0.5)
    return _color(rng, np.clip(lightness + rng.uniform(55, 150) * (1 if lighter else -1), 12, 243))


def _add_distractors(
    rng: np.random.Generator, canvas: np.ndarray, scene: _Scene, faces: tuple[str, ...], color: np.ndarray
) -> np.ndarray:
    """Lets part of a digit, or of a bar, look in from the left or the right, clear of the number."""
    for side in np.flatnonzero(rng.random(2) < 0.25):
        glyph = _glyph(faces[rng.integers(len(faces))], int(rng.integers(10)), 2)
        if rng.random() < 0.4:
            glyph = Image.new("L", (int(rng.integers(12, 60)), int(rng.integers(20, 90))), 255)
        scale = rng.uniform(0.5, 1.1) * scene.digit_height / glyph.height
        gap, width = rng.uniform(0.35, 0.6) * scene.digit_height, glyph.width * scale
        shown = width * rng.uniform(0.3, 0.8)
        left = max(scene.high[0] + gap, scene.size[0] - shown) if side else min(scene.low[0] - gap, shown) - width
        top = (scene.low[1] + scene.high[1] - glyph.height * scale) / 2 + rng.normal(0, 0.2) * scene.digit_height
        mask = _warp(glyph, _similarity(rng.normal(0, 0.1), left, top) @ np.diag((scale, scale, 1)), scene)
        canvas = _blend(canvas, mask * np.float32(rng.uniform(0.4, 0.9)), color)
    return canvas


def _blend(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Lays `color` over (height, width, 3) `canvas` where (height, width) `mask` is 255, less where less."""
    share = (mask * np.float32(1 / 255))[..., np.newaxis]
    return canvas + (color.astype(np.float32) - canvas) * share


def _photograph(rng: np.random.Generator, canvas: np.ndarray, digit_height: float) -> np.ndarray:
    """(height, width, 3) uint8: out of focus by up to 1/20 of a digit's height, with the sensor's noise."""
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.01, 0.05) * digit_height))
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(0.7)
    noise += rng.standard_normal((*canvas.shape[:2], 1), np.float32) * np.float32(rng.uniform(0.5, 5))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
