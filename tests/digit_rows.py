"""Genuine characters of SVHN with their boxes, picture by picture, from the published annotations."""

import csv
import gzip

from tests.real_data import data_folder
from tfrecords.images.crop import BoundingBox


def read_real_rows(subset: str, pictures: int) -> dict[str, list[tuple[str, BoundingBox]]]:
    """Returns the characters of the first pictures of a subset by its name, in the order of left edges."""
    found: dict[str, list[tuple[str, BoundingBox]]] = {}
    with gzip.open(data_folder() / "svhn_annotations" / f"{subset}.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            if row["name"] not in found and len(found) == pictures:
                break
            left, top, width, height = (float(row[key]) for key in ("left", "top", "width", "height"))
            box = BoundingBox(top, left, top + height, left + width)
            found.setdefault(row["name"], []).append((str(int(row["label"]) % 10), box))
    return {name: sorted(characters, key=lambda each: each[1].xmin) for name, characters in found.items()}
