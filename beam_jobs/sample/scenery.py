"""Surroundings of a drawn number, in the order of drawing: its plane, wall, plate, distractors, shadow and camera."""

import colorsys
import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from beam_jobs.sample.difficulty import Style
from beam_jobs.sample.glyphs import glyph_mask
from beam_jobs.sample.lens import camera, expose

OVERSAMPLING = 2  # Masks are drawn at this factor of the picture's size and reduced.


@dataclass(frozen=True)
class Scene:
    """Position of a number in a picture, in pixels.

    Attributes:
      size: (2,) int, width and height of the picture.
      digit_height: Height of a digit.
      half_width: Half the width of the number.
      matrix: (3, 3) homography from the number's plane, whose origin is the number's centre, to the picture.
      low: (2,) smallest x and y of the number in the picture.
      high: (2,) largest x and y of the number in the picture.
    """

    size: np.ndarray
    digit_height: float
    half_width: float
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray


def similarity(angle: float, x: float, y: float) -> np.ndarray:
    """Returns the (3, 3) matrix that rotates by `angle` radians, then moves by (x, y) pixels."""
    return np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y], [0, 0, 1]])


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns (n, 2) points (x, y) mapped by a (3, 3) homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    points_on_plane: np.ndarray = mapped[:, :2] / mapped[:, 2:]
    return points_on_plane


def warp(mask: Image.Image, matrix: np.ndarray, scene: Scene) -> np.ndarray:
    """Returns the coverage, (height, width) uint8, of the picture by `mask`, mapped to the picture by `matrix`."""
    coverage = np.zeros(scene.size[::-1], np.uint8)
    corners = project(matrix, np.array([(x, y) for x in (0, mask.width) for y in (0, mask.height)]))
    low, high = np.clip((np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))), 0, scene.size).astype(int)
    if (high > low).all():
        # Only the region of the mask: the complete picture takes 5 times as long.
        inverse = np.linalg.inv(np.diag((OVERSAMPLING, OVERSAMPLING, 1)) @ similarity(0, *-low) @ matrix)
        coefficients, size = tuple((inverse / inverse[2, 2]).ravel()[:8]), tuple((high - low) * OVERSAMPLING)
        warped = mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        coverage[low[1] : high[1], low[0] : high[0]] = warped.reduce(OVERSAMPLING)
    return coverage


def blend(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Returns (height, width, 3) `canvas` with `color` over it; (height, width) `mask` is its opacity, 0 to 255."""
    share = (mask * np.float32(1 / 255))[..., np.newaxis]
    blended: np.ndarray = canvas + (color.astype(np.float32) - canvas) * share
    return blended


def wall(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Returns a (height, width, 3) float wall, 0 to 255: blotches, gradient, grooves, edges next to the number."""
    width, height = scene.size
    blotches = rng.normal(0, rng.uniform(1, 12), (max(2, height // 12), max(2, width // 12))).astype(np.float32)
    smooth = np.asarray(Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC))
    grid = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    slope_x, slope_y = rng.normal(0, 14, 2) / scene.size
    light = float(slope_x) * grid[0] + float(slope_y) * grid[1]
    if rng.random() < 0.3:
        period = scene.digit_height * rng.uniform(0.3, 0.9)
        light -= rng.uniform(4, 18) * (grid[rng.integers(2)] % period < 0.1 * period)
    canvas = gray_color(rng, rng.uniform(30, 225)).astype(np.float32) + (smooth + light)[..., np.newaxis]
    for axis in rng.integers(0, 2, rng.integers(0, 4)):
        before = grid[axis] < rng.uniform(0, scene.low[axis])
        after = grid[axis] > rng.uniform(scene.high[axis], scene.size[axis])
        part = before if rng.random() < 0.5 else after
        canvas = blend(canvas, part * np.float32(rng.uniform(60, 220)), gray_color(rng, rng.uniform(20, 235)))
    return canvas


def add_plate(
    rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float = 0.4, vivid: float = 0.0
) -> np.ndarray:
    """Adds a plate behind a `share` of the numbers, rectangular to oval, half of them with a rim.

    A share of `vivid` of the plates has a strong colour.
    """
    if rng.random() > share:
        return canvas
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    power = rng.choice((0.05, 0.3, 1.0))  # Exponent of a superellipse: 0 is a rectangle, 1 an oval.
    outline = np.column_stack([np.sign(wave) * np.abs(wave) ** power for wave in (np.cos(angles), np.sin(angles))])
    # A superellipse around a rectangle is larger than it by this factor at the middle of each side.
    outline *= np.array((scene.half_width, scene.digit_height / 2)) * 2 ** (power / 2)
    pads = rng.uniform(0.12, 0.4) * scene.digit_height * np.array((1, 0.6) if rng.random() < 0.5 else (0.2,))
    for pad in pads:
        image = Image.new("L", tuple(scene.size * OVERSAMPLING))
        corners = project(scene.matrix, outline + np.sign(outline) * pad) * OVERSAMPLING
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=255)
        mask = np.asarray(image.reduce(OVERSAMPLING))
        color = gray_color(rng, rng.uniform(20, 235))
        canvas = blend(canvas, mask, hued_color(rng, color.mean()) if vivid and rng.random() < vivid else color)
    return canvas


def ink_color(rng: np.random.Generator, ground: np.ndarray, contrast: tuple[float, float]) -> np.ndarray:
    """Returns the (3,) RGB of digits that differ from `ground` by `contrast` in lightness, lighter on a dark ground."""
    lightness = ground.mean()
    lighter = lightness < 110 or (lightness < 145 and rng.random() < 0.5)
    return gray_color(rng, np.clip(lightness + rng.uniform(*contrast) * (1 if lighter else -1), 12, 243))


def add_distractors(
    rng: np.random.Generator,
    canvas: np.ndarray,
    scene: Scene,
    faces: tuple[str, ...],
    color: np.ndarray,
    share: float = 0.25,
) -> np.ndarray:
    """Adds part of a digit or of a bar at the left edge of a `share` of pictures, and at the right one of others."""
    for side in np.flatnonzero(rng.random(2) < share):
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


def add_shade(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Darkens one side of a straight line through the number, in a `share` of pictures."""
    if not share or rng.random() > share:
        return canvas
    angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(scene.low, scene.high)
    across = np.arange(scene.size[0], dtype=np.float32) - middle[0]
    down = np.arange(scene.size[1], dtype=np.float32)[:, np.newaxis] - middle[1]
    # Soft over a few pixels, like the edge of a shadow.
    depth = np.clip((np.cos(angle) * across + np.sin(angle) * down) / (0.1 * scene.digit_height) + 0.5, 0, 1)
    shaded: np.ndarray = canvas * (1 - rng.uniform(0.2, 0.6) * depth)[..., np.newaxis]
    return shaded


def photograph(rng: np.random.Generator, canvas: np.ndarray, digit_height: float, style: Style) -> np.ndarray:
    """Returns (height, width, 3) uint8: `canvas` with the lens blur, motion blur, noise and compression of `style`."""
    image = np.clip(expose(rng, canvas, style.overexposed), 0, 255).astype(np.uint8)
    low, high, power = style.blur
    sigma = (low + (high - low) * rng.uniform() ** power) * digit_height
    image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
    if style.smear and rng.random() < style.smear:
        image = _smear(rng, image, digit_height)
    image = camera(rng, image, digit_height, style)
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(0.7)
    noise += rng.standard_normal((*canvas.shape[:2], 1), np.float32) * np.float32(rng.uniform(0.5, 5))
    pixels: np.ndarray = np.clip(image + noise, 0, 255).astype(np.uint8)
    if style.jpeg and rng.random() < style.jpeg:
        quality = int(rng.integers(*style.quality))
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        pixels = np.array(Image.open(io.BytesIO(encoded.tobytes())))
    return pixels


def _smear(rng: np.random.Generator, image: np.ndarray, digit_height: float) -> np.ndarray:
    """Returns a (height, width, 3) uint8 image blurred by up to a fifth of a digit's height, mostly sideways."""
    length = max(2, round(rng.uniform(0.05, 0.2) * digit_height))
    shape = (length, 1) if rng.random() < 0.7 else (1, length)
    return np.asarray(cv2.blur(image, shape, borderType=cv2.BORDER_REPLICATE))


def gray_color(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """Returns a (3,) RGB near a grey of `lightness`, 0 to 255: most things in a street have little colour."""
    color: np.ndarray = np.clip(lightness + rng.normal(0, rng.choice((5, 12, 28)), 3), 5, 250)
    return color


def hued_color(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """Returns a (3,) RGB of a random hue near a `lightness` of 0 to 255."""
    red_green_blue = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.4, 1), 1.0))
    color: np.ndarray = np.clip(red_green_blue * lightness / red_green_blue.mean(), 5, 250)
    return color
