"""Writes the COCO data set of a test, with Datumaro 1.13.12: `python tests/written_by/datumaro_coco.py FOLDER`.

Datumaro's pins conflict with this project's, so it runs in an environment of its own, and what it has written is in
`tests/written_by/coco`: two digits as characters, a picture of two numbers in groups, and one
without annotations.
"""

import sys
from pathlib import Path

import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image


def write(folder: Path) -> None:
    """Writes the data set as COCO instances, subsets train and val."""

    def box(character: int, left: float, top: float, group: int | None = None) -> Bbox:
        attributes = {} if group is None else {"group_id": group}
        return Bbox(left, top, 10, 20, label=character, attributes=attributes)

    def item(name: str, subset: str, *boxes: Bbox) -> DatasetItem:
        pixels = np.full((48, 96, 3), 200, np.uint8)
        return DatasetItem(name, subset=subset, media=Image.from_numpy(pixels, ext=".png"), annotations=list(boxes))

    items = [
        item("one", "train", box(0, 30.25, 10), box(7, 18, 10.5)),
        item("two numbers", "train", box(1, 5, 10, 1), box(2, 17, 10, 1), box(3, 29, 10, 2), box(4, 41, 10, 2)),
        item("empty", "train"),
        item("other", "val", box(9, 5, 5)),
    ]
    labels = {AnnotationType.label: LabelCategories.from_iterable([str(digit) for digit in range(10)])}
    Dataset.from_iterable(items, categories=labels).export(str(folder), "coco_instances", save_media=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
