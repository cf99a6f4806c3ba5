"""Things on a wall, drawn in its plane: doors, windows, letter boxes, lamps, pipes and edges of the house."""

import cv2
import numpy as np

from beam_jobs.sample.scenes.draw import Color, add_light, color_near, log_uniform, shaded, smooth_noise


def add_things(rng: np.random.Generator, canvas: np.ndarray, mean: float) -> None:
    """Draws a random number of things on a wall, in place.

    Args:
      rng: Random generator.
      canvas: (height, width, 3) uint8 wall.
      mean: Mean count of things.
    """
    for kind in rng.choice(len(_THINGS), size=min(int(rng.poisson(mean)), 6), p=_WEIGHTS):
        _THINGS[kind](rng, canvas)


def _door(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    wide = int(width * rng.uniform(0.2, 0.75))
    left, top = int(rng.uniform(-0.4, 1) * (width - 0.4 * wide)), int(height * rng.uniform(-0.3, 0.45))
    bottom = int(height * rng.uniform(0.9, 1.3))
    color = color_near(rng, rng.uniform(20, 225), rng.choice((6, 25, 50)))
    frame = max(2, int(wide * rng.uniform(0.03, 0.09)))
    _box(canvas, left - frame, top - frame, left + wide + frame, bottom, color_near(rng, rng.uniform(60, 245)))
    _box(canvas, left, top, left + wide, bottom, color)
    columns, rows = int(rng.integers(1, 3)), int(rng.integers(1, 5))
    gap = wide * rng.uniform(0.06, 0.16)
    glazed = rng.random() < 0.35
    for row in range(rows):
        for column in range(columns):
            x = left + gap + column * (wide - gap) / columns
            y = top + gap + row * (bottom - top - gap) / rows
            right, low = x + (wide - gap) / columns - gap, y + (bottom - top - gap) / rows - gap
            if glazed and row == 0:
                _glass(rng, canvas, int(x), int(y), int(right), int(low))
            else:
                _bevel(canvas, int(x), int(y), int(right), int(low), color, rng.random() < 0.5)
    knob = (int(left + wide * rng.choice((0.08, 0.92))), int(top + (bottom - top) * 0.55))
    metal = color_near(rng, rng.uniform(90, 230), 15)
    cv2.circle(canvas, knob, max(2, int(wide * 0.035)), metal, -1, cv2.LINE_AA)
    if rng.random() < 0.3:
        y = top + int((bottom - top) * rng.uniform(0.3, 0.7))
        _box(canvas, left + int(wide * 0.3), y, left + int(wide * 0.7), y + max(2, int(wide * 0.07)), metal)


def _window(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    wide, tall = int(width * rng.uniform(0.15, 0.6)), int(height * rng.uniform(0.2, 0.7))
    left, top = int(rng.uniform(-0.3, 1) * (width - 0.3 * wide)), int(rng.uniform(-0.4, 0.8) * (height - 0.3 * tall))
    color = color_near(rng, rng.uniform(30, 250), 8)
    frame = max(2, int(min(wide, tall) * rng.uniform(0.03, 0.1)))
    _box(canvas, left - frame, top - frame, left + wide + frame, top + tall + frame, color)
    _glass(rng, canvas, left, top, left + wide, top + tall)
    bar = max(1, frame // 2)
    for column in range(1, int(rng.integers(1, 5))):
        x = left + wide * column // 4 if rng.random() < 0.5 else left + wide // 2
        _box(canvas, x - bar, top, x + bar, top + tall, color)
    for row in range(1, int(rng.integers(1, 4))):
        y = top + tall * row // 3
        _box(canvas, left, y - bar, left + wide, y + bar, color)
    sill = max(2, int(frame * 1.5))
    _box(
        canvas,
        left - 2 * frame,
        top + tall + frame,
        left + wide + 2 * frame,
        top + tall + frame + sill,
        shaded(color, 0.85),
    )


def _glass(rng: np.random.Generator, canvas: np.ndarray, left: int, top: int, right: int, bottom: int) -> None:
    """Draws a pane with reflections, blinds or curtains."""
    part = _part(canvas, left, top, right, bottom)
    if part.size == 0 or min(part.shape[:2]) < 3:
        return
    rows, columns = part.shape[:2]
    part[:] = color_near(rng, rng.uniform(15, 120), 10)
    part[:] = add_light(
        part, smooth_noise(rng, rows, columns, (rows / 2, columns / 2)) * np.float32(rng.uniform(5, 30))
    )
    kind = rng.random()
    if kind < 0.25:
        period = max(3, int(rows * rng.uniform(0.04, 0.12)))
        part[np.arange(rows) % period < max(1, period * 2 // 3)] = color_near(rng, rng.uniform(140, 235), 8)
    elif kind < 0.45:
        cloth = color_near(rng, rng.uniform(120, 235), 12)
        folds = np.sin(np.arange(columns) * rng.uniform(0.2, 0.9)) * rng.uniform(5, 22)
        shown = np.abs(np.arange(columns) / columns - 0.5) > rng.uniform(0, 0.35)
        part[:, shown] = np.clip(np.array(cloth) + folds[shown, np.newaxis], 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 3))):
        x, lean, wide = rng.uniform(0, columns), rng.uniform(-0.5, 0.9) * rows, rng.uniform(0.05, 0.4) * columns
        shine = np.zeros(part.shape[:2], np.float32)
        corners = np.array([(x, 0), (x + wide, 0), (x + wide - lean, rows), (x - lean, rows)], np.int32)
        cv2.fillPoly(shine, [corners], rng.uniform(10, 70))
        part[:] = add_light(part, shine)


def _letter_box(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    wide = int(width * log_uniform(rng, 0.1, 0.45))
    tall = int(wide * rng.uniform(0.5, 1.4))
    left, top = int(rng.uniform(0, 1) * (width - wide)), int(rng.uniform(0.1, 0.9) * max(1, height - tall))
    color = color_near(rng, rng.uniform(20, 220), rng.choice((5, 20, 55)))
    if rng.random() < 0.4:
        post = max(2, wide // 8)
        _box(
            canvas,
            left + wide // 2 - post,
            top + tall,
            left + wide // 2 + post,
            height,
            color_near(rng, rng.uniform(40, 160)),
        )
    _box(
        canvas,
        left + wide // 20 + 1,
        top + wide // 20 + 1,
        left + wide + wide // 20 + 1,
        top + tall + wide // 20 + 1,
        (40, 40, 40),
    )
    _box(canvas, left, top, left + wide, top + tall, color)
    _box(canvas, left, top, left + wide, top + max(1, tall // 12), shaded(color, 1.3))
    slot = top + int(tall * rng.uniform(0.12, 0.3))
    _box(canvas, left + wide // 6, slot, left + wide * 5 // 6, slot + max(2, tall // 14), shaded(color, 0.35))
    if rng.random() < 0.5:
        cv2.circle(canvas, (left + wide // 2, top + tall * 4 // 5), max(1, wide // 22), (60, 60, 60), -1, cv2.LINE_AA)


def _lamp(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    radius = int(min(height, width) * log_uniform(rng, 0.03, 0.12)) + 2
    x, y = int(rng.uniform(0, width)), int(rng.uniform(0, 0.6 * height))
    metal, lit = color_near(rng, rng.uniform(20, 90), 5), rng.random() < 0.4
    cv2.line(canvas, (x, y - 2 * radius), (x, y), metal, max(1, radius // 5), cv2.LINE_AA)
    glass = (250, 235, 190) if lit else color_near(rng, rng.uniform(120, 220), 8)
    if rng.random() < 0.5:
        cv2.circle(canvas, (x, y), radius, glass, -1, cv2.LINE_AA)
    else:
        _box(canvas, x - radius, y - radius, x + radius, y + radius, metal)
        inner = max(1, radius // 6)
        _box(canvas, x - radius + inner, y - radius + inner, x - inner // 2, y + radius - inner, glass)
        _box(canvas, x + inner // 2 + 1, y - radius + inner, x + radius - inner, y + radius - inner, glass)
    _box(canvas, x - radius, y - radius - radius // 3, x + radius, y - radius, metal)


def _intercom(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draws a panel of bells: buttons and name plates in rows, too small to read."""
    height, width = canvas.shape[:2]
    wide = int(width * log_uniform(rng, 0.08, 0.3))
    rows, columns = int(rng.integers(1, 8)), int(rng.integers(1, 3))
    step = max(4, wide // (2 * columns))
    left, top = int(rng.uniform(0, 1) * (width - wide)), int(rng.uniform(0, 0.8) * height)
    color = color_near(rng, rng.uniform(50, 210), 6)
    _box(canvas, left - step // 2, top - step // 2, left + wide + step // 2, top + rows * step + step // 4, color)
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * wide // columns, top + row * step
            _box(canvas, x, y, x + wide // columns - step, y + step * 2 // 3, color_near(rng, rng.uniform(150, 245), 5))
            _box(canvas, x + step // 4, y + step // 4, x + step, y + step // 4 + max(1, step // 8), (50, 50, 55))
            knob = (x + wide // columns - step // 2, y + step // 3)
            cv2.circle(canvas, knob, max(1, step // 4), shaded(color, 0.5), -1, cv2.LINE_AA)


def _scrolls(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draws wrought-iron rings, spirals or waves, linked to a row: their curves are those of digits."""
    height, width = canvas.shape[:2]
    size = min(height, width) * log_uniform(rng, 0.03, 0.15)
    angle = np.linspace(0, rng.choice((2 * np.pi, 3.5 * np.pi)), 40)
    reach = np.linspace(1, rng.choice((1.0, 0.25)), 40)
    curve = np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, np.newaxis]
    if rng.random() < 0.4:
        curve = np.vstack([curve[::-1] + np.array((1, 0)), np.array((1, -1)) * (curve - (1, 0))])
    color = color_near(rng, rng.choice((rng.uniform(8, 70), rng.uniform(150, 235))), 6)
    thick, count = max(1, round(size * rng.uniform(0.1, 0.35))), int(rng.integers(4, 11))
    start, step = rng.uniform(-0.1, 0.8, 2) * (width, height), np.ptp(curve[:, 0]) * 0.95
    for index in range(count):
        points = (curve * (1, 1 if index % 2 else -1) + (index * step, 0)) * size * (
            rng.uniform(0.95, 1.05),
            1.3,
        ) + start
        cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, color, thick, cv2.LINE_AA)


def _strip(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draws a pipe, a post or an edge of the house, upright or level."""
    upright = rng.random() < 0.7
    view = canvas if upright else canvas.swapaxes(0, 1)
    length = view.shape[1]
    thick = max(2, int(length * log_uniform(rng, 0.01, 0.25)))
    left = int(rng.uniform(-0.05, 1) * length)
    part = view[:, max(0, left) : max(0, left + thick)]
    if part.size == 0:
        return
    color = np.array(color_near(rng, rng.uniform(25, 240)), np.float32)
    across = np.linspace(-1, 1, part.shape[1], dtype=np.float32)
    roundness = rng.choice((0.0, 0.0, 0.5))
    tones = color * (1 - roundness * np.abs(across - 0.3))[:, np.newaxis]
    part[:] = np.clip(tones, 0, 255).astype(np.uint8)
    if left + thick < length - 2 and rng.random() < 0.6:
        edge = view[:, left + thick : left + thick + max(1, thick // 6)]
        edge[:] = (edge * np.float32(rng.uniform(0.4, 0.8))).astype(np.uint8)


def _region(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draws another surface from one edge of the picture: the neighbour's wall, a roof, a pavement, the sky."""
    height, width = canvas.shape[:2]
    color = color_near(rng, rng.uniform(15, 245))
    share, side = rng.uniform(0.08, 0.4), int(rng.integers(4))
    rows, columns = int(share * height), int(share * width)
    slices = (
        np.s_[: max(1, rows)],
        np.s_[height - max(1, rows) :],
        np.s_[:, : max(1, columns)],
        np.s_[:, width - max(1, columns) :],
    )
    part = canvas[slices[side]]
    part[:] = color
    noise = rng.standard_normal(part.shape[:2], np.float32) * np.float32(rng.uniform(0.5, 10))
    part[:] = add_light(part, noise)


def _box(canvas: np.ndarray, left: int, top: int, right: int, bottom: int, color: Color) -> None:
    _part(canvas, left, top, right, bottom)[:] = color


def _part(canvas: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    return canvas[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def _bevel(canvas: np.ndarray, left: int, top: int, right: int, bottom: int, color: Color, raised: bool) -> None:
    """Draws a panel with a light and a dark edge."""
    if right - left < 4 or bottom - top < 4:
        return
    thick = max(1, (right - left) // 18)
    light, dark = shaded(color, 1.25), shaded(color, 0.7)
    _box(canvas, left, top, right, bottom, light if raised else dark)
    _box(canvas, left + thick, top + thick, right, bottom, dark if raised else light)
    _box(canvas, left + thick, top + thick, right - thick, bottom - thick, shaded(color, 1.04))


_THINGS = (_door, _window, _letter_box, _lamp, _intercom, _scrolls, _strip, _region)
_WEIGHTS = (0.19, 0.21, 0.11, 0.06, 0.07, 0.08, 0.16, 0.12)
