"""What is in front of a wall: leaves, railings and grilles; and the light on all of it."""

import cv2
import numpy as np

from beam_jobs.sample.scenes.content import SceneStyle
from beam_jobs.sample.scenes.draw import blend, color_near, fill, log_uniform, smooth_noise

_LEAF = np.array([(-1, 0), (-0.5, 0.4), (0.1, 0.45), (1, 0), (0.1, -0.45), (-0.5, -0.4)])


def add_front(rng: np.random.Generator, canvas: np.ndarray, style: SceneStyle) -> np.ndarray:
    """Draws leaves and bars in some pictures, in place; returns what they cover, (height, width) uint8."""
    cover = np.zeros(canvas.shape[:2], np.uint8)
    if rng.random() < style.bars:
        _bars(rng, canvas, cover)
    if rng.random() < style.foliage:
        if rng.random() < 0.5:
            _bush(rng, canvas, cover)
        for _ in range(int(rng.integers(1, 4))):
            _leaves(rng, canvas, cover)
    return cover


def add_shade(rng: np.random.Generator, canvas: np.ndarray, share: float) -> np.ndarray:
    """Returns a (height, width, 3) uint8 canvas under uneven light: vignette, gradient, edges of shadows, leaves'."""
    height, width = canvas.shape[:2]
    rows, columns = max(8, height // 4), max(8, width // 4)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    light = 1 - np.float32(rng.uniform(0, 0.25)) * (x * x + y * y) * np.float32(0.5)
    light += np.float32(rng.normal(0, 0.08)) * x + np.float32(rng.normal(0, 0.08)) * y
    if rng.random() < share:
        depth = np.float32(rng.uniform(0.2, 0.6))
        if rng.random() < 0.6:
            angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.7, 0.7)
            across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y - np.float32(middle)
            light *= 1 - depth * np.clip(across / np.float32(log_uniform(rng, 0.03, 0.4)) + 0.5, 0, 1)
        else:
            cell = rows * rng.uniform(0.06, 0.3)
            light *= 1 - depth * np.clip(smooth_noise(rng, rows, columns, (cell, cell)) * 2, 0, 1)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(canvas, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_8U)


def _leaves(rng: np.random.Generator, canvas: np.ndarray, cover: np.ndarray) -> None:
    """Draws a cluster of single leaves."""
    height, width = cover.shape
    size = max(height, width) * log_uniform(rng, 0.012, 0.05)
    count = int(log_uniform(rng, 8, 90))
    # Half of the clusters begin at an edge of the picture.
    middle = rng.uniform(0, 1, 2) if rng.random() < 0.5 else np.array((rng.choice((0.0, 1.0)), rng.uniform(0, 1)))
    spread = rng.uniform(0.04, 0.22, 2) * (width, height)
    points = rng.normal(0, 1, (count, 2)) * spread + middle * (width, height)
    angles, sizes = rng.uniform(0, 2 * np.pi, count), size * rng.uniform(0.5, 1.3, count)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=1).reshape(-1, 2, 2)
    outlines = np.einsum("nij,kj->nki", turns, _LEAF) * sizes[:, np.newaxis, np.newaxis] + points[:, np.newaxis]
    fixed = np.round(outlines * 16).astype(np.int32)
    base = np.array((rng.uniform(40, 120), rng.uniform(70, 150), rng.uniform(15, 70)))
    if rng.random() < 0.15:
        base = np.array((rng.uniform(120, 200), rng.uniform(50, 110), rng.uniform(20, 50)))
    tones = np.clip(base * rng.uniform(0.45, 1.25, (count, 1)), 0, 255).astype(int).tolist()
    for outline, tone in zip(fixed, tones, strict=True):
        cv2.fillConvexPoly(canvas, outline, tone, cv2.LINE_AA, 4)
        cv2.fillConvexPoly(cover, outline, 255, cv2.LINE_AA, 4)


def _bush(rng: np.random.Generator, canvas: np.ndarray, cover: np.ndarray) -> None:
    """Draws dense foliage from one edge of the picture."""
    height, width = cover.shape
    side, depth = int(rng.integers(4)), rng.uniform(0.1, 0.4)
    ramp = np.linspace(0, 1, height if side < 2 else width, dtype=np.float32)
    ramp = ramp if side % 2 else ramp[::-1]
    cell = max(height, width) * rng.uniform(0.02, 0.07)
    outline = smooth_noise(rng, height, width, (cell, cell)) * np.float32(0.12)
    outline += (ramp[:, np.newaxis] if side < 2 else ramp) - np.float32(1 - depth)
    mask = np.clip(outline * 2000 / cell, 0, 255).astype(np.uint8)
    fine = max(1.5, cell * 0.3)
    texture = smooth_noise(rng, height, width, (fine, fine))[..., np.newaxis]
    green = np.array((rng.uniform(35, 110), rng.uniform(60, 130), rng.uniform(15, 60)), np.float32)
    blend(canvas, mask, np.clip(green * (1 + np.float32(rng.uniform(0.2, 0.5)) * texture), 0, 255))
    np.maximum(cover, mask, out=cover)


def _bars(rng: np.random.Generator, canvas: np.ndarray, cover: np.ndarray) -> None:
    """Draws a railing or a grille: upright bars, and some level ones."""
    height, width = cover.shape
    period = width * log_uniform(rng, 0.05, 0.3)
    thick = max(1.0, period * rng.uniform(0.06, 0.25))
    lean, top = rng.normal(0, 0.03) * height, height * rng.choice((-0.1, rng.uniform(0, 0.7)))
    bottom = height * rng.choice((1.1, rng.uniform(0.8, 1.1)))
    low, high = sorted(rng.uniform(-0.3, 1.3, 2) * width)
    color = color_near(rng, rng.choice((rng.uniform(10, 70), rng.uniform(150, 245))), 8)
    high, tilt = max(high, low + 2 * period), rng.normal(0, 0.04) * width
    lines = [((x, top), (x + lean, bottom), thick) for x in np.arange(low, high, period)]
    levels = rng.uniform(top, bottom, rng.integers(0, 3))
    lines += [((low, y), (high, y + tilt), thick * rng.uniform(0.8, 1.8)) for y in levels]
    for start, end, breadth in lines:
        along = np.subtract(end, start)
        aside = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1) * breadth / 2
        corners = np.array([start + aside, end + aside, end - aside, start - aside])
        fill(canvas, corners, color)
        fill(cover, corners, 255)
