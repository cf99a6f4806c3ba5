"""Scenes as a data set in COCO's layout: JPEG files, and the boxes of their digits, grouped to numbers."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beam_jobs.sample.scenes.picture import Annotated
from tfrecords.files.publish import atomic_write

ANNOTATIONS = "instances.json"
"""Name of a subset's annotations, next to its pictures."""
_CATEGORIES = [{"id": digit + 1, "name": str(digit), "supercategory": "digit"} for digit in range(10)]


def write_annotations(path: Path, names: Iterable[str], pictures: Iterable[Annotated]) -> None:
    """Writes a COCO detection file whose categories are the digits.

    The digits of one number have the same `group`: numbers may stand close to each other, and digits apart. Pictures
    without a number are images without annotations.

    Args:
      path: Path of the file; an existing file is replaced.
      names: File name of each picture.
      pictures: Pictures; read one at a time, so a generator may draw them meanwhile.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for identity, (name, picture) in enumerate(zip(names, pictures, strict=True), 1):
        images.append({"id": identity, "file_name": name, "width": picture.width, "height": picture.height})
        for group, number in enumerate(picture.numbers, 1):
            for digit, (left, top, width, height) in zip(number.digits, number.boxes, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": identity,
                        "category_id": digit + 1,
                        "bbox": [left, top, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "group": group,
                    }
                )
    document = {"images": images, "categories": _CATEGORIES, "annotations": annotations}
    with atomic_write(path) as stream:
        stream.write(json.dumps(document, separators=(",", ":")).encode())


def count_kinds(pictures: Iterable[Annotated]) -> Counter[str]:
    """Returns how many pictures are with one number, several, none and drawn again, and the count of numbers."""
    counts: Counter[str] = Counter()
    for picture in pictures:
        kind = ("without", "with one number", "with several")[min(len(picture.numbers), 2)]
        counts.update({kind: 1, "numbers": len(picture.numbers), "again": picture.again > 0})
    return counts
