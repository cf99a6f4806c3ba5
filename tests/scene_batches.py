"""Batches of small pictures as COCO lays them out, with several numbers, one and none, for streams of scenes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.scenes import draw_scene
from tfrecords.files.framing import read_frames
from tfrecords.record.scene import SceneExample, decode_scene

_CLASSES = [*"0123456789", "meter", "person"]


class Mark(NamedTuple):
    """A box of a picture.

    Attributes:
      text: Number in it; empty for a person.
      box: Left, top, width and height, pixels.
    """

    text: str
    box: tuple[int, int, int, int]


Pictures = Mapping[str, Sequence[Mark]]
"""Boxes of each picture, by its name."""
MIXED: Pictures = {
    "digits.png": [Mark("12", (6, 4, 20, 14))],
    "longer.png": [Mark("34", (6, 4, 20, 14))],
    "two.png": [Mark("56", (4, 2, 20, 14)), Mark("78", (40, 20, 20, 14))],
    "both.png": [Mark("91", (4, 2, 20, 14)), Mark("", (40, 20, 20, 14))],
    "person.png": [Mark("", (8, 8, 20, 16))],
    "out.png": [Mark("70", (50, 8, 20, 16))],
    "nothing.png": [],
    "pair.png": [Mark("3", (4, 2, 10, 14)), Mark("4", (44, 20, 10, 14))],
}
"""Pictures that corrections change in every way: of 40 x 64 pixels, height x width."""


def drop(
    inbox: Path, name: str, pictures: Pictures = MIXED, missing: Sequence[str] = (), has_digits: bool = False
) -> Path:
    """Writes a batch in the inbox under a hidden name, and renames it.

    Args:
      inbox: Folder of the inbox.
      name: Name of the batch.
      pictures: Boxes of each picture.
      missing: Names of pictures of which the file is none.
      has_digits: Whether each digit has a box, all of a number of one width, and not the number.
    """
    hidden = inbox / f".{name}"
    hidden.mkdir(parents=True)
    for seed, each in enumerate(pictures):
        noise = np.random.default_rng([seed, *name.encode()]).integers(0, 256, (40, 64, 3), np.uint8)
        Image.fromarray(noise).save(hidden / each, compress_level=1)
        if each in missing:
            (hidden / each).write_bytes(b"\x89PNG no picture IEND\xae\x42\x60\x82")
    _write_coco(hidden, pictures, has_digits)
    return hidden.rename(inbox / name)


def drop_drawn(inbox: Path, name: str, first: int, count: int) -> Path:
    """Writes a batch of scenes that a model learns to find numbers in: those of seeds from `first`."""
    hidden, pictures = inbox / f".{name}", dict[str, list[Mark]]()
    hidden.mkdir(parents=True)
    for seed in range(first, first + count):
        scene = draw_scene(seed)
        Image.fromarray(scene.image[: scene.content_size[0]]).save(hidden / f"{seed}.png", compress_level=1)
        pictures[f"{seed}.png"] = [
            Mark(text, (int(left), int(top), int(right - left), int(bottom - top)))
            for text, (top, left, bottom, right) in zip(scene.texts, scene.boxes.tolist(), strict=True)
        ]
    _write_coco(hidden, pictures)
    return hidden.rename(inbox / name)


def _write_coco(folder: Path, pictures: Pictures, has_digits: bool = False) -> None:
    boxes: list[dict[str, Any]] = []
    for image, marks in enumerate(pictures.values(), 1):
        for text, (left, top, width, height) in marks:
            parts = list(text) if has_digits and text else [text]
            side = width / len(parts)
            for place, part in enumerate(parts):
                name = "person" if not text else part if has_digits else "meter"
                box = [left + place * side, top, side, height]
                attributes = {} if has_digits or not text else {"attributes": {"text": text}}
                boxes.append({"image_id": image, "category_id": _CLASSES.index(name), "bbox": box, **attributes})
    content = {
        "images": [{"id": at, "file_name": name} for at, name in enumerate(pictures, 1)],
        "categories": [{"id": at, "name": name} for at, name in enumerate(_CLASSES)],
        "annotations": [{"id": at, **box} for at, box in enumerate(boxes, 1)],
    }
    (folder / "instances_train.json").write_text(json.dumps(content))


def scenes(*directories: Path) -> dict[str, SceneExample]:
    """Returns the scenes in all shards of dataset directories, by their keys, each of which is there once."""
    found: dict[str, SceneExample] = {}
    for path in (path for folder in directories for path in folder.glob("*.tfrecord-*-of-?????")):
        with path.open("rb") as stream:
            for frame in read_frames(stream, path.name):
                scene = decode_scene(frame.data, frame.location)
                assert scene.key not in found
                found[scene.key] = scene
    return found
