"""predictions.parquet: one row per evaluated example, written by `evaluate` and read by `report`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.files.parquet import BOOLEANS, NUMBERS, STRINGS, read_columns
from tfrecords.files.publish import atomic_write
from trainer.scoring.decode import Predictions
from trainer.scoring.metrics import correct_numbers


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.parquet: the prediction for one example.

    Attributes:
      key: Key of the example.
      number: True number.
      answer: Predicted number.
      confidence: Probability of the predicted number, 0..1.
      correct: Whether the predicted number is right, in length and in every digit.
    """

    key: str
    number: str
    answer: str
    confidence: float
    correct: bool


_COLUMNS = {"key": STRINGS, "number": STRINGS, "answer": STRINGS, "confidence": NUMBERS, "correct": BOOLEANS}
COLUMNS = tuple(_COLUMNS)


def prediction_rows(
    keys: Sequence[str], predictions: Predictions, length: NDArray[np.int64], digits: NDArray[np.int64]
) -> list[Prediction]:
    """Returns the predictions for examples with what is right, in the given order.

    Args:
      keys: Keys of the examples.
      predictions: Predictions, one per example.
      length: (examples,) true lengths, 0..longest.
      digits: (examples, longest) true digits, as indices into the alphabet of the predictions, padded.
    """
    text = predictions.labels.text
    numbers = [text(row[:count]) for row, count in zip(digits, length, strict=True)]
    correct = correct_numbers(predictions, length, digits).tolist()
    columns = keys, numbers, predictions.texts, predictions.confidence.tolist(), correct
    return [Prediction(*row) for row in zip(*columns, strict=True)]


def write_predictions(
    path: Path,
    keys: Sequence[str],
    predictions: Predictions,
    length: NDArray[np.int64],
    digits: NDArray[np.int64],
) -> None:
    """Writes predictions.parquet atomically, with the examples in the given order.

    Args:
      path: File to write.
      keys: Keys of the examples.
      predictions: Predictions, one per example.
      length: (examples,) true lengths, 0..longest.
      digits: (examples, longest) true digits, as indices into the alphabet of the predictions, padded.
    """
    rows = prediction_rows(keys, predictions, length, digits)
    table = pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS})
    with atomic_write(path) as stream:
        pq.write_table(table, stream)


def read_predictions(path: Path) -> list[Prediction]:
    """Returns the rows of predictions.parquet, in stored order.

    Raises:
      UserError: The file is not Parquet, a column is missing or of another type, a value is null, or a confidence is
        outside 0..1.
      OSError: The file cannot be read.
    """
    columns = read_columns(path, _COLUMNS)
    predictions = [Prediction(*row) for row in zip(*columns.values(), strict=True)]
    for one in predictions:
        if not 0 <= one.confidence <= 1:
            raise UserError(f"{path}, key {one.key}: confidence must be in 0..1.", one.confidence)
    return predictions
