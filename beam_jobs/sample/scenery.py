"""What surrounds a drawn number: the plane it is drawn on, wall, plate, distractors, camera blur and noise."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from beam_jobs.sample.difficulty import Look
from beam_jobs.sample.glyphs import glyph_mask

OVERSAMPLING = 2


@dataclass(frozen=True)
class Scene:
    """Where a number stands, in pixels: `matrix` maps its plane, origin at its centre, to the picture.

    `size` is the picture's (width, height), `low` and `high` the number's least and greatest (x, y) in it.
    """

    size: np.ndarray
    digit_height: float
    half_width: float
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray


def similarity(angle: float, x: float, y: float) -> np.ndarray:
    """(3, 3): turns by `angle` radians, then moves by (x, y) pixels."""
    return np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y], [0, 0, 1]])


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps (n, 2) points (x, y) by a (3, 3) homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def warp(mask: Image.Image, matrix: np.ndarray, scene: Scene) -> np.ndarray:
    """Coverage (height, width) uint8 of `mask`, whose pixels `matrix` maps to the picture's."""
    coverage = np.zeros(scene.size[::-1], np.uint8)
    corners = project(matrix, np.array([(x, y) for x in (0, mask.width) for y in (0, mask.height)]))
    low, high = np.clip((np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))), 0, scene.size).astype(int)
    if (high > low).all():
        # Only where the mask falls: the whole picture takes 5 times as long.
        inverse = np.linalg.inv(np.diag((OVERSAMPLING, OVERSAMPLING, 1)) @ similarity(0, *-low) @ matrix)
        coefficients, size = tuple((inverse / inverse[2, 2]).ravel()[:8]), tuple((high - low) * OVERSAMPLING)
        warped = mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        coverage[low[1] : high[1], low[0] : high[0]] = warped.reduce(OVERSAMPLING)
    return coverage


def _color(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """(3,) RGB near a grey of `lightness`, 0..255: most things on a street are hardly coloured."""
    return np.clip(lightness + rng.normal(0, rng.choice((5, 12, 28)), 3), 5, 250)


def wall(rng: np.random.Generator, scene: Scene) -> np.ndarray:
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
        canvas = blend(canvas, part * np.float32(rng.uniform(60, 220)), _color(rng, rng.uniform(20, 235)))
    return canvas


def add_plate(rng: np.random.Generator, canvas: np.ndarray, scene: Scene) -> np.ndarray:
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
        image = Image.new("L", tuple(scene.size * OVERSAMPLING))
        corners = project(scene.matrix, outline + np.sign(outline) * pad) * OVERSAMPLING
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=255)
        mask = np.asarray(image.reduce(OVERSAMPLING))
        canvas = blend(canvas, mask, _color(rng, rng.uniform(20, 235)))
    return canvas


def ink_color(rng: np.random.Generator, ground: np.ndarray, contrast: tuple[float, float]) -> np.ndarray:
    """(3,) RGB that stands out from `ground` by `contrast` of 255 in lightness, to the side with room."""
    lightness = ground.mean()
    lighter = lightness < 110 or (lightness < 145 and rng.random() < 0.5)
    return _color(rng, np.clip(lightness + rng.uniform(*contrast) * (1 if lighter else -1), 12, 243))


def add_distractors(
    rng: np.random.Generator, canvas: np.ndarray, scene: Scene, faces: tuple[str, ...], color: np.ndarray
) -> np.ndarray:
    """Lets part of a digit, or of a bar, look in from the left or the right, clear of the number."""
    for side in np.flatnonzero(rng.random(2) < 0.25):
        glyph = glyph_mask(faces[rng.integers(len(faces))], int(rng.integers(10)), 2)
        if rng.random() < 0.4:
            glyph = Image.new("L", (int(rng.integers(12, 60)), int(rng.integers(20, 90))), 255)
        scale = rng.uniform(0.5, 1.1) * scene.digit_height / glyph.height
        gap, width = rng.uniform(0.35, 0.6) * scene.digit_height, glyph.width * scale
        shown = width * rng.uniform(0.3, 0.8)
        left = max(scene.high[0] + gap, scene.size[0] - shown) if side else min(scene.low[0] - gap, shown) - width
        top = (scene.low[1] + scene.high[1] - glyph.height * scale) / 2 + rng.normal(0, 0.2) * scene.digit_height
        mask = warp(glyph, similarity(rng.normal(0, 0.1), left, top) @ np.diag((scale, scale, 1)), scene)
        canvas = blend(canvas, mask * np.float32(rng.uniform(0.4, 0.9)), color)
    return canvas


def blend(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Lays `color` over (height, width, 3) `canvas` where (height, width) `mask` is 255, less where less."""
    share = (mask * np.float32(1 / 255))[..., np.newaxis]
    return canvas + (color.astype(np.float32) - canvas) * share


def add_shade(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Darkens what lies to one side of a straight line through the number, in a `share` of pictures."""
    if not share or rng.random() > share:
        return canvas
    angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(scene.low, scene.high)
    across = np.arange(scene.size[0], dtype=np.float32) - middle[0]
    down = np.arange(scene.size[1], dtype=np.float32)[:, np.newaxis] - middle[1]
    # Soft over a few pixels, as a shadow's edge is.
    depth = np.clip((np.cos(angle) * across + np.sin(angle) * down) / (0.1 * scene.digit_height) + 0.5, 0, 1)
    return canvas * (1 - rng.uniform(0.2, 0.6) * depth)[..., np.newaxis]


def photograph(rng: np.random.Generator, canvas: np.ndarray, digit_height: float, look: Look) -> np.ndarray:
    """(height, width, 3) uint8: out of focus, smeared, with the sensor's noise, and compressed, as `look` has it."""
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    least, most, power = look.blur
    sigma = (least + (most - least) * rng.uniform() ** power) * digit_height
    image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
    if look.smear and rng.random() < look.smear:
        image = _smear(rng, image, digit_height)
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(0.7)
    noise += rng.standard_normal((*canvas.shape[:2], 1), np.float32) * np.float32(rng.uniform(0.5, 5))
    pixels = np.clip(image + noise, 0, 255).astype(np.uint8)
    if look.jpeg and rng.random() < look.jpeg:
        quality = int(rng.integers(25, 91))
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        pixels = np.array(Image.open(io.BytesIO(encoded.tobytes())))
    return pixels


def _smear(rng: np.random.Generator, image: np.ndarray, digit_height: float) -> np.ndarray:
    """(height, width, 3) uint8: a camera that moved by up to a fifth of a digit's height, mostly sideways."""
    length = max(2, round(rng.uniform(0.05, 0.2) * digit_height))
    shape = (length, 1) if rng.random() < 0.7 else (1, length)
    return np.asarray(cv2.blur(image, shape, borderType=cv2.BORDER_REPLICATE))
