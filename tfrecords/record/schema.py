"""The example, and the features of its record. docs/record.md explains each feature."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.record.labels import DIGITS, MOST_LENGTH, Labels, spell


class Feature(NamedTuple):
    """One feature of a record.

    Attributes:
      kind: Type of the values: `bytes`, `int64` or `float`.
      shape: Shape of the values.
      meaning: Description, which is also written to features.json.
    """

    kind: str
    shape: tuple[int, ...]
    meaning: str


SCHEMA_VERSION = 2
DYNAMIC_IMAGE = "image/value"
"""Name of the pixels, instead of `image`, in a dataset of raw images of several sizes. TensorFlow Datasets gives this
name to the bytes of a tensor whose shape is in `image/shape`."""
KINDS = {
    "key": "bytes",
    "image": "bytes",
    "image/format": "bytes",
    "image/shape": "int64",
    "text": "bytes",
    "length": "int64",
    "digits": "int64",
    "crop_box": "int64",
    "jitter_offset": "int64",
    "source_size": "int64",
    "boxes": "float",
    "has_digit_boxes": "int64",
}
"""Type of the values of each feature of a record, in the order of tables."""
NEW_IN_2 = "has_digit_boxes"
"""The feature that records of schema version 1 lack: each digit of theirs has a box."""


@lru_cache(16)
def features_of(labels: Labels, version: int = SCHEMA_VERSION) -> dict[str, Feature]:
    """Returns the features of a dataset's records by name.

    Args:
      labels: What the dataset's numbers may be.
      version: Schema version of the dataset.
    """
    longest, pad = labels.max_length, labels.pad
    meaning = {
        "key": ((), "subset, picture and jitter, UTF-8: train/123.png#2"),
        "image": ((), "uint8 pixels, row by row, or a PNG file"),
        "image/format": ((), "raw or png"),
        "image/shape": ((3,), "height, width, channels"),
        "text": ((), "the number, UTF-8: 1907"),
        "length": ((), f"number of characters, 0..{longest}"),
        "digits": ((longest,), f"indices of the characters in the alphabet, in reading order, padded with {pad}"),
        "crop_box": ((4,), "ymin, xmin, ymax, xmax of the crop in the source picture, pixels"),
        "jitter_offset": ((2,), "y, x of the image in the resized crop, pixels"),
        "source_size": ((2,), "height, width of the source picture, pixels"),
        "boxes": ((longest, 4), "ymin, xmin, ymax, xmax of each character in the image, pixels"),
        "has_digit_boxes": ((), "whether boxes are known, 0 or 1; if not, they are zeros"),
    }
    found = {name: Feature(KINDS[name], shape, text) for name, (shape, text) in meaning.items()}
    if version == 1:
        del found[NEW_IN_2]
    return found


@dataclass(frozen=True, eq=False)
class DigitExample:
    """One image of a number, the same for every source and every reader.

    Attributes:
      key: Subset, picture and jitter, such as `train/123.png#2`; unique in a dataset.
      image: Pixels: shape (height, width, channels), uint8, 0..255.
      digits: Indices of the number's characters in `alphabet`, in reading order, padded with the alphabet's size:
        shape (max_length,), int64. For the default alphabet these are the digits 0..9, padded with 10.
      length: Number of characters, 0..max_length; 0 for a crop without a number.
      crop_box: ymin, xmin, ymax, xmax of the crop in the source picture, half-open pixels: shape (4,), int64.
      jitter_offset: y, x of `image` in the resized crop, pixels: shape (2,), int64.
      source_size: Height and width of the source picture, pixels: shape (2,), int64.
      boxes: ymin, xmin, ymax, xmax of each character in pixels of `image`, padded with zeros: shape (max_length, 4),
        float32. A jitter may move them past the edge.
      has_digit_boxes: Whether the characters' boxes are known; if not, `boxes` are zeros.
      alphabet: Characters that numbers are made of. It belongs to the dataset, and is no feature of a record.
    """

    key: str
    image: NDArray[np.uint8]
    digits: NDArray[np.int64]
    length: int
    crop_box: NDArray[np.int64]
    jitter_offset: NDArray[np.int64]
    source_size: NDArray[np.int64]
    boxes: NDArray[np.float32]
    has_digit_boxes: bool = True
    alphabet: str = DIGITS

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.image.shape))
        return f"<DigitExample {self.key}: {self.text}, image of {size} {self.image.dtype}>"

    @property
    def text(self) -> str:
        """The number as text, such as `"1907"`; empty without a number."""
        return spell(self.alphabet, self.digits[: self.length].tolist())

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes, without the alphabet, and `text` by name."""
        return {**{name: value for name, value in vars(self).items() if name != "alphabet"}, "text": self.text}


def check_example(example: DigitExample, labels: Labels | None = None) -> None:
    """Checks an example against the rules of `DigitExample`.

    Args:
      example: Example to check.
      labels: What the dataset's numbers may be; None for those that the example states itself.

    Raises:
      UserError: The example breaks a rule; the message names its key and the rule.
    """
    image = example.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise UserError(
            f"{example.key}: image must be uint8 of shape (height, width, 1 or 3).", (image.dtype, image.shape)
        )
    labels = labels or Labels(min(max(1, example.digits.size), MOST_LENGTH), example.alphabet)
    _check_label(example, labels)
    boxes = (labels.max_length, 4)
    for name, shape in (("crop_box", (4,)), ("jitter_offset", (2,)), ("source_size", (2,)), ("boxes", boxes)):
        value = getattr(example, name)
        if value.shape != shape:
            raise UserError(f"{example.key}: {name} must have shape {shape}.", value.shape)
    if not example.has_digit_boxes and example.boxes.any():
        raise UserError(f"{example.key}: boxes must be zeros, since has_digit_boxes is 0.", example.boxes.tolist())
    ymin, xmin, ymax, xmax = example.crop_box
    height, width = example.source_size
    if not (0 <= ymin < ymax <= height and 0 <= xmin < xmax <= width):
        raise UserError(
            f"{example.key}: crop_box must lie inside the source picture ({height} x {width}, height x width).",
            example.crop_box.tolist(),
        )


def _check_label(example: DigitExample, labels: Labels) -> None:
    digits, length, longest = example.digits, example.length, labels.max_length
    if example.alphabet != labels.alphabet:
        raise UserError(f"{example.key}: the alphabet must be {labels.alphabet!r}.", repr(example.alphabet))
    if not 0 <= length <= longest:
        raise UserError(f"{example.key}: length must be 0..{longest}.", length)
    used, padding = digits[:length], digits[length:]
    if digits.shape != (longest,) or not (np.all((used >= 0) & (used < labels.pad)) and np.all(padding == labels.pad)):
        raise UserError(
            f"{example.key}: digits must be {longest} values, 0..{labels.pad - 1} for the first {length} and "
            f"{labels.pad} for the rest.",
            digits.tolist(),
        )
