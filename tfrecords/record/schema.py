"""What one example is, and the features that its record holds; docs/record.md explains each for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError


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


SCHEMA_VERSION = 1
MAX_LENGTH = 5
"""Longest number a record holds, in digits; SVHN has one of six in 248,823 pictures."""
PAD = 10
"""Fills `digits` behind the number's last digit: no digit is 10, so it cannot be taken for one."""


@dataclass(frozen=True, eq=False)
class DigitExample:
    """One picture of a number, as every source makes it and every reader returns it.

    Attributes:
      key: subset, picture and jitter, as `train/123.png#2`; unique in a dataset.
      image: shape (height, width, channels), uint8, 0..255.
      digits: shape (5,), int64, 0..9 in reading order, `PAD` behind the last.
      length: how many digits the number has, 1..5.
      crop_box: shape (4,), int64: ymin, xmin, ymax, xmax of the crop in the source
        picture, half-open pixels.
      jitter_offset: shape (2,), int64: y, x of `image` in the resized crop, pixels.
      source_size: shape (2,), int64: height, width of the source picture, pixels.
      boxes: shape (5, 4), float32: ymin, xmin, ymax, xmax of each digit in `image`'s
        pixels, zeros behind the last; a jitter may push them past the edge.
    """

    key: str
    image: NDArray[np.uint8]
    digits: NDArray[np.int64]
    length: int
    crop_box: NDArray[np.int64]
    jitter_offset: NDArray[np.int64]
    source_size: NDArray[np.int64]
    boxes: NDArray[np.float32]

    @property
    def text(self) -> str:
        """The number as people write it, as `"1907"`."""
        return "".join(str(digit) for digit in self.digits[: self.length])

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes and `text` by their names: what dictionaries of arrays are made of."""
        return {**vars(self), "text": self.text}


def pad_digits(digits: Sequence[int]) -> NDArray[np.int64]:
    """Returns `digits` (each 0..9, one to five of them) as int64 of shape (5,), padded with `PAD`.

    Raises:
      UserError: too many or too few digits, or one that is not 0..9.
    """
    if not 1 <= len(digits) <= MAX_LENGTH or any(not 0 <= digit <= 9 for digit in digits):
        raise UserError(f"A number must have 1..{MAX_LENGTH} digits, each 0..9.", list(digits))
    padded = np.full(MAX_LENGTH, PAD, np.int64)
    padded[: len(digits)] = digits
    return padded


def check_example(example: DigitExample) -> None:
    """Checks what `DigitExample` promises.

    Raises:
      UserError: a rule is broken; the message names the example's key and the rule.
    """
    image, length = example.image, example.length
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise UserError(
            f"{example.key}: image must be uint8 of shape (height, width, 1 or 3).", (image.dtype, image.shape)
        )
    if not 1 <= length <= MAX_LENGTH:
        raise UserError(f"{example.key}: length must be 1..{MAX_LENGTH}.", length)
    digits = example.digits
    if digits.shape != (MAX_LENGTH,) or not (
        np.all((digits[:length] >= 0) & (digits[:length] <= 9)) and np.all(digits[length:] == PAD)
    ):
        raise UserError(
            f"{example.key}: digits must be {MAX_LENGTH} values, 0..9 for the first {length} and {PAD} behind.",
            digits.tolist(),
        )
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
