"""python -m tfrecords show: draws a sheet of a split's images with their labels, and of scenes with their boxes."""

import argparse
import io
import itertools
import math
import sys
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tfrecords.dataset import reader
from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.flags import add_snapshot
from tfrecords.record.scene import SceneExample
from tfrecords.record.schema import DigitExample

EPILOG = """\
examples:
  python -m tfrecords show svhn-records --count 40 --output sheet.png
  python -m tfrecords show gs://bucket/svhn-records \\
      --output gs://bucket/sheet.png

Of a dataset of prepare --task find, the boxes of the numbers are always drawn,
each with its number; --boxes draws those of the characters too.
"""
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Formats of the sheet, by the suffix of its file."""
_JPEG_QUALITY = 95
_MARGIN = 8
_LABEL_HEIGHT = 22
_NUMBER_SIZE = 18
"""Size of the numbers' letters, pixels."""
_TEXT_SIZE, _TEXT_HEIGHT = 12, 15
"""Size of the letters over a scene, and height of their ground, pixels."""
_MOST_LISTED = 3
"""Numbers of a scene that are listed below it."""
_CHARACTER_COLOUR = (255, 255, 255)
_UNASSIGNED = "\U0010ffff"
"""A code that no font has a letter for."""
_BACKGROUND, _INK, _FAINT = (250, 250, 248), (20, 20, 20), (120, 120, 120)
_BOX_COLOURS = ((230, 60, 60), (240, 160, 30), (60, 180, 75), (30, 130, 230), (170, 80, 220))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `show`."""
    parser.add_argument(
        "directory", type=place, metavar="DIR", help="dataset directory that prepare wrote, or its address"
    )
    add_snapshot(parser)
    parser.add_argument("--split", default="train", metavar="NAME", help="split to draw")
    parser.add_argument("--count", type=int, default=40, help="number of images, from the first of the split")
    file = "file to write, .png or .jpg; or its address"
    parser.add_argument("--output", type=place, required=True, metavar="FILE", help=file)
    scale = "enlargement of the images (default: 2; of scenes 1)"
    parser.add_argument("--scale", type=int, help=scale)
    parser.add_argument("--boxes", action="store_true", help="draw the boxes of the digits")


def run(args: argparse.Namespace) -> int:
    """Writes the sheet.

    Raises:
      UserError: An option is out of range, DIR has no such split, or the split is empty.
    """
    for name in ("count", "scale"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1.", value)
    kind = _KINDS.get(args.output.suffix)
    if kind is None or args.output.is_dir():
        raise UserError(f"--output must be a file that ends in {', '.join(_KINDS)}.", args.output)
    args.output.refuse_web()
    examples = list(itertools.islice(reader.open(args.directory, args.split, snapshot=args.snapshot), args.count))
    if not examples:
        raise UserError(f"The split {args.split} must hold at least one example.", 0)
    # Of one dataset, all are scenes or none is.
    scenes = [example for example in examples if isinstance(example, SceneExample)]
    sheet = draw_sheet(scenes or examples, args.scale or (1 if scenes else 2), args.boxes)
    stream = io.BytesIO()
    sheet.save(stream, kind, quality=_JPEG_QUALITY)
    args.output.write([stream.getvalue()])
    if args.boxes and not any(_has_digit_boxes(example) for example in scenes or examples):
        print("note: no boxes were drawn, because those of the characters are not known", file=sys.stderr)
    print(f"drew {len(examples)} images of {args.split} in {args.output} ({sheet.width} x {sheet.height})")
    return 0


def _has_digit_boxes(example: DigitExample | SceneExample) -> bool:
    return len(example.digit_boxes) > 0 if isinstance(example, SceneExample) else example.has_digit_boxes


def draw_sheet(examples: Sequence[DigitExample | SceneExample], scale: int, boxes: bool) -> Image.Image:
    """Returns an RGB sheet of the images in rows, each above its number, or numbers, and its key.

    Args:
      examples: At least one example or scene.
      scale: Pixels of the sheet per pixel of an image, in each direction.
      boxes: Whether to draw the boxes of the digits that are known, from the first in red, orange, green, blue,
        violet, red and so on.
    """
    columns = min(len(examples), max(4, math.ceil(math.sqrt(len(examples) * 1.6))))
    font = ImageFont.load_default(_NUMBER_SIZE)
    numbers = max(math.ceil(font.getlength(_number(example, font))) for example in examples)
    width = max(numbers, scale * max(example.image.shape[1] for example in examples)) + _MARGIN
    height = scale * max(example.image.shape[0] for example in examples) + _MARGIN + _LABEL_HEIGHT + 10
    rows = math.ceil(len(examples) / columns)
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), _BACKGROUND)
    for index, example in enumerate(examples):
        row, column = divmod(index, columns)
        _draw_example(sheet, example, (column * width + _MARGIN, row * height + _MARGIN), scale, boxes)
    return sheet


def _draw_example(
    sheet: Image.Image, example: DigitExample | SceneExample, corner: tuple[int, int], scale: int, boxes: bool
) -> None:
    pixels = example.image[:, :, 0] if example.image.shape[2] == 1 else example.image
    tile = Image.fromarray(pixels).convert("RGB")
    tile = tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.NEAREST)
    if isinstance(example, SceneExample):
        _draw_numbers(tile, example, scale, boxes)
    elif boxes and example.has_digit_boxes:
        pen = ImageDraw.Draw(tile)
        for box, colour in zip(example.boxes[: example.length], itertools.cycle(_BOX_COLOURS), strict=False):
            ymin, xmin, ymax, xmax = (float(edge) * scale for edge in box)
            pen.rectangle((xmin, ymin, xmax, ymax), outline=colour)
    sheet.paste(tile, corner)
    pen = ImageDraw.Draw(sheet)
    x, y = corner[0], corner[1] + tile.height + 2
    font = ImageFont.load_default(_NUMBER_SIZE)
    pen.text((x, y), _number(example, font), fill=_INK, font=font)
    pen.text((x, y + 19), _shorten_key(example.key, tile.width), fill=_FAINT, font=ImageFont.load_default(9))


def _draw_numbers(tile: Image.Image, scene: SceneExample, scale: int, boxes: bool) -> None:
    """Draws the box of each number with its text, and those of the characters if `boxes` says so."""
    pen = ImageDraw.Draw(tile)
    font = ImageFont.load_default(_TEXT_SIZE)
    for box in scene.digit_boxes if boxes else ():
        ymin, xmin, ymax, xmax = (float(edge) * scale for edge in box)
        pen.rectangle((xmin, ymin, xmax, ymax), outline=_CHARACTER_COLOUR)
    for text, box, colour in zip(scene.texts, scene.boxes, itertools.cycle(_BOX_COLOURS), strict=False):
        ymin, xmin, ymax, xmax = (float(edge) * scale for edge in box)
        pen.rectangle((xmin, ymin, xmax, ymax), outline=colour, width=2)
        label = _drawable(text, font)
        width = math.ceil(font.getlength(label)) + 4
        # Above its box, or below it where there is no room, and always in the tile.
        top = ymin - _TEXT_HEIGHT if ymin >= _TEXT_HEIGHT else min(ymax + 1, tile.height - _TEXT_HEIGHT)
        left = max(0.0, min(xmin, tile.width - width))
        pen.rectangle((left, top, left + width, top + _TEXT_HEIGHT), fill=colour)
        pen.text((left + 2, top), label, fill=_BACKGROUND, font=font)


def _number(example: DigitExample | SceneExample, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if not isinstance(example, SceneExample):
        return _drawable(example.text, font) or "no number"
    more = len(example.texts) - _MOST_LISTED
    listed = _drawable(", ".join(example.texts[:_MOST_LISTED]), font) or "no number"
    return f"{listed} and {more} more" if more > 0 else listed


def _drawable(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Returns a text with the code of each character that the font lacks, which would be drawn as the same box."""
    lacks = bytes(font.getmask(_UNASSIGNED))
    # Pillow's own font has ASCII and little else.
    return "".join(
        f"<{ord(each):X}>" if not each.isascii() and bytes(font.getmask(each)) == lacks else each for each in text
    )


def _shorten_key(key: str, width: int) -> str:
    """Returns the end of a key that fits into `width` pixels: the picture's name matters more than the subset's."""
    font = ImageFont.load_default(9)
    key = _drawable(key, font)
    while len(key) > 1 and font.getlength(key) > width:
        key = key[1:]
    return key
