"""What a number is made of: its paint, relief, outline or light, and the tiles and screws that carry it."""

import cv2
import numpy as np

from beam_jobs.sample.difficulty import Style
from beam_jobs.sample.scenery import Scene, blend, gray_color

_LIGHT_AXES = ((-1, -1), (-1, 0), (-1, 1), (0, -1))  # Directions y, x to the light: above or to the left.


def add_tiles(
    rng: np.random.Generator, canvas: np.ndarray, scene: Scene, masks: list[np.ndarray], share: float
) -> np.ndarray:
    """Adds an upright tile behind each digit, in a `share` of the pictures; half of them have a rim."""
    if not share or rng.random() > share:
        return canvas
    color, rim = (gray_color(rng, rng.uniform(30, 235)) for _ in range(2))
    pad, has_rim = rng.uniform(0.05, 0.2) * scene.digit_height, rng.random() < 0.5
    thickness = max(1, round(rng.uniform(0.02, 0.07) * scene.digit_height))
    tiles = np.array(canvas)
    for mask in masks:
        left, top, width, height = cv2.boundingRect(mask)
        first = round(left - pad), round(top - pad)
        last = round(left + width + pad), round(top + height + pad)
        cv2.rectangle(tiles, first, last, color.tolist(), -1)
        if has_rim:
            cv2.rectangle(tiles, first, last, rim.tolist(), thickness)
    return tiles


def add_screws(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Adds two screws, left and right of the number, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return canvas
    radius = max(1, round(rng.uniform(0.03, 0.09) * scene.digit_height))
    color, gap = gray_color(rng, rng.uniform(40, 220)), rng.uniform(0.12, 0.35) * scene.digit_height
    middle = (scene.low[1] + scene.high[1]) / 2 + rng.uniform(-0.5, 0.5) * scene.digit_height
    screwed = np.array(canvas)
    for x in (scene.low[0] - gap, scene.high[0] + gap):
        cv2.circle(screwed, (round(x), round(middle)), radius, color.tolist(), -1, cv2.LINE_AA)
    return screwed


def paint(
    rng: np.random.Generator, canvas: np.ndarray, ink: np.ndarray, color: np.ndarray, scene: Scene, style: Style
) -> np.ndarray:
    """Returns (height, width, 3) `canvas` with the digits in one of the materials of `style`, or flat.

    Args:
      rng: Random generator.
      canvas: Ground, (height, width, 3) float, 0 to 255.
      ink: Coverage by the digits, (height, width) uint8.
      color: RGB of the digits, (3,).
      scene: Position of the number.
      style: Shares of the materials.
    """
    shares = np.cumsum((style.outline, style.contour, style.relief, style.gradient, style.neon, style.worn))
    if not shares[-1]:
        return blend(canvas, ink, color)
    material = np.searchsorted(shares, rng.random(), side="right")
    width = max(1, round(rng.uniform(0.02, 0.07) * scene.digit_height))
    if material == 0:
        return blend(canvas, _edge(ink, width), color)
    if material == 1:
        other = gray_color(rng, np.clip(rng.uniform(-120, 120) + color.mean(), 10, 245))
        return blend(blend(canvas, cv2.dilate(ink, _disc(width)), other), ink, color)
    if material == 2:
        return _relief(rng, canvas, ink, color, width)
    if material == 3:
        rows = np.linspace(-1, 1, len(ink), dtype=np.float32)[:, np.newaxis, np.newaxis]
        return blend(canvas, ink, color) + rng.uniform(-70, 70) * rows * (ink[..., np.newaxis] / np.float32(255))
    if material == 4:
        glow = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.06, 0.2) * scene.digit_height)
        lit = canvas * rng.uniform(0.3, 1) + glow[..., np.newaxis] * (color / 255).astype(np.float32)
        return blend(lit, ink, np.clip(color + rng.uniform(0, 90), 0, 255))
    if material == 5:
        flakes = cv2.resize(rng.random((24, 24), np.float32), ink.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return blend(canvas, ink * np.clip((flakes - rng.uniform(0, 0.35)) * 6, 0.15, 1), color)
    return blend(canvas, ink, color)


def add_reflection(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Lightens a slanted band through the picture, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return canvas
    across = np.arange(scene.size[0], dtype=np.float32) - rng.uniform(0, scene.size[0])
    down = np.arange(scene.size[1], dtype=np.float32)[:, np.newaxis] * rng.uniform(-1, 1)
    band = np.exp(-(((across + down) / (rng.uniform(0.2, 1) * scene.digit_height)) ** 2))
    return blend(canvas, band * np.float32(rng.uniform(30, 140)), np.array((255, 255, 250)))


def add_obstacle(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Covers a small part of the number with a twig or a leaf, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return canvas
    covered, color = np.array(canvas), gray_color(rng, rng.uniform(20, 200)).tolist()
    middle = rng.uniform(scene.low, scene.high)
    if rng.random() < 0.5:
        reach = rng.normal(0, scene.digit_height, 2)
        first, last = ((middle + sign * reach).round().astype(int).tolist() for sign in (-1, 1))
        width = max(1, round(rng.uniform(0.02, 0.07) * scene.digit_height))
        cv2.line(covered, first, last, color, width, cv2.LINE_AA)
    else:
        axes = np.ceil(rng.uniform(0.04, 0.14, 2) * scene.digit_height).astype(int).tolist()
        cv2.ellipse(covered, middle.round().astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, color, -1)
    return covered


def _disc(radius: int) -> np.ndarray:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _edge(ink: np.ndarray, width: int) -> np.ndarray:
    """Returns the coverage by a line of `width` pixels, at least, along the outline of `ink`."""
    return np.asarray(cv2.dilate(ink, _disc(width))) - np.asarray(cv2.erode(ink, _disc(max(1, width // 2))))


def _relief(rng: np.random.Generator, canvas: np.ndarray, ink: np.ndarray, color: np.ndarray, width: int) -> np.ndarray:
    """Returns raised digits: of the ground's colour or painted, light on one side, with a shadow on the other."""
    axes = np.array(_LIGHT_AXES[rng.integers(len(_LIGHT_AXES))])
    towards, away = (np.roll(ink, tuple(width * sign * axes), axis=(0, 1)) for sign in (1, -1))
    reach = tuple(-round(width * rng.uniform(1, 3)) * axes)
    shadow = cv2.GaussianBlur(np.roll(ink, reach, axis=(0, 1)), (0, 0), max(0.5, 0.7 * width))
    ground = blend(canvas, shadow * np.float32(rng.uniform(0.3, 0.9)), canvas * 0.45)
    body = blend(ground, ink, color if rng.random() < 0.6 else canvas)
    sides = (towards.astype(np.float32) - away) * np.float32(rng.uniform(15, 60) / 255)
    raised: np.ndarray = body + (sides * np.maximum(ink, 40) * np.float32(1 / 255))[..., np.newaxis]
    return raised
