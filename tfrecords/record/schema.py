"""The example, and the features of its record. docs/record.md explains each feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError


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
"""Name of the pixels, instead of `image`, in a dataset of raw images of several sizes. TensorFlow Datasets gives this
name to the bytes of a tensor whose shape is in `image/shape`."""


SCHEMA_VERSION = 1
MAX_LENGTH = 5
"""Most digits in a number. One of SVHN's 248,823 pictures has six."""
PAD = 10
"""Padding of `digits`. No digit is 10, so padding cannot be mistaken for a digit."""


@dataclass(frozen=True, eq=False)
class DigitExample:
    """One image of a number, the same for every source and every reader.

    Attributes:
      key: Subset, picture and jitter, such as `train/123.png#2`; unique in a dataset.
      image: Pixels: shape (height, width, channels), uint8, 0..255.
      digits: Digits 0..9 in reading order, padded with `PAD`: shape (5,), int64.
      length: Number of digits, 0..5; 0 for a crop without a number.
      crop_box: ymin, xmin, ymax, xmax of the crop in the source picture, half-open pixels: shape (4,), int64.
      jitter_offset: y, x of `image` in the resized crop, pixels: shape (2,), int64.
      source_size: Height and width of the source picture, pixels: shape (2,), int64.
      boxes: ymin, xmin, ymax, xmax of each digit in pixels of `image`, padded with zeros: shape (5, 4), float32. A
        jitter may move them past the edge.
    """

    key: str
    image: NDArray[np.uint8]
    digits: NDArray[np.int64]
    length: int
    crop_box: NDArray[np.int64]
    jitter_offset: NDArray[np.int64]
    source_size: NDArray[np.int64]
    boxes: NDArray[np.float32]

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.image.shape))
        return f"<DigitExample {self.key}: {self.text}, image of {size} {self.image.dtype}>"

    @property
    def text(self) -> str:
        """The number as text, such as `"1907"`; empty without a number."""
        return "".join(str(digit) for digit in self.digits[: self.length])

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes and `text` by name."""
        return {**vars(self), "text": self.text}


def pad_digits(digits: Sequence[int]) -> NDArray[np.int64]:
    """Returns digits padded with `PAD`: shape (5,), int64.

    Args:
      digits: None to five digits, each 0..9.

    Raises:
      UserError: There are too many digits, or one is not 0..9.
    """
    if len(digits) > MAX_LENGTH or any(not 0 <= digit <= 9 for digit in digits):
        raise UserError(f"A number must have at most {MAX_LENGTH} digits, each 0..9.", list(digits))
    padded = np.full(MAX_LENGTH, PAD, np.int64)
    padded[: len(digits)] = digits
    return padded


def check_example(example: DigitExample) -> None:
    """Checks an example against the rules of `DigitExample`.

    Raises:
      UserError: The example breaks a rule; the message names its key and the rule.
    """
    image = example.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise UserError(
            f"{example.key}: image must be uint8 of shape (height, width, 1 or 3).", (image.dtype, image.shape)
        )
    _check_label(example)
    for name, shape in (("crop_box", (4,)), ("jitter_offset", (2,)), ("source_size", (2,)), ("boxes", (5, 4))):
        value = getattr(example, name)
        if value.shape != shape:
            raise UserError(f"{example.key}: {name} must have shape {shape}.", value.shape)
    ymin, xmin, ymax, xmax = example.crop_box
    height, width = example.source_size
    if not (0 <= ymin < ymax <= height and 0 <= xmin < xmax <= width):
        raise UserError(
            f"{example.key}: crop_box must lie inside the source picture ({height} x {width}, height x width).",
            example.crop_box.tolist(),
        )


def _check_label(example: DigitExample) -> None:
    digits, length = example.digits, example.length
    if not 0 <= length <= MAX_LENGTH:
        raise UserError(f"{example.key}: length must be 0..{MAX_LENGTH}.", length)
    if digits.shape != (MAX_LENGTH,) or not (
        np.all((digits[:length] >= 0) & (digits[:length] <= 9)) and np.all(digits[length:] == PAD)
    ):
        raise UserError(
            f"{example.key}: digits must be {MAX_LENGTH} values, 0..9 for the first {length} and {PAD} for the rest.",
            digits.tolist(),
        )
