"""Pictures of meters, drawn for tests: eight digits with a decimal point, a CSV with one box for each number."""

import csv
import functools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ALPHABET = "0123456789."


def draw_meters(folder: Path, count: int, seed: int = 0) -> Path:
    """Writes pictures and `meters.csv` with the columns file_name, text, left, top, width, height.

    Args:
      folder: Folder to write to; it is created.
      count: Number of pictures.
      seed: Random seed.

    Returns:
      Path of the CSV.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "meters.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file_name", "text", "left", "top", "width", "height"))
        for index in range(count):
            point = int(rng.integers(4, 8))
            digits = "".join(map(str, rng.integers(0, 10, 8)))
            text = f"{digits[:point]}.{digits[point:]}"
            picture, box = _draw(text, rng)
            picture.save(folder / f"{index:05d}.png", compress_level=1)
            table.writerow((f"{index:05d}.png", text, *box))
    return folder / "meters.csv"


def _draw(text: str, rng: np.random.Generator) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Returns a picture with a number in it, and the number's left, top, width and height."""
    dark, light = sorted(rng.integers(0, 256, 2).tolist())
    if light - dark < 90:
        dark, light = 20, 235
    ink, paper = (light, dark) if rng.random() < 0.5 else (dark, light)
    font = _font(int(rng.integers(18, 26)))
    left, top, right, bottom = map(int, font.getbbox(text))
    width, height = right - left, bottom - top
    x, y = (int(value) for value in rng.integers(5, 25, 2))
    picture = Image.new("L", (width + x + 15, height + y + 15), paper)
    ImageDraw.Draw(picture).text((x - left, y - top), text, fill=ink, font=font)
    noisy = np.asarray(picture, np.float32) + rng.normal(0, 6, (picture.height, picture.width))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert("RGB"), (x, y, width, height)


@functools.cache
def _font(size: int) -> Any:
    """Returns Pillow's own font, which takes a millisecond to load."""
    return ImageFont.load_default(size)
