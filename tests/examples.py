"""Examples made by hand, for tests."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample, features_of

LABELS = Labels()
PAD = LABELS.pad
FEATURES = features_of(LABELS)


def pad_digits(digits: Iterable[int]) -> NDArray[np.int64]:
    """Returns digits padded to five: (5,) int64."""
    return LABELS.digits("".join(map(str, digits)))


def make_example(key: str = "train/1.png#0", digits: tuple[int, ...] = (1, 9), size: int = 6) -> DigitExample:
    """Returns an example whose pixels count up and whose boxes stand side by side."""
    image = (np.arange(size * size * 3) % 256).astype(np.uint8).reshape(size, size, 3)
    boxes = np.zeros((5, 4), np.float32)
    for place in range(len(digits)):
        boxes[place] = (1, place, 5, place + 1)
    return DigitExample(
        key=key,
        image=image,
        digits=pad_digits(digits),
        length=len(digits),
        crop_box=np.array([2, 3, 40, 50]),
        jitter_offset=np.array([4, 7]),
        source_size=np.array([60, 80]),
        boxes=boxes,
    )


def assert_equal_examples(left: DigitExample, right: DigitExample) -> None:
    """Asserts that two examples are equal in every field, dtype and shape."""
    assert left.key == right.key and left.length == right.length and left.text == right.text
    assert left.has_digit_boxes is right.has_digit_boxes and left.alphabet == right.alphabet
    for name in ("image", "digits", "crop_box", "jitter_offset", "source_size", "boxes"):
        ours, theirs = getattr(left, name), getattr(right, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """Returns a picture of (height, width, 3) random uint8, always the same."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
