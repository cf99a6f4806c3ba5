"""Numbers and words in a plane, as masks with their places; a digit or a capital letter is one unit high."""

import string
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from beam_jobs.sample.glyphs import BORDER_PX, STROKE_FACES, bend, glyph_mask
from beam_jobs.sample.scenes.content import SceneStyle
from beam_jobs.sample.scenes.draw import moved

_WORD_PX = 48
# Signs, names and streets. Each has a letter that is like no digit.
_SIGNS = (
    "HOTEL|STOP|OPEN|EXIT|TAXI|BAR|CAFE|POST|PUSH|PULL|SALE|BANK|SHOP|PARKING|NO PARKING|PRIVATE|TO LET|FOR SALE|BELL|"
    "BRIEFE|ZEITUNG|PRESSE|LETTERS|MAIL|US MAIL|Bitte klingeln|Keine Werbung|Please ring|Beware of the dog|Welcome|"
    "Home|Garage|Office|Schmidt|Miller|Silva|Rossi|Dubois|Bauer|Olsen|Li Bo|Wong|Garcia|Ivanov|Gill|Oak Street|"
    "Hill Road|Lindenallee|Rue de Lille|Via Roma|Bolle|SIZE|BLISS|GOLD|SOLO|BASS|OSLO|LOGOS|ZONE|ISLE|BIKE|EGGS|"
    "TOOLS|SLOBS|ALL|BILL|LISZT|Gisela|Igls"
)
_WORDS = tuple(_SIGNS.split("|"))
_LETTERS = string.ascii_uppercase + "ABCDEFGHKLMNRSTZBSGZ"  # Letters that are like digits come twice.

_LIKE_DIGITS = "OIQSZBGD"
_CONSONANTS = ("b", "d", "g", "l", "s", "z", "k", "m", "n", "r", "st", "t", "v", "h", "p", "ll", "sch")
_VOWELS = ("a", "e", "i", "o", "u", "ei", "ou")


@dataclass(frozen=True)
class Lettering:
    """Characters of a number or a word in a plane, whose origin is their centre.

    Attributes:
      masks: Coverage of each character, or of a word as a whole, (rows, columns) uint8.
      places: (3, 3) matrix from each mask's pixels to the plane.
      half_size: (2,) half the width and height.
    """

    masks: tuple[np.ndarray, ...]
    places: tuple[np.ndarray, ...]
    half_size: np.ndarray


def number(rng: np.random.Generator, faces: tuple[str, ...], digits: tuple[int, ...], style: SceneStyle) -> Lettering:
    """Returns a number in one of the faces: straight, crooked, sloped or as stairs."""
    face = faces[rng.integers(len(faces))]
    # The widest stroke closes the loops of the stroke faces.
    stroke = int(rng.choice((0, 0, 2, 4, 4 if face in STROKE_FACES else 7)))
    masks = [_digit(face, digit, stroke) for digit in digits]
    if rng.random() < 0.3:
        limit = rng.uniform(0.01, 0.05)
        masks = [np.asarray(bend(rng, Image.fromarray(mask), limit)) for mask in masks]
    scale = 1 / (_digit(face, 0, stroke).shape[0] - 2 * BORDER_PX)
    stretch, gap = rng.uniform(0.55, 1.25), np.clip(rng.normal(0.1, 0.08), 0.03, 0.5)
    crooked, kind = rng.random() < 0.15, rng.random()
    slope, advance = 0.0, 1.0
    if kind < style.stairs:
        slope, advance = rng.uniform(2, 3.5), 0.4
    elif kind < style.stairs + style.sloped:
        slope = rng.uniform(-0.6, 0.6)
    widths = np.array([(mask.shape[1] - 2 * BORDER_PX) * scale * stretch for mask in masks])
    middles = (np.cumsum(widths + gap) - widths / 2) * advance
    middles -= (middles[0] + middles[-1]) / 2
    places = []
    for mask, middle in zip(masks, middles.tolist(), strict=True):
        y = slope * middle + rng.uniform(-1, 1) * (0.06 if crooked else 0.015)
        turn = rng.uniform(-1, 1) * (0.12 if crooked else 0.015)
        place = moved(middle, y) @ rotation(turn) @ np.diag((scale * stretch, scale, 1))
        places.append(place @ moved(-mask.shape[1] / 2, -mask.shape[0] / 2))
    wide = middles[-1] - middles[0] + (widths[0] + widths[-1]) / 2
    tall = 1.12 + abs(slope) * (middles[-1] - middles[0])
    return Lettering(tuple(masks), tuple(places), np.array((wide, tall)) / 2)


def word(rng: np.random.Generator, faces: tuple[str, ...]) -> Lettering:
    """Returns a word, or letters at random; they are no number."""
    kind = rng.random()
    if kind < 0.45:
        text = _WORDS[rng.integers(len(_WORDS))]
    elif kind < 0.7:
        text = _name(rng)
    else:
        text = "".join(_LETTERS[each] for each in rng.integers(0, len(_LETTERS), rng.integers(1, 5)))
        # Without another letter, these are a number to anyone.
        text = text if set(text) - set(_LIKE_DIGITS) or text in "SZBGQ" else "K" + text
    mask = _word(faces[rng.integers(len(faces))], text, int(rng.choice((0, 1, 3))))
    scale, stretch = 1.3 / _WORD_PX, rng.uniform(0.7, 1.3)
    place = np.diag((scale * stretch, scale, 1)) @ moved(-mask.shape[1] / 2, -mask.shape[0] / 2)
    return Lettering((mask,), (place,), np.array((mask.shape[1] * scale * stretch, mask.shape[0] * scale)) / 2)


def _name(rng: np.random.Generator) -> str:
    """Returns syllables that look like a name, in small letters, with a capital, or in capitals."""
    pairs = rng.integers((len(_CONSONANTS), len(_VOWELS)), size=(rng.integers(2, 5), 2))
    text = "".join(_CONSONANTS[first] + _VOWELS[second] for first, second in pairs)
    text = (text, text.capitalize(), text.upper())[rng.integers(3)]
    return text if set(text) - set(_LIKE_DIGITS + "L") else "K" + text


def rotation(angle: float) -> np.ndarray:
    """Returns the (3, 3) matrix that rotates by `angle` radians."""
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@lru_cache(maxsize=4096)
def _digit(face: str, digit: int, stroke: int) -> np.ndarray:
    return np.asarray(glyph_mask(face, digit, stroke))


@lru_cache(maxsize=512)
def _word(face: str, text: str, stroke: int) -> np.ndarray:
    """Returns the coverage of a text, with an empty edge."""
    size = (_WORD_PX * (len(text) + 2), 2 * _WORD_PX)
    if face in STROKE_FACES:
        canvas = np.zeros(size[::-1], np.uint8)
        cv2.putText(canvas, text, (20, 64), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 255, 3 + stroke, cv2.LINE_AA)
    else:
        image = Image.new("L", size)
        font = ImageFont.truetype(face, _WORD_PX, layout_engine=ImageFont.Layout.BASIC)
        ImageDraw.Draw(image).text((20, 16), text, fill=255, font=font, stroke_width=stroke)
        canvas = np.asarray(image)
    left, top, width, height = cv2.boundingRect(canvas)
    return np.pad(canvas[top : top + height, left : left + width], BORDER_PX)
