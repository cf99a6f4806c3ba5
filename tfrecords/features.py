"""The features of a record; docs/record.md explains each for people."""

from typing import NamedTuple


class Feature(NamedTuple):
    """One feature of a record: its kind (`bytes`, `int64`, `float`), shape and meaning."""

    kind: str
    shape: tuple[int, ...]
    meaning: str


FEATURES: dict[str, Feature] = {
    "key": Feature("bytes", (), "subset, picture and jitter, UTF-8: train/123.png#2"),
    "image": Feature("bytes", (), "uint8 pixels, row by row, or a PNG file"),
    "image/format": Feature("bytes", (), "raw or png"),
    "image/shape": Feature("int64", (3,), "height, width, channels"),
    "text": Feature("bytes", (), "the number, UTF-8: 1907"),
    "length": Feature("int64", (), "how many digits, 1..5"),
    "digits": Feature("int64", (5,), "0..9 in reading order, 10 behind the last"),
    "crop_box": Feature("int64", (4,), "ymin, xmin, ymax, xmax of the crop in the source picture, pixels"),
    "jitter_offset": Feature("int64", (2,), "y, x of the image in the resized crop, pixels"),
    "source_size": Feature("int64", (2,), "height, width of the source picture, pixels"),
    "boxes": Feature("float", (5, 4), "ymin, xmin, ymax, xmax of each digit in the image, pixels"),
}
DYNAMIC_IMAGE = "image/value"
"""Name of the pixels instead of `image` in a dataset of raw pictures of several sizes: what TensorFlow
Datasets calls the bytes of a tensor whose shape stands beside it, in `image/shape`."""
