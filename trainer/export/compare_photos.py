"""An export of a finder and a reader compared with them on drawn photos, of several formats, sizes and contents."""

import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfrecords.errors import UserError
from tfrecords.images.decode import decode_picture
from trainer.photo_reader import PhotoNumber, PhotoReader

BOX_TOLERANCE = 0.01
"""Largest allowed difference between an edge of a box of an export and the finder's, pixels. Measured: 0.0001."""
_ORIENTATION = 0x112
_PHOTOS: tuple[tuple[str, str, int, tuple[int, int], tuple[tuple[str, float, float, float], ...]], ...] = (
    ("JPEG of two numbers", "JPEG", 1, (360, 480), (("27", 0.1, 0.2, 0.25), ("1840", 0.45, 0.6, 0.2))),
    ("turned JPEG of one number", "JPEG", 6, (200, 320), (("63", 0.35, 0.3, 0.35),)),
    ("PNG without a number", "PNG", 1, (90, 140), ()),
    ("grey PNG that its number fills", "PNG", 1, (40, 66), (("715", 0.03, -0.15, 1.0),)),
    (
        "wide, transparent PNG of three numbers",
        "PNG",
        1,
        (99, 700),
        (("5", 0.05, 0.1, 0.6), ("88", 0.4, 0.2, 0.5), ("402", 0.7, 0.1, 0.6)),
    ),
    ("large JPEG of one number", "JPEG", 1, (1100, 800), (("319", 0.3, 0.5, 0.15),)),
)
"""Name, format, EXIF orientation, height and width, and of each number its text, left, top and height: all but the text
as shares of the photo's width, height and height."""


def compare_on_photos(
    photo_reader: PhotoReader,
    ask: Callable[[Sequence[bytes]], list[dict[str, np.ndarray]]],
    title: str,
    tolerance: float,
) -> tuple[float, int]:
    """Returns the largest difference between confidences of an export and of what it was made of.

    Args:
      photo_reader: Finder and reader.
      ask: Function of the contents of picture files that returns the outputs of the export for each.
      title: Name of the export's format.
      tolerance: Largest allowed difference.

    Returns:
      Largest difference, and the number of numbers that were compared.

    Raises:
      UserError: The export reads another number, at another place or with another confidence.
    """
    names, pictures = zip(*sample_photos(), strict=True)
    largest, count = 0.0, 0
    for name, data, received in zip(names, pictures, ask(pictures), strict=True):
        picture = decode_picture(data, name)
        numbers = photo_reader.read(picture)
        expected, found = _table(numbers, picture), _received(received)
        is_same = [row[0] for row in expected] == [row[0] for row in found]
        differences = [np.abs(np.subtract(one[1:], other[1:])) for one, other in zip(expected, found, strict=False)]
        box = max((float(each[:4].max()) for each in differences), default=0.0)
        confidence = max((float(each[4:].max()) for each in differences), default=0.0)
        # Not `>`, which is false for NaN.
        if not (is_same and box <= BOX_TOLERANCE and confidence <= tolerance):
            rule = f"{title} must read photos as the finder and the reader do, confidences within {tolerance:g} and "
            rule += f"boxes within {BOX_TOLERANCE:g} pixels: they cannot be exported in this format."
            raise UserError(rule, f"{_shown(found)} instead of {_shown(expected)} in a {name}")
        largest, count = max(largest, confidence), count + len(numbers)
    return largest, count


_Row = tuple[tuple[int, ...], float, float, float, float, float, float]
"""Length and digits of a number; left, top, width and height of its box; confidence, and that of the box."""


def _table(numbers: Sequence[PhotoNumber], picture: np.ndarray) -> list[_Row]:
    """Returns numbers that were read in a photo, with the box of the complete photo where it was read as a whole."""
    rows: list[_Row] = []
    for number in numbers:
        length = int(number.predictions.length[number.index])
        digits = number.predictions.digits[number.index, :length].tolist()
        ymin, xmin, ymax, xmax = number.box or (0.0, 0.0, *map(float, picture.shape[:2]))
        edges = (xmin, ymin, xmax - xmin, ymax - ymin)
        rows.append(((length, *digits), *edges, number.confidence, number.box_confidence))
    return rows


def _received(outputs: dict[str, np.ndarray]) -> list[_Row]:
    """Returns the numbers of an export's outputs for one photo."""
    rows: list[_Row] = []
    for index in range(int(outputs["count"])):
        length = int(outputs["length"][index])
        digits = outputs["digits"][index, :length].tolist()
        left, top, width, height = map(float, outputs["boxes"][index])
        sureness = float(outputs["confidence"][index]), float(outputs["box_confidence"][index])
        rows.append(((length, *digits), left, top, width, height, *sureness))
    return rows


def _shown(rows: Sequence[_Row]) -> str:
    """Returns numbers for a message: digits, box and confidences of each."""
    texts = (
        f"{list(row[0][1:])} at {[round(edge, 3) for edge in row[1:5]]} ({row[5]:.5f}, {row[6]:.5f})" for row in rows
    )
    return "; ".join(texts) or "no number"


def sample_photos() -> Iterator[tuple[str, bytes]]:
    """Yields the name and the bytes of drawn photos, the same in each call: of no, one and several numbers."""
    rng = np.random.default_rng(0)
    for name, form, orientation, (height, width), numbers in _PHOTOS:
        coarse = Image.fromarray(rng.integers(90, 150, (6, 8, 3), np.uint8))
        photo = coarse.resize((width, height), Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(photo)
        for text, left, top, size in numbers:
            place, font = (left * width, top * height), ImageFont.load_default(size * height)
            xmin, ymin, xmax, ymax = pen.textbbox(place, text, font)
            margin = (ymax - ymin) / 4
            pen.rectangle((xmin - margin, ymin - margin, xmax + margin, ymax + margin), fill=(30, 40, 120))
            pen.text(place, text, (240, 240, 230), font)
        if name.startswith("grey"):
            photo = photo.convert("L")
        if "transparent" in name:
            photo.putalpha(230)
        tags = Image.Exif()
        tags[_ORIENTATION] = orientation
        stream = io.BytesIO()
        photo.save(stream, form, exif=tags)
        yield name, stream.getvalue()
