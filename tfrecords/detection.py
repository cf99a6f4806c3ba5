"""Scenes as the files that detectors are trained with: COCO's JSON and Ultralytics' YOLO folders."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.scene import SceneExample

NUMBER, DIGITS, ALL = CLASSES = ("number", "digits", "all")
"""Objects of a picture: its numbers, all of one class; the characters whose boxes are known, of a class each; both."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")
_STEM_CHARACTERS = 60
FOLDERS = {"validation": "val"}
"""Names that Ultralytics gives to splits, where they are not ours."""


@dataclass(frozen=True)
class Object:
    """One box of a picture.

    Attributes:
      name: Name of its class.
      box: Left, top, width and height, pixels.
      text: Text of a number; empty for a character.
      group: Index of the number in the picture, counted from 1; also of the number that a character belongs to.
    """

    name: str
    box: tuple[float, float, float, float]
    text: str
    group: int


@dataclass(frozen=True)
class Picture:
    """One picture file and its objects.

    Attributes:
      name: Name of the file.
      key: Key of the scene.
      height: Height, pixels.
      width: Width, pixels.
      objects: Objects, numbers first.
      dropped: Number of objects outside the picture, which are left out.
      unplaced: Number of numbers whose characters have no known boxes, where characters are objects.
    """

    name: str
    key: str
    height: int
    width: int
    objects: list[Object]
    dropped: int
    unplaced: int


def class_names(classes: str, alphabet: str) -> list[str]:
    """Returns the names of the classes, in the order of their indices.

    Args:
      classes: Objects to name the classes of, one of `CLASSES`.
      alphabet: Characters that numbers are made of.
    """
    return [*([NUMBER] if classes != DIGITS else []), *(alphabet if classes != NUMBER else "")]


def describe(scene: SceneExample, index: int, suffix: str, classes: str) -> Picture:
    """Returns the picture and its objects, clipped to the picture.

    Args:
      scene: Scene.
      index: Index of the scene in its split, which makes the name of the file unique.
      suffix: Suffix of the file.
      classes: Objects to return, one of `CLASSES`.
    """
    stem = _NOT_PLAIN.sub("_", PurePosixPath(scene.key).stem)[:_STEM_CHARACTERS]
    size = scene.content_size
    found = []
    if classes != DIGITS:
        boxes = _clipped(scene.boxes, size)
        found += [
            Object(NUMBER, box, text, group)
            for group, (text, box) in enumerate(zip(scene.texts, boxes, strict=True), start=1)
        ]
    if classes != NUMBER:
        rows = zip(scene.digit_labels.tolist(), scene.digit_numbers.tolist(), strict=True)
        boxes = _clipped(scene.digit_boxes, size)
        found += [
            Object(scene.alphabet[label], box, "", number + 1) for (label, number), box in zip(rows, boxes, strict=True)
        ]
    kept = [each for each in found if min(each.box[2:]) > 0]
    height, width = scene.image.shape[:2]
    unplaced = len(scene.texts) - len(set(scene.digit_numbers.tolist())) if classes != NUMBER else 0
    name = f"{index:06d}-{stem}{suffix}"
    return Picture(name, scene.key, height, width, kept, len(found) - len(kept), unplaced)


def _clipped(boxes: NDArray[np.float32], size: NDArray[np.int64]) -> list[tuple[float, float, float, float]]:
    """Returns boxes as left, top, width and height, clipped to a picture of this height and width."""
    stop = np.tile(size, 2)
    ymin, xmin, ymax, xmax = np.clip(boxes.astype(np.float64), 0, stop).T
    return list(zip(*np.round([xmin, ymin, xmax - xmin, ymax - ymin], 3).tolist(), strict=True))


def coco_json(pictures: Iterable[Picture], names: Sequence[str]) -> str:
    """Returns the text of a COCO detection file.

    An annotation of a number has its text as the attribute `text`. One of a character has the number that it belongs
    to as the attribute `group`, counted from 1 in each picture.

    Args:
      pictures: Pictures of the file.
      names: Names of the classes.
    """
    ids = {name: index for index, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        size = {"width": picture.width, "height": picture.height}
        images.append({"id": len(images) + 1, "file_name": picture.name, **size, "key": picture.key})
        for each in picture.objects:
            is_number = bool(each.text)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": ids[each.name],
                    "bbox": list(each.box),
                    "area": round(each.box[2] * each.box[3], 3),
                    "segmentation": [],
                    "iscrowd": 0,
                    "attributes": {"text": each.text} if is_number else {"group": each.group},
                }
            )
    categories = [{"id": key, "name": name, "supercategory": _super(name)} for name, key in ids.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}) + "\n"


def _super(name: str) -> str:
    return "text" if name == NUMBER else "character"


def yolo_label(picture: Picture, names: Sequence[str]) -> str:
    """Returns the text of a picture's label file: class, then centre, width and height as shares of the picture."""
    lines = []
    for each in picture.objects:
        left, top, width, height = each.box
        centre = (left + width / 2) / picture.width, (top + height / 2) / picture.height
        row = *centre, width / picture.width, height / picture.height
        lines.append(f"{names.index(each.name)} {' '.join(f'{value:.6f}' for value in row)}\n")
    return "".join(lines)


def yolo_yaml(splits: Mapping[str, str], names: Sequence[str]) -> str:
    """Returns the text of data.yaml, without a `path`, so that paths are those next to it.

    Args:
      splits: Folders of pictures, by the name that Ultralytics gives to the split.
      names: Names of the classes.
    """
    # JSON's strings are YAML's too.
    lines = [f"{split}: {folder}" for split, folder in splits.items()]
    lines += [f"nc: {len(names)}", "names:", *(f"  {index}: {json.dumps(name)}" for index, name in enumerate(names))]
    return "\n".join(lines) + "\n"
