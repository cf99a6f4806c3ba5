"""Reading a COCO file of characters, four a number: pycocotools' load and index, and ours.

Ours also joins the characters to numbers, checks every box and hashes the file.
"""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

from beam_jobs.sources.coco.source import SOURCE, read_entries
from benchmarks.sources._read import read_all

_PER_NUMBER = 4


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes a file of `entries` characters and returns the ways of reading it; each returns their number."""
    path = _write(folder, entries)

    def pycocotools() -> int:
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            return len(COCO(str(path)).anns)

    def ours() -> int:
        read_entries.cache_clear()
        return sum(len(annotation.text) for annotation in read_all(SOURCE, path))

    return {"pycocotools.coco.COCO": pycocotools, "ours": ours}


def _write(folder: Path, entries: int) -> Path:
    pictures = -(-entries // _PER_NUMBER)
    images = [{"id": at, "file_name": f"{at:06d}.jpg", "width": 640, "height": 480} for at in range(pictures)]
    annotations = []
    for at in range(entries):
        left, top, width, height = 100.25 + at % _PER_NUMBER * 22, 50.5 + at % 97 / 7, 20.5, 40 + at % 13 / 9
        annotations.append(
            {
                "id": at,
                "image_id": at // _PER_NUMBER,
                "category_id": at * 7 % 10,
                "bbox": [left, round(top, 2), width, round(height, 2)],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "segmentation": [],
            }
        )
    categories = [{"id": digit, "name": str(digit), "supercategory": "digit"} for digit in range(10)]
    path = folder / "instances_train.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    (folder / "000000.jpg").touch()
    return path
