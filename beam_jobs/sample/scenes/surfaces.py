"""Walls: plaster, brick, siding, stone, wood, and a garden without any."""

from collections.abc import Callable

import cv2
import numpy as np

from beam_jobs.sample.scenes.draw import Color, add_light, color_near, log_uniform, smooth_noise

_BRICKS = (
    (150, 75, 55),
    (120, 60, 50),
    (170, 110, 80),
    (95, 60, 55),
    (190, 160, 130),
    (125, 115, 110),
    (200, 195, 190),
)
_WOODS = ((140, 95, 55), (100, 65, 40), (170, 130, 85), (75, 55, 45), (120, 110, 100))
_GREENS = ((70, 95, 45), (55, 80, 40), (95, 115, 60), (85, 90, 60))


def wall(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    """Returns a (height, width, 3) uint8 wall, RGB.

    Args:
      rng: Random generator.
      kind: One of `WALLS`.
      height: Height, pixels.
      width: Width, pixels.
    """
    canvas = WALLS[kind](rng, height, width)
    stains = smooth_noise(rng, height, width, (height / rng.uniform(1.5, 4), width / rng.uniform(1.5, 4)))
    light = stains * np.float32(rng.uniform(1, 11))
    grain = log_uniform(rng, 0.5, 7)
    light += rng.standard_normal((height, width), np.float32) * np.float32(grain)
    return add_light(canvas, light)


def _plaster(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    canvas = _flat(color_near(rng, rng.uniform(55, 240)), height, width)
    cell = rng.uniform(4, 25)
    return add_light(canvas, smooth_noise(rng, height, width, (cell, cell)) * np.float32(rng.uniform(0.5, 9)))


def _brick(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    base = np.array(_BRICKS[rng.integers(len(_BRICKS))]) * rng.uniform(0.6, 1.2)
    course = max(4.0, height * log_uniform(rng, 0.02, 0.11))
    length = np.full(2, course * rng.uniform(2.2, 3.6))
    return _courses(rng, height, width, base, course, length, rng.uniform(4, 18))


def _stone(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    base = np.array(color_near(rng, rng.uniform(80, 200), 10))
    course = max(8.0, height * log_uniform(rng, 0.07, 0.3))
    length = course * np.array((0.8, 2.4))
    return _courses(rng, height, width, base, course, length, rng.uniform(4, 22))


def _courses(
    rng: np.random.Generator,
    height: int,
    width: int,
    base: np.ndarray,
    course: float,
    length: np.ndarray,
    spread: float,
) -> np.ndarray:
    """Returns blocks in courses with joints; `length` is the shortest and longest block, alternating if equal."""
    rows, columns = int(height / course) + 1, int(width / length[0]) + 3
    tones = base + rng.normal(0, spread, (rows, columns, 1)) + rng.normal(0, spread / 3, (rows, columns, 3))
    ends = np.cumsum(rng.uniform(length[0], length[1] + 1e-6, (rows, columns)), axis=1)
    ends -= np.where(np.arange(rows) % 2, 0.5, 0.02)[:, np.newaxis] * length[0]
    x = np.arange(width)
    index = np.stack([np.searchsorted(line, x, "right") for line in ends])
    strips = np.clip(np.take_along_axis(tones, index[..., np.newaxis], axis=1), 0, 255).astype(np.uint8)
    joint = max(1, round(course * rng.uniform(0.06, 0.16)))
    mortar = color_near(rng, rng.uniform(70, 215), 6)
    strips[np.diff(index, axis=1, prepend=index[:, :1]) > 0] = mortar
    if joint > 1:
        starts = np.diff(index, axis=1, prepend=index[:, :1]) > 0
        strips[cv2.dilate(starts.astype(np.uint8), np.ones((1, joint), np.uint8)) > 0] = mortar
    canvas: np.ndarray = strips[(np.arange(height) / course).astype(int)]
    canvas[(np.arange(height) % course) < joint] = mortar
    return canvas


def _siding(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    canvas = _flat(color_near(rng, rng.uniform(60, 235)), height, width)
    along = rng.random() < 0.8
    period = max(5.0, height * log_uniform(rng, 0.04, 0.22))
    phase = (np.arange(height if along else width, dtype=np.float32) + rng.uniform(0, period)) % period / period
    profile = (phase - 0.5) * np.float32(rng.uniform(-14, 22)) - (phase < 0.1) * np.float32(rng.uniform(15, 70))
    light = np.broadcast_to(profile[:, np.newaxis] if along else profile, (height, width))
    return add_light(canvas, np.ascontiguousarray(light, np.float32))


def _wood(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    base = _WOODS[rng.integers(len(_WOODS))] if rng.random() < 0.7 else color_near(rng, rng.uniform(40, 220))
    upright = rng.random() < 0.6
    rows, columns = (width, height) if upright else (height, width)
    plank = max(8.0, rows * log_uniform(rng, 0.08, 0.5))
    count = int(rows / plank) + 2
    place = (np.arange(rows) + rng.uniform(0, plank)) / plank
    tones = rng.normal(0, rng.uniform(2, 14), count).astype(np.float32)[place.astype(int) % count]
    tones -= (place % 1 < max(0.05, 1.2 / plank)) * np.float32(rng.uniform(20, 70))
    light = smooth_noise(rng, rows, columns, (rng.uniform(1.5, 4), columns / 4)) * np.float32(rng.uniform(2, 12))
    light += tones[:, np.newaxis]
    return add_light(_flat(base, height, width), np.ascontiguousarray(light.T) if upright else light)


def _garden(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns sky or a far house above, and a hedge or a lawn below."""
    canvas = _flat(color_near(rng, rng.uniform(120, 245), 12), height, width)
    horizon = int(height * rng.uniform(0.1, 0.8))
    canvas[horizon:] = np.array(_GREENS[rng.integers(len(_GREENS))]) * rng.uniform(0.6, 1.2)
    cell = rng.uniform(2, 9)
    light = smooth_noise(rng, height, width, (cell, cell)) * np.float32(rng.uniform(8, 28))
    light[:horizon] *= np.float32(rng.uniform(0, 0.5))
    return add_light(canvas, light)


def _flat(color: Color, height: int, width: int) -> np.ndarray:
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = color
    return canvas


WALLS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "plaster": _plaster,
    "brick": _brick,
    "siding": _siding,
    "stone": _stone,
    "wood": _wood,
    "garden": _garden,
}
"""Functions that draw a wall, by its name."""
