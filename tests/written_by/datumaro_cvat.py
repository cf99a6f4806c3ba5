"""Writes tests/written_by/cvat and cvat_labels with datumaro 1.13.12: CVAT for images 1.1.

python3 -m venv x && x/bin/pip install datumaro==1.13.12
x/bin/python tests/written_by/datumaro_cvat.py
"""

import shutil
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

HERE = Path(__file__).parent
Numbers = dict[str, list[tuple[str, tuple[float, float, float, float]]]]
NUMBERS: Numbers = {
    "a/1": [("0042", (3, 4, 30.5, 12)), ("7", (2, 25, 9, 11.25))],
    "b 2": [("12.5", (0, 1, 40, 20))],
    "c": [],
}
"""Number and x, y, width, height of each box, by picture of 48x40."""


def items(labelled: bool) -> list[DatasetItem]:
    """Returns the pictures: a box for each number with a text; or one for each character, in groups."""
    found = []
    for number, (name, boxes) in enumerate(NUMBERS.items()):
        drawn = []
        for group, (text, (x, y, width, height)) in enumerate(boxes, 1):
            if labelled:
                step = width / len(text)
                places = [(x + at * step, y, step, height) for at in range(len(text))]
                pairs = list(zip(text, places, strict=True))[::-1]
                drawn += [Bbox(*place, label="0123456789.".index(each), group=group) for each, place in pairs]
            else:
                drawn.append(Bbox(x, y, width, height, label=0, attributes={"text": text, "occluded": False}))
        image = Image.from_numpy(np.full((40, 48, 3), 255, np.uint8), ext=".png")
        found.append(DatasetItem(name, subset="train" if number else "test", media=image, annotations=drawn))
    return found


for folder, labelled in (("cvat", False), ("cvat_labels", True)):
    shutil.rmtree(HERE / folder, ignore_errors=True)
    dataset = Dataset.from_iterable(items(labelled), categories=list("0123456789.") if labelled else ["plate"])
    dataset.export(str(HERE / folder), "cvat", save_media=False, allow_undeclared_attrs=True)
