"""predictions.parquet: one row per evaluated example, written by `evaluate` and read by `report`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfrecords.errors import UserError
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


COLUMNS = tuple(field.name for field in fields(Prediction))


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
      length: (examples,) true lengths, 0..5.
      digits: (examples, 5) true digits, padded with `PAD`.
    """
    table = pa.table(
        {
            "key": keys,
            "number": ["".join(map(str, row[:count])) for row, count in zip(digits, length, strict=True)],
            "answer": predictions.texts,
            "confidence": predictions.confidence,
            "correct": correct_numbers(predictions, length, digits),
        }
    )
    with atomic_write(path) as stream:
        pq.write_table(table, stream)


def read_predictions(path: Path) -> list[Prediction]:
    """Returns the rows of predictions.parquet, in stored order.

    Raises:
      UserError: The file is not Parquet, a column is missing, a value is null, or a confidence is outside 0..1.
      OSError: The file cannot be read.
    """
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} must be a Parquet file.", error) from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise UserError(f"{path} must have the columns {', '.join(COLUMNS)}.", table.column_names)
    with_nulls = [name for name in COLUMNS if table.column(name).null_count]
    if with_nulls:
        raise UserError(f"{path} must have a value in every row and column; these columns have nulls.", with_nulls)
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    predictions = [Prediction(*row) for row in zip(*columns, strict=True)]
    for one in predictions:
        if not 0 <= one.confidence <= 1:
            raise UserError(f"{path}, key {one.key}: confidence must be in 0..1.", one.confidence)
    return predictions
