"""Mistakes that are planted in a copy of pictures: wrong labels, near duplicates, leaks, or wrong boxes."""

import argparse
import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.files.place import Place

WRONG_SHARE, NEAR, LEAKS = 0.02, 50, 20
MOVED, CUT, GROWN = BOX_WAYS = ("moved", "cut", "grown")
_TEST_SHARE = 0.1
_SIMILAR = {"0": "86", "1": "7", "2": "7", "3": "8", "4": "9", "5": "6", "6": "58", "7": "1", "8": "36", "9": "4"}
"""Digits that are taken for each other."""


@dataclass(frozen=True)
class Row:
    """A row of the table of labels.

    Attributes:
      name: Name of the picture's file.
      text: Label.
      split: Split: train or test.
      box: Left, top, width and height of the number, pixels; empty for the complete picture.
    """

    name: str
    text: str
    split: str
    box: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """Key of the annotation in the dataset."""
        return f"{self.split}/{self.name}"


@dataclass(frozen=True)
class Planted:
    """What was planted.

    Attributes:
      wrong: Keys of the wrong labels.
      near: Pairs of keys of near duplicates in one split.
      leaks: Pairs of keys of copies in two splits.
      boxes: Way in which the box is wrong, by key.
    """

    wrong: set[str] = field(default_factory=set)
    near: set[frozenset[str]] = field(default_factory=set)
    leaks: set[frozenset[str]] = field(default_factory=set)
    boxes: dict[str, str] = field(default_factory=dict)


def plant(args: argparse.Namespace, folder: Path) -> Planted:
    """Writes a folder of pictures with a table of labels, some of them wrong, and returns what is wrong.

    Raises:
      UserError: The input cannot be read, or has too few pictures.
    """
    rows, pictures = _copied(args, folder)
    draw = random.Random(args.seed)
    order = draw.sample(range(len(rows)), len(rows))
    count = round(WRONG_SHARE * len(rows))
    for number, index in enumerate(order[:count]):
        rows[index] = replace(rows[index], text=wrong_text(rows[index].text, number, draw))
    wrong = {rows[index].key for index in order[:count]}
    pairs: list[frozenset[str]] = []
    for number, index in enumerate(order[count : count + NEAR + LEAKS]):
        original, is_leak = rows[index], number >= NEAR
        split = {"train": "test", "test": "train"}[original.split] if is_leak else original.split
        copy, picture = replace(original, name=f"pictures/copy-{number}.png", split=split), pictures[index]
        if not (is_leak and number % 2):
            picture, copy = slightly_changed(picture, copy, number, np.random.default_rng((args.seed, number)))
        cv2.imwrite(str(folder / copy.name), picture)
        rows.append(copy)
        pairs.append(frozenset((original.key, copy.key)))
    (folder / "labels.csv").write_text(_table(rows))
    return Planted(wrong, set(pairs[:NEAR]), set(pairs[NEAR:]))


def plant_boxes(args: argparse.Namespace, folder: Path) -> Planted:
    """Writes a folder of pictures with a table of labels and boxes, some boxes wrong, and returns which.

    Raises:
      UserError: The input cannot be read, has too few pictures, or no boxes.
    """
    rows, pictures = _copied(args, folder)
    if not all(row.box for row in rows):
        raise UserError("--boxes needs pictures whose numbers have boxes.", args.source)
    order = random.Random(args.seed).sample(range(len(rows)), round(WRONG_SHARE * len(rows)))
    boxes = {}
    for number, index in enumerate(order):
        way = BOX_WAYS[number % len(BOX_WAYS)]
        rows[index] = replace(rows[index], box=wrong_box(rows[index].box, pictures[index].shape, way))
        boxes[rows[index].key] = way
    (folder / "labels.csv").write_text(_table(rows))
    return Planted(boxes=boxes)


def wrong_box(box: Sequence[float], shape: Sequence[int], way: str) -> tuple[float, ...]:
    """Returns a wrong box, as far as it is inside the picture: left, top, width, height.

    Args:
      box: Right box.
      shape: Height and width of the picture, pixels.
      way: One of `BOX_WAYS`; a box is moved to the side with more room, and cut on its right.
    """
    left, top, width, height = box
    right, bottom = left + width, top + height
    if way == MOVED:
        step = width / 2 if shape[1] - right >= left else -width / 2
        left, right = left + step, right + step
    elif way == CUT:
        right -= width / 3
    else:
        left, right, top, bottom = left - width / 2, right + width / 2, top - height / 2, bottom + height / 2
    left, top = max(0.0, left), max(0.0, top)
    return left, top, min(float(shape[1]), right) - left, min(float(shape[0]), bottom) - top


def _copied(args: argparse.Namespace, folder: Path) -> tuple[list[Row], list[NDArray[Any]]]:
    """Returns what `_read` returns, and writes the pictures to a new folder.

    Raises:
      UserError: The input cannot be read, or has too few pictures.
    """
    (folder / "pictures").mkdir(parents=True)
    rows, pictures = _read(args)
    if len(rows) < 10 * (NEAR + LEAKS):
        raise UserError(f"The input must have at least {10 * (NEAR + LEAKS)} pictures.", len(rows))
    for row, picture in zip(rows, pictures, strict=True):
        cv2.imwrite(str(folder / row.name), picture)
    return rows, pictures


def _read(args: argparse.Namespace) -> tuple[list[Row], list[NDArray[Any]]]:
    """Returns the numbers of a subset that can be used, and their pictures, BGR or grey.

    Raises:
      UserError: The input cannot be read.
    """
    from beam_jobs.sources import load_source
    from beam_jobs.sources.base import Input, SourceOptions
    from tfrecords.images.crop import union

    source = load_source(args.source)
    subset = source.find_subsets(Input(Place(args.input), (args.subset,) if args.subset else ()), SourceOptions())[0]
    rows, pictures = [], []
    for one in source.read_annotations(subset, 0, subset.entries, "left", SourceOptions()):
        if one.dead or one.part:
            continue
        name = f"{Path(one.name).stem}.png"
        box = union(one.placed) if one.placed else None
        placed = (box.xmin, box.ymin, box.width, box.height) if box else ()
        is_test = stable_digest(f"{args.seed}/split/{name}") / 2**64 < _TEST_SHARE
        rows.append(Row(f"pictures/{name}", one.text, "test" if is_test else "train", placed))
        pictures.append(_decoded(source.read_picture(subset, one.name)))
    return rows, pictures


def _decoded(content: bytes | NDArray[np.uint8]) -> NDArray[Any]:
    if isinstance(content, bytes):
        return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return content if content.shape[2] == 1 else content[:, :, ::-1]


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file_name", "text", "left", "top", "width", "height", "split"])
    writer.writerows([row.name, row.text, *(row.box or [""] * 4), row.split] for row in rows)
    return text.getvalue()


def wrong_text(text: str, number: int, draw: random.Random) -> str:
    """Returns a wrong label: in turn with a similar digit, one digit less, or two digits swapped, where possible."""
    swaps = [place for place in range(len(text) - 1) if text[place] != text[place + 1]]
    place = draw.randrange(len(text))
    if number % 3 == 1 and len(text) > 1:
        return text[:place] + text[place + 1 :]
    if number % 3 == 2 and swaps:
        place = draw.choice(swaps)
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + draw.choice(_SIMILAR[text[place]]) + text[place + 1 :]


def slightly_changed(
    picture: NDArray[Any], row: Row, number: int, rng: np.random.Generator
) -> tuple[NDArray[Any], Row]:
    """Returns a picture as it may come again, with its row: in turn fainter, noisier, compressed, softer, moved."""
    height, width = picture.shape[:2]
    way = number % 5
    if way == 0:
        return np.clip(picture * rng.uniform(0.75, 0.95) + 15, 0, 255).astype(np.uint8), row
    if way == 1:
        return np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8), row
    if way == 2:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 90))])
        kind = cv2.IMREAD_GRAYSCALE if picture.shape[2] == 1 else cv2.IMREAD_COLOR
        return np.asarray(cv2.imdecode(data, kind)), row
    if way == 3:
        small = cv2.resize(picture, (max(1, 3 * width // 4), max(1, 3 * height // 4)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height)), row
    if not row.box:
        return cv2.copyMakeBorder(picture, 0, 0, 1, 0, cv2.BORDER_REPLICATE)[:, :width], row
    left, top, *size = row.box
    return picture, replace(row, box=(left + 1, top, *size))
