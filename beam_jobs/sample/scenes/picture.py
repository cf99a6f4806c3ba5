"""One street picture, drawn from a random generator: its JPEG file, and its numbers with a box per digit."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from beam_jobs.sample.difficulty import STYLES
from beam_jobs.sample.photo import draw_photo
from beam_jobs.sample.scenes import lettering as letters
from beam_jobs.sample.scenes import placing, signs
from beam_jobs.sample.scenes.camera import encode, photograph
from beam_jobs.sample.scenes.content import STREET, SceneStyle
from beam_jobs.sample.scenes.draw import log_uniform, moved, project
from beam_jobs.sample.scenes.front import add_front, add_shade
from beam_jobs.sample.scenes.surfaces import wall
from beam_jobs.sample.scenes.things import add_things

Box = tuple[int, int, int, int]
_WORD_WIDTH = (0.05, 0.8)  # Share of the picture's width.
_WORD_HEIGHT = 0.6  # Least height of a capital letter by that of a digit: nobody has to read it.
_PLATES_WHERE_BUSY = 0.8  # Share of letters that get a plate where their ground varies too much.
_DRAWS = 5  # Pictures to draw, the last without a number, before one can be read.
_LARGEST_WALL = 2  # Wall to draw by the size of the picture that shows it at an angle.


@dataclass(frozen=True)
class SceneNumber:
    """A number of a scene.

    Attributes:
      digits: Digits 0 to 9 in reading order.
      boxes: Left, top, width and height of each digit, pixels: tight around its ink, also where it is hidden.
    """

    digits: tuple[int, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Annotated:
    """Annotation of a picture.

    Attributes:
      width: Width, pixels.
      height: Height, pixels.
      numbers: Its numbers.
      again: How often it was drawn again, since a number could not be read.
    """

    width: int
    height: int
    numbers: tuple[SceneNumber, ...]
    again: int = 0


@dataclass(frozen=True)
class ScenePicture:
    """A picture with its annotation.

    Attributes:
      jpeg: JPEG file.
      annotated: Its size, numbers and boxes.
    """

    jpeg: bytes
    annotated: Annotated


@dataclass(frozen=True)
class _Placed:
    digits: tuple[int, ...]
    lettering: letters.Lettering
    matrix: np.ndarray
    inks: list[signs.Ink]


def draw_scene(
    rng: np.random.Generator, faces: tuple[str, ...], numbers: tuple[tuple[int, ...], ...], style: SceneStyle = STREET
) -> ScenePicture:
    """Returns a picture of a street.

    Some numbers may find no place. If one is hidden or too faint to read, the picture is drawn again: a box would teach
    to find what is not there, and no box to miss what may be.

    Args:
      rng: Random generator, which determines every byte under one version of OpenCV.
      faces: Faces for `glyph_mask`.
      numbers: Digits of each number, 0 to 9 in reading order; none for a picture without a number.
      style: Shares and ranges.
    """
    kind = rng.random() * style.counts[1]
    if len(numbers) == 1 and kind < style.photos:
        return _photo(rng, faces, numbers[0], style)
    is_close = len(numbers) == 1 and kind < style.photos + style.close
    for again in range(_DRAWS):
        if scene := _draw(rng, faces, numbers if again < _DRAWS - 1 else (), style, is_close and again < _DRAWS - 1):
            return replace(scene, annotated=replace(scene.annotated, again=again))
    raise AssertionError("a picture without a number can always be read")


def _draw(
    rng: np.random.Generator,
    faces: tuple[str, ...],
    numbers: tuple[tuple[int, ...], ...],
    style: SceneStyle,
    is_close: bool,
) -> ScenePicture | None:
    """Returns a picture of a wall and what is in front of it; None if one of its numbers cannot be read."""
    spelled = [letters.number(rng, faces, digits, style) for digits in numbers]
    width, height = _size(rng, style, spelled[0].half_size if is_close else None)
    stage = placing.stage(rng, width, height)
    canvas = _background(rng, stage, style, is_close)
    widths = style.close_width if is_close else style.number_width
    pairs = zip(numbers, spelled, strict=True)
    drawn = [found for digits, each in pairs if (found := _place_number(rng, stage, digits, each, widths, style))]
    words = int(rng.choice(len(style.words), p=style.words)) * (not is_close) + (not numbers)
    signboards = [found for _ in range(words) if (found := _place_word(rng, stage, faces, style))]
    _add_lettering(rng, canvas, drawn + signboards, style)
    cover = add_front(rng, canvas, style)
    canvas = add_shade(rng, canvas, style.shade)
    heights = [ink.box[3] - ink.box[1] for number in drawn for ink in number.inks]
    digit_px = min(heights, default=log_uniform(rng, 8, 40))
    image = photograph(rng, canvas, digit_px, style)
    if not all(_can_be_read(number, cover, image, style) for number in drawn):
        return None
    return ScenePicture(encode(rng, image, style), Annotated(width, height, tuple(map(_number, drawn))))


def _size(rng: np.random.Generator, style: SceneStyle, close: np.ndarray | None) -> tuple[int, int]:
    """Returns the width and height of a picture; `close` is half the size of the number that nearly fills it."""
    longest = log_uniform(rng, *style.longest_px)
    aspect = float(rng.choice(style.aspects))
    if close is not None:
        # The number is to be that much of the picture's width, and that much of its height.
        across, down = rng.uniform(*style.close_width), rng.uniform(0.3, 0.85)
        aspect = float(np.clip(close[0] / close[1] * down / across, 0.5, 3.5))
    width, height = longest * min(1, aspect), longest * min(1, 1 / aspect)
    return max(48, round(width)), max(48, round(height))


def _background(rng: np.random.Generator, stage: placing.Stage, style: SceneStyle, is_close: bool) -> np.ndarray:
    """Returns the wall and what is on it, seen from the picture's place."""
    names, weights = zip(*style.walls, strict=True)
    kind = names[rng.choice(len(names), p=weights)]
    size = np.array((stage.width, stage.height))
    corners = project(np.linalg.inv(stage.wall), np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * size)
    low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 1
    # A wall at a flat angle is large; far from the picture's middle it is drawn smaller.
    factor = min(1.0, float((_LARGEST_WALL * size / (high - low)).min()))
    wide, tall = np.ceil((high - low) * factor).astype(int).tolist()
    plane = wall(rng, kind, tall, wide)
    add_things(rng, plane, style.things * (0.3 if is_close else 1))
    matrix = stage.wall @ moved(*low) @ np.diag((1 / factor, 1 / factor, 1))
    return cv2.warpPerspective(
        plane, matrix, (stage.width, stage.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _least_digit(stage: placing.Stage, style: SceneStyle) -> float:
    return style.digit_px * max(1.0, max(stage.width, stage.height) / 320)


def _place_number(
    rng: np.random.Generator,
    stage: placing.Stage,
    digits: tuple[int, ...],
    number: letters.Lettering,
    widths: tuple[float, float],
    style: SceneStyle,
) -> _Placed | None:
    """Returns a number with its place; None if there is none in which its digits are in order from the left."""
    width = stage.width * log_uniform(rng, *widths)
    matrix = placing.place(rng, stage, number, width, _least_digit(stage, style), style.turn)
    inks = None if matrix is None else signs.inks_of(number, matrix, (stage.width, stage.height))
    # The sources read digits by their left edges.
    if matrix is None or inks is None or not (np.diff([ink.box[0] for ink in inks]) > 0).all():
        return None
    return _Placed(digits, number, matrix, inks)


def _place_word(
    rng: np.random.Generator, stage: placing.Stage, faces: tuple[str, ...], style: SceneStyle
) -> _Placed | None:
    """Returns a sign of letters with its place, if there is room."""
    word = letters.word(rng, faces)
    width = stage.width * log_uniform(rng, *_WORD_WIDTH)
    matrix = placing.place(rng, stage, word, width, _WORD_HEIGHT * _least_digit(stage, style), style.turn)
    inks = None if matrix is None else signs.inks_of(word, matrix, (stage.width, stage.height))
    return None if matrix is None or inks is None else _Placed((), word, matrix, inks)


def _add_lettering(rng: np.random.Generator, canvas: np.ndarray, placed: list[_Placed], style: SceneStyle) -> None:
    """Draws numbers and words, in place: plates first, so that none hides what is next to it."""
    colors = []
    for each in placed:
        is_busy = signs.is_busy(canvas, each.inks) and rng.random() < _PLATES_WHERE_BUSY
        has_plate = is_busy or rng.random() < style.plates
        colors.append(signs.add_plate(rng, canvas, each.lettering, each.matrix) if has_plate else None)
    for each, color in zip(placed, colors, strict=True):
        signs.add_ink(rng, canvas, each.inks, style.contrast, color)


def _photo(
    rng: np.random.Generator, faces: tuple[str, ...], digits: tuple[int, ...], style: SceneStyle
) -> ScenePicture:
    """Returns a photo as SVHN's are cut; some have surroundings that are smeared from its edges."""
    photo = draw_photo(rng, faces, digits, STYLES[style.photo_styles[rng.integers(len(style.photo_styles))]])
    pixels, (left, top) = photo.pixels, (0, 0)
    if rng.random() < style.smeared:
        pixels, (left, top) = _smeared(rng, pixels)
    boxes = tuple((box.left + left, box.top + top, box.width, box.height) for box in photo.boxes)
    height, width = pixels.shape[:2]
    return ScenePicture(encode(rng, pixels, style), Annotated(width, height, (SceneNumber(digits, boxes),)))


def _smeared(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns pixels with their edges smeared outwards, and the left and top of what they were."""
    height, width = pixels.shape[:2]
    top, bottom = (rng.uniform(0.02, 0.8, 2) * height).astype(int).tolist()
    left, right = (rng.uniform(0.02, 0.5, 2) * width).astype(int).tolist()
    wide = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
    soft = cv2.blur(wide, (max(1, width // 20), max(1, height // 12)), borderType=cv2.BORDER_REPLICATE)
    soft[top : top + height, left : left + width] = pixels
    return soft, (left, top)


def _can_be_read(number: _Placed, cover: np.ndarray, image: np.ndarray, style: SceneStyle) -> bool:
    """Returns whether a number can be read: neither hidden by (height, width) `cover` nor too faint in the picture."""
    shares = signs.hidden_shares(number.inks, cover)
    is_hidden = shares.mean() > style.hidden or shares.max() > style.hidden_digit
    return not is_hidden and bool(signs.contrasts(number.inks, image).min() >= style.faint)


def _number(drawn: _Placed) -> SceneNumber:
    boxes = [(left, top, right - left, bottom - top) for left, top, right, bottom in (ink.box for ink in drawn.inks)]
    return SceneNumber(drawn.digits, tuple(boxes))
