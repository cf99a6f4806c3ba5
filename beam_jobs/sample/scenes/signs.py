"""Letters and digits on a wall: what is behind them, their ink, and the masks that give their boxes."""

from dataclasses import dataclass

import cv2
import numpy as np

from beam_jobs.sample.photo import INK_THRESHOLD
from beam_jobs.sample.scenes.draw import Color, blend, color_near, fill, project, shaded, warp_part
from beam_jobs.sample.scenes.lettering import Lettering
from beam_jobs.sample.scenes.placing import corners_of

# Plates by their ground and ink, as they are sold: enamel, brass, steel, slate, wood.
_PLATES: tuple[tuple[Color, Color], ...] = (
    *(((28, 60, 140), (240, 240, 240)), ((235, 235, 230), (25, 25, 30)), ((240, 240, 235), (20, 50, 130))),
    *(((20, 25, 25), (225, 220, 210)), ((190, 155, 80), (30, 25, 20)), ((175, 178, 180), (30, 30, 35))),
    *(((60, 65, 70), (230, 230, 230)), ((20, 85, 55), (240, 240, 235)), ((130, 85, 50), (245, 235, 215))),
    *(((170, 35, 35), (245, 240, 235)), ((240, 205, 60), (25, 25, 25)), ((245, 245, 245), (150, 30, 30))),
)

_BUSY = 38  # Grey values by which what is behind a number may vary before it gets a plate, as people choose a place.


@dataclass(frozen=True)
class Ink:
    """Coverage of a picture by one character.

    Attributes:
      mask: (rows, columns) uint8.
      at: Left and top in the picture, pixels.
      box: Left, top, right and bottom of its ink, pixels.
    """

    mask: np.ndarray
    at: tuple[int, int]
    box: tuple[int, int, int, int]


def inks_of(lettering: Lettering, matrix: np.ndarray, size: tuple[int, int]) -> list[Ink] | None:
    """Returns the ink of each character; None if one is not in the picture, or too thin to be seen.

    Args:
      lettering: Characters.
      matrix: (3, 3) homography from their plane to the picture.
      size: Width and height of the picture.
    """
    inks = []
    for mask, place in zip(lettering.masks, lettering.places, strict=True):
        found = warp_part(mask, matrix @ place, size)
        if found is None:
            return None
        part, (x, y) = found
        left, top, width, height = cv2.boundingRect((part >= INK_THRESHOLD).astype(np.uint8))
        if not width or part.max() < 128:
            return None
        inks.append(Ink(part, (x, y), (x + left, y + top, x + left + width, y + top + height)))
    return inks


def add_plate(rng: np.random.Generator, canvas: np.ndarray, lettering: Lettering, matrix: np.ndarray) -> Color | None:
    """Draws a plate, a board or a letter box behind letters, in place; returns the colour that is sold with it."""
    ground, ink = _PLATES[rng.integers(len(_PLATES))]
    if rng.random() < 0.4:
        ground = color_near(rng, rng.uniform(20, 235))
    half, kind = lettering.half_size, rng.random()
    pad = rng.uniform(0.15, 0.6, 2)
    if kind < 0.25:
        # A letter box or a board, much larger than the letters.
        pad = pad + rng.uniform(0.3, 1.6, 2)
    power = float(rng.choice((0.02, 0.02, 0.25, 1.0))) if kind > 0.25 else 0.02
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False) + np.pi / 48
    waves = np.column_stack([np.cos(angles), np.sin(angles)])
    # A superellipse around a rectangle is larger than it by this factor at the middle of each side.
    outline = np.sign(waves) * np.abs(waves) ** power * (half * 2 ** (power / 2) + pad)
    if kind < 0.25:
        outline = outline + rng.uniform(-0.5, 0.5, 2) * (pad - 0.15)
    if rng.random() < 0.5:
        drop = rng.uniform(0.03, 0.12, 2)
        shadow = np.zeros(canvas.shape[:2], np.uint8)
        fill(shadow, project(matrix, outline + drop), int(rng.integers(60, 150)))
        _darken(canvas, shadow)
    fill(canvas, project(matrix, outline), ground)
    if rng.random() < 0.4:
        rim, middle = rng.uniform(0.03, 0.12), outline.mean(axis=0)
        fill(canvas, project(matrix, middle + (outline - middle) * (1 - 0.7 * rim)), shaded(ink, 1))
        fill(canvas, project(matrix, middle + (outline - middle) * (1 - 1.6 * rim)), ground)
    if kind < 0.1:
        top, wide = outline[:, 1].min(), np.abs(outline[:, 0]).max()
        slot = np.array([(-0.7, 0.25), (0.7, 0.25), (0.7, 0.45), (-0.7, 0.45)]) * (wide, pad[1]) + (0, top)
        fill(canvas, project(matrix, slot), shaded(ground, 0.35))
    elif rng.random() < 0.3:
        radius = max(1, int(0.06 * float(np.ptp(corners_of(half, matrix)[:, 1]))))
        for corner in project(matrix, np.array([(-1, 0), (1, 0)]) * (half + 0.6 * pad)):
            cv2.circle(canvas, tuple(corner.astype(int).tolist()), radius, shaded(ground, 0.6), -1, cv2.LINE_AA)
    return ink if rng.random() < 0.7 else None


def add_ink(
    rng: np.random.Generator,
    canvas: np.ndarray,
    inks: list[Ink],
    contrast: tuple[float, float],
    color: Color | None,
) -> None:
    """Draws characters, in place: flat, raised with a shadow, with an outline, or as metal.

    Args:
      rng: Random generator.
      canvas: (height, width, 3) uint8.
      inks: Characters.
      contrast: Minimum and maximum difference from what is behind them, in grey values.
      color: Colour to prefer, if it differs enough.
    """
    ground = _ground(canvas, inks)
    if color is None or abs(float(np.mean(color)) - ground) < contrast[0]:
        lighter = ground < 105 or (ground < 150 and rng.random() < 0.5)
        color = color_near(rng, float(np.clip(ground + rng.uniform(*contrast) * (1 if lighter else -1), 8, 248)))
    height = inks[0].box[3] - inks[0].box[1]
    if rng.random() < 0.35:
        shift = np.round(rng.uniform(-0.09, 0.09, 2) * height).astype(int)
        strength = float(rng.uniform(0.3, 0.7))
        for ink in inks:
            _shadow(canvas, ink, shift, strength)
    if rng.random() < 0.08 and height > 12:
        edge = (245, 245, 245) if np.mean(color) < 128 else (15, 15, 15)
        size = 2 * max(1, round(height * 0.04)) + 1
        for ink in inks:
            blend(canvas, cv2.dilate(ink.mask, np.ones((size, size), np.uint8)), edge, ink.at)
    metal = rng.random() < 0.15
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(15, 60)
    opacity = 1.0 if rng.random() < 0.8 else rng.uniform(0.65, 1)
    for ink in inks:
        shown: np.ndarray | Color = color
        if metal:
            y, x = np.mgrid[: ink.mask.shape[0], : ink.mask.shape[1]].astype(np.float32)
            wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * np.float32(3 / max(height, 4)) + ink.at[0])
            shown = np.clip(np.array(color, np.float32) + depth * wave[..., np.newaxis], 0, 255)
        mask = ink.mask if opacity == 1.0 else (ink.mask * np.float32(opacity)).astype(np.uint8)
        blend(canvas, mask, shown, ink.at)


def hidden_shares(inks: list[Ink], cover: np.ndarray) -> np.ndarray:
    """Returns (characters,) shares of each character's ink that is covered by (height, width) uint8 `cover`."""
    shares = []
    for ink in inks:
        (left, top), (rows, columns) = ink.at, ink.mask.shape
        over = cover[top : top + rows, left : left + columns].astype(np.float32)
        shares.append(float((over * ink.mask).sum() / 255 / ink.mask.sum(dtype=np.float64)))
    return np.array(shares)


def contrasts(inks: list[Ink], image: np.ndarray) -> np.ndarray:
    """Returns (characters,) difference of each character or its outline from what is around it, in grey values.

    Args:
      inks: Characters.
      image: (height, width, 3) uint8, with the characters in it. The channel that differs most counts.
    """
    found = []
    for ink in inks:
        (left, top), (rows, columns) = ink.at, ink.mask.shape
        part = image[top : top + rows, left : left + columns]
        core = (ink.mask >= 128).astype(np.uint8)
        edge = _grown(core, 0.05 * (ink.box[3] - ink.box[1]))
        ring = _grown(edge, 0.12 * (ink.box[3] - ink.box[1]))
        zones = np.array([cv2.mean(part, zone)[:3] for zone in (core, edge - core, ring - edge) if zone.any()])
        found.append(float(np.ptp(zones, axis=0).max()))
    return np.array(found)


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
    size = 2 * max(1, round(reach)) + 1
    return cv2.dilate(mask, np.ones((size, size), np.uint8))


def is_busy(canvas: np.ndarray, inks: list[Ink]) -> bool:
    """Returns whether no one colour differs from all that is behind the characters."""
    parts = [canvas[ink.box[1] : ink.box[3], ink.box[0] : ink.box[2]] for ink in inks]
    greys = np.array([(part.mean(), part.mean(axis=2).std()) for part in parts])
    return bool(np.ptp(greys[:, 0]) > _BUSY or greys[:, 1].max() > _BUSY)


def _ground(canvas: np.ndarray, inks: list[Ink]) -> float:
    values = []
    for ink in inks:
        (left, top), (rows, columns) = ink.at, ink.mask.shape
        values.append(canvas[top : top + rows, left : left + columns].mean())
    return float(np.mean(values))


def _shadow(canvas: np.ndarray, ink: Ink, shift: np.ndarray, strength: float) -> None:
    height, width = canvas.shape[:2]
    left, top = ink.at[0] + int(shift[0]), ink.at[1] + int(shift[1])
    cut_x, cut_y = max(0, -left), max(0, -top)
    mask = ink.mask[cut_y : height - top, cut_x : width - left]
    if mask.size:
        part = canvas[top + cut_y : top + cut_y + mask.shape[0], left + cut_x : left + cut_x + mask.shape[1]]
        part[:] = part * (1 - mask * np.float32(strength / 255))[..., np.newaxis]


def _darken(canvas: np.ndarray, mask: np.ndarray) -> None:
    left, top, width, height = cv2.boundingRect(mask)
    part, over = canvas[top : top + height, left : left + width], mask[top : top + height, left : left + width]
    part[:] = part * (1 - over * np.float32(1 / 255))[..., np.newaxis]
