"""Predictions → the examples worth looking at, and their pictures as data URIs."""

import base64
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords.errors import UserError
from tfrecords.record.codec import png_bytes

COLUMNS = ("key", "number", "answer", "confidence", "correct")
MOST_WRONG, MOST_UNSURE, MOST_RIGHT = 24, 12, 24


@dataclass(frozen=True)
class Prediction:
    """One answered example: `confidence` is in 0..1, `correct` says that the whole number is right."""

    key: str
    number: str
    answer: str
    confidence: float
    correct: bool


@dataclass(frozen=True)
class Gallery:
    """The chosen examples.

    Attributes:
      wrong: wrong answers, the most confident first.
      unsure: right answers, the least confident first.
      right: other right answers, a fixed sample in the order of their keys' digests.
    """

    wrong: tuple[Prediction, ...]
    unsure: tuple[Prediction, ...]
    right: tuple[Prediction, ...]

    def keys(self) -> set[str]:
        """Returns the keys of all chosen examples."""
        return {one.key for one in (*self.wrong, *self.unsure, *self.right)}


def read_predictions(path: Path) -> list[Prediction]:
    """Reads the rows of predictions.parquet, in dataset order.

    Raises:
      UserError: not a Parquet file, a column is missing or empty in places, or a
        confidence is outside 0..1.
    """
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} must be a Parquet file.", error) from error
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        raise UserError(f"{path} must have the columns {', '.join(COLUMNS)}.", table.column_names)
    gaps = [name for name in COLUMNS if table.column(name).null_count]
    if gaps:
        raise UserError(f"{path} must have a value in every row and column; some are null.", gaps)
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    predictions = [Prediction(*row) for row in zip(*columns, strict=True)]
    for one in predictions:
        if not 0 <= one.confidence <= 1:
            raise UserError(f"{path}, key {one.key}: confidence must be in 0..1.", one.confidence)
    return predictions


def choose(predictions: Iterable[Prediction]) -> Gallery:
    """Picks the examples to show; the same for any order of the predictions."""
    everything = list(predictions)
    wrong = sorted((one for one in everything if not one.correct), key=lambda one: (-one.confidence, one.key))
    right = sorted((one for one in everything if one.correct), key=lambda one: (one.confidence, one.key))
    sample = sorted(right[MOST_UNSURE:], key=lambda one: hashlib.sha256(one.key.encode()).digest())
    return Gallery(tuple(wrong[:MOST_WRONG]), tuple(right[:MOST_UNSURE]), tuple(sample[:MOST_RIGHT]))


def load_pictures(data_dir: Path, split: str, keys: Collection[str]) -> dict[str, npt.NDArray[np.uint8]]:
    """Reads the pictures of `keys` from a dataset directory, in one pass that ends with the last of them.

    Returns:
      key → uint8 array, shape (height, width, channels); keys that the split does
      not hold are absent.

    Raises:
      UserError, OSError: the directory cannot be read.
    """
    # Lazy: a page without pictures needs no reader of records.
    import tfrecords

    pictures: dict[str, npt.NDArray[np.uint8]] = {}
    for example in tfrecords.open(data_dir, split) if keys else ():
        if example.key in keys:
            pictures[example.key] = example.image
            if len(pictures) == len(keys):
                break
    return pictures


def png_data_uri(image: npt.NDArray[np.uint8]) -> str:
    """Encodes a picture losslessly as a `data:image/png;base64,...` URI.

    Args:
      image: uint8, shape (height, width, channels) with 1 (grey) or 3 (RGB) channels.

    Raises:
      ValueError: another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(
            f"A picture must be uint8 of shape (height, width, 1 or 3). Received: {image.dtype}, shape {image.shape}"
        )
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")


def top_confusions(confusion: Sequence[Sequence[int]], most: int = 6) -> list[tuple[int, int, int]]:
    """Returns (true digit, answered digit, count) of the commonest mix-ups, the commonest first.

    Args:
      confusion: counts, shape (10, 10); rows are true digits, columns answered ones.
      most: how many to return at most.
    """
    pairs = [
        (truth, answer, count)
        for truth, row in enumerate(confusion)
        for answer, count in enumerate(row)
        if truth != answer and count > 0
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]
