"""Numbers of devices: seven-segment displays and the rolling drums of meters, as layouts for `draw_photo`."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from beam_jobs.sample.difficulty import Style
from beam_jobs.sample.glyphs import BORDER_PX, glyph_mask
from beam_jobs.sample.scenery import Scene, blend, gray_color, similarity, warp

_CELL_PX = 96  # Height of a cell's mask; like glyphs, cells are only ever reduced.
# Segments a to g of each digit, as data sheets name them: top, upper and lower right, bottom, lower and upper left,
# middle.
_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
# Digits that devices draw in two ways: 6 without its top, 7 with the upper left, 9 without its bottom.
_VARIANTS = {6: "fgedc", 7: "abcf", 9: "abcfg"}
_LED_COLORS = ((255, 40, 30), (255, 40, 30), (60, 255, 80), (255, 170, 30), (70, 140, 255), (235, 245, 255))
_LCD_COLORS = ((150, 165, 130), (170, 180, 150), (130, 150, 140), (120, 160, 190))

Part = tuple[Image.Image, np.ndarray]
"""A mask, and its (3, 3) matrix to the number's plane."""


@dataclass(frozen=True)
class Counter:
    """A number of a device, in its plane, whose origin is the number's centre.

    Attributes:
      glyphs: Each digit.
      others: What is drawn like the digits and has no label: segments that are off, the digits next to those of drums.
      cells: The area of each digit's drum; none for a display.
      half_size: (2,) half the width and height of the number.
      digit_height: Height of a digit, pixels.
    """

    glyphs: list[Part]
    others: list[Part]
    cells: list[Part]
    half_size: np.ndarray
    digit_height: float


def segment_mask(segments: str, width: float, thickness: float, gap: float) -> Image.Image:
    """Returns a cell of `_CELL_PX` with the given segments lit, as a greyscale image.

    Args:
      segments: Names of segments, a to g.
      width: Width of a digit as a share of its height.
      thickness: Thickness of a segment, likewise.
      gap: Space between two segments, likewise.
    """
    height, pen = _CELL_PX - 2 * BORDER_PX, thickness * _CELL_PX
    left, right = BORDER_PX + pen / 2, BORDER_PX - 1 + width * height - pen / 2
    top, bottom = BORDER_PX + pen / 2, BORDER_PX - 1 + height - pen / 2
    middle = (top + bottom) / 2
    ends = {
        "a": ((left, top), (right, top)),
        "b": ((right, top), (right, middle)),
        "c": ((right, middle), (right, bottom)),
        "d": ((left, bottom), (right, bottom)),
        "e": ((left, middle), (left, bottom)),
        "f": ((left, top), (left, middle)),
        "g": ((left, middle), (right, middle)),
    }
    canvas = np.zeros((_CELL_PX, math.ceil(width * height) + 2 * BORDER_PX + 1), np.uint8)
    for name in segments:
        first, last = (np.array(end) for end in ends[name])
        along = (last - first) / np.linalg.norm(last - first)
        across = np.array((-along[1], along[0])) * pen / 2
        first, last = first + along * gap * _CELL_PX, last - along * gap * _CELL_PX
        tip = along * min(pen / 2, float(np.linalg.norm(last - first)) / 3)
        outline = [first, first + tip + across, last - tip + across, last, last - tip - across, first + tip - across]
        # In sixteenths of a pixel.
        cv2.fillPoly(canvas, [np.round(np.array(outline) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return Image.fromarray(canvas)


def display_counter(rng: np.random.Generator, digits: tuple[int, ...], style: Style) -> Counter:
    """Returns a number in seven segments; in two displays of three, those that are off can be seen."""
    height, width = _digit_height(rng, style), rng.uniform(0.42, 0.65)
    form = width, rng.uniform(0.09, 0.2), rng.uniform(0.005, 0.03)
    variants = {digit: lit for digit, lit in _VARIANTS.items() if rng.random() < 0.3}
    lean = similarity(0, 0, 0)
    lean[0, 1] = -rng.choice((0.0, 0.08, 0.17))
    pitch = (width + rng.uniform(0.15, 0.4)) * height
    places = [lean @ place for place in _cell_places(len(digits), pitch, height, segment_mask("", *form))]
    lit = [segment_mask(variants.get(digit, _SEGMENTS[digit]), *form) for digit in digits]
    off = [segment_mask(_SEGMENTS[8], *form)] * len(digits) if rng.random() < 0.67 else []
    half_size = np.array((pitch * len(digits) / 2 + 0.1 * height, 0.55 * height))
    return Counter(list(zip(lit, places, strict=True)), list(zip(off, places, strict=False)), [], half_size, height)


def meter_counter(rng: np.random.Generator, face: str, digits: tuple[int, ...], style: Style) -> Counter:
    """Returns a number on drums, of which the last one is turned by up to 0.4 of a digit in half of the numbers."""
    height, scale = _digit_height(rng, style), _CELL_PX * 0.62
    turns = [rng.uniform(-0.03, 0.03) for _ in digits]
    if rng.random() < 0.5:
        turns[-1] = rng.uniform(-0.4, 0.4)
    squeeze, pitch_of_drum = rng.uniform(0.6, 1.0), rng.uniform(1.2, 1.5)
    cell_width = round(scale * rng.uniform(0.75, 1.1))

    def drum(digit: int, turn: float) -> Image.Image:
        glyph = glyph_mask(face, digit % 10, 2)
        size = max(1, round(glyph.width * squeeze * scale / glyph.height)), round(scale)
        cell = Image.new("L", (cell_width, _CELL_PX))
        cell.paste(glyph.resize(size), ((cell_width - size[0]) // 2, round((_CELL_PX - scale) / 2 + turn * scale)))
        return cell

    body = Image.new("L", (cell_width, _CELL_PX), 255)
    pitch = cell_width / scale * height * rng.uniform(1.02, 1.3)
    places = _cell_places(len(digits), pitch, height / 0.62, body)
    glyphs = [drum(digit, turn) for digit, turn in zip(digits, turns, strict=True)]
    others = [
        (drum(digit + step, turn + step * pitch_of_drum), place)
        for digit, turn, place in zip(digits, turns, places, strict=True)
        for step in (-1, 1)
    ]
    half_size = np.array((pitch * len(digits) / 2, height / 0.62 / 2))
    cells = [(body, place) for place in places]
    return Counter(list(zip(glyphs, places, strict=True)), others, cells, half_size, height)


def draw_counter(
    rng: np.random.Generator, canvas: np.ndarray, counter: Counter, ink: np.ndarray, scene: Scene
) -> np.ndarray:
    """Returns (height, width, 3) `canvas` with the device around the number, and the number.

    Args:
      rng: Random generator.
      canvas: Wall, (height, width, 3) float, 0 to 255.
      counter: The number.
      ink: Coverage by the digits, (height, width) uint8.
      scene: Position of the number.
    """
    parts = [[warp(mask, scene.matrix @ place, scene) for mask, place in of] for of in (counter.others, counter.cells)]
    others, cells = (np.max(masks, axis=0) if masks else np.zeros_like(ink) for masks in parts)
    if counter.cells:
        return _meter(rng, canvas, ink, others, cells, scene)
    panel = _panel(scene, rng.uniform(0.05, 0.35) * counter.digit_height)
    if rng.random() < 0.5:
        ground = np.array(_LCD_COLORS[rng.integers(len(_LCD_COLORS))]) * rng.uniform(0.6, 1.3)
        canvas = blend(canvas, panel, ground)
        canvas = blend(canvas, others * np.float32(rng.uniform(0.03, 0.15)), ground * 0.3)
        shift = tuple(np.round(rng.uniform(0, 0.06, 2) * counter.digit_height).astype(int))
        shadow = np.roll(ink, shift, axis=(0, 1)) * np.float32(0.25)
        return blend(blend(canvas, shadow, ground * 0.3), ink * np.float32(rng.uniform(0.6, 1)), ground * 0.15)
    color = np.array(_LED_COLORS[rng.integers(len(_LED_COLORS))], float)
    dark = np.full(3, rng.uniform(5, 60)) + color * rng.uniform(0, 0.1)
    canvas = blend(blend(canvas, panel, dark), others * np.float32(rng.uniform(0.02, 0.2)), color)
    glow = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.05, 0.2) * counter.digit_height)
    lit = canvas + rng.uniform(0.2, 0.8) * glow[..., np.newaxis] * (color / 255).astype(np.float32)
    # Cameras overexpose lit segments: they turn white.
    return blend(lit, ink, np.clip(color + rng.choice((0, 0, 60, 160)), 0, 255))


def _meter(
    rng: np.random.Generator,
    canvas: np.ndarray,
    ink: np.ndarray,
    others: np.ndarray,
    cells: np.ndarray,
    scene: Scene,
) -> np.ndarray:
    """Returns drums in the window of a meter, darker above and below, as cylinders are."""
    dark_drums = rng.random() < 0.6
    drum = gray_color(rng, rng.uniform(15, 70) if dark_drums else rng.uniform(170, 240))
    color = gray_color(rng, rng.uniform(170, 245) if dark_drums else rng.uniform(10, 70))
    canvas = blend(
        canvas, _panel(scene, rng.uniform(0.02, 0.2) * scene.digit_height), gray_color(rng, rng.uniform(10, 200))
    )
    canvas = blend(canvas, cells, drum)
    canvas = blend(blend(canvas, others, color), ink, color)
    middle, half = (scene.low[1] + scene.high[1]) / 2, (scene.high[1] - scene.low[1]) / 2
    away = ((np.arange(scene.size[1], dtype=np.float32) - middle) / half)[:, np.newaxis]
    shade = 255 * np.clip(np.abs(away), 0, 1) ** 3 * rng.uniform(0.1, 0.7)
    return blend(canvas, shade * cells.astype(np.float32) / 255, np.zeros(3))


def _panel(scene: Scene, pad: float) -> np.ndarray:
    """Returns the coverage by an upright rectangle around the number, `pad` pixels larger on all sides."""
    (left, top), (right, bottom) = scene.low - pad, scene.high + pad
    mask = np.zeros(scene.size[::-1], np.uint8)
    cv2.rectangle(mask, (round(left), round(top)), (round(right), round(bottom)), 255, -1)
    return mask


def _digit_height(rng: np.random.Generator, style: Style) -> float:
    median, spread, low, high = style.digit_px
    return float(np.clip(rng.lognormal(np.log(median), spread), low, high))


def _cell_places(count: int, pitch: float, height: float, cell: Image.Image) -> list[np.ndarray]:
    """Returns the matrices of cells of `height` pixels in a row, `pitch` pixels apart, around the origin."""
    scale = height / cell.height
    middles = (np.arange(count) - (count - 1) / 2) * pitch
    to_centre = similarity(0, -cell.width / 2, -cell.height / 2)
    return [similarity(0, x, 0) @ np.diag((scale, scale, 1)) @ to_centre for x in middles]
