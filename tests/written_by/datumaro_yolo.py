"""Writes the YOLO data sets of a test, with Datumaro 1.13.12: `python tests/written_by/datumaro_yolo.py FOLDER`.

Datumaro's pins conflict with this project's, so it runs in an environment of its own, and what it has written is in
`tests/written_by/yolo`: in Ultralytics' layout and in Darknet's, each with the number 70 in a picture of 96 x 48, and
an empty picture.
"""

import sys
from pathlib import Path

import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image


def write(folder: Path) -> None:
    """Writes the data set in both layouts, subsets train and val."""

    def item(name: str, subset: str, *boxes: Bbox) -> DatasetItem:
        pixels = np.full((48, 96, 3), 200, np.uint8)
        return DatasetItem(name, subset=subset, media=Image.from_numpy(pixels, ext=".png"), annotations=list(boxes))

    for layout in ("yolo_ultralytics", "yolo"):
        items = [
            item("one", "train", Bbox(30.25, 10, 10, 20, label=0), Bbox(18, 10.5, 10, 20, label=7)),
            item("empty", "train"),
            item("other", "val", Bbox(5, 5, 10, 20, label=9)),
        ]
        labels = {AnnotationType.label: LabelCategories.from_iterable([str(digit) for digit in range(10)])}
        Dataset.from_iterable(items, categories=labels).export(str(folder / layout), layout, save_media=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
