"""The numbers of a split as a CSV file: Kaggle's submission for pictures of its test.csv, else a key in each row."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrecords.files.publish import atomic_write

_KAGGLE = ("ImageId", "Label")
"""Columns of the sample submission of https://www.kaggle.com/c/digit-recognizer."""
_OTHERS = ("key", "number")
_KEY = re.compile(r"[^/]+/([0-9]+)#0")
"""Key of a picture that has its index as its name, without jitter."""


@dataclass(frozen=True)
class Submission:
    """Rows of a CSV file.

    Attributes:
      columns: Names of the two columns.
      rows: Values of the rows, in their order.
      missing: Values of the first column that have no row, in order; empty unless the columns are Kaggle's.
    """

    columns: tuple[str, str]
    rows: list[tuple[str | int, str]]
    missing: list[int]

    @property
    def is_kaggle(self) -> bool:
        """Whether the rows are numbered as those of Kaggle's test.csv."""
        return self.columns == _KAGGLE


def kaggle_submission(keys: Sequence[str], numbers: Sequence[str], pictures: int) -> Submission:
    """Returns the predictions in the order of the file that the pictures come from.

    Args:
      keys: Keys of the examples, in any order: subset, index of the picture from 0, and jitter 0.
      numbers: Predicted numbers.
      pictures: Number of pictures in the file.

    Raises:
      ValueError: A key is of another form, or two are of the same picture.
    """
    found = [_KEY.fullmatch(key) for key in keys]
    indices = [int(match[1]) for match in found if match]
    if len(set(indices)) < len(keys):
        raise ValueError("Each key must have the index of its own picture.")
    rows = sorted((index + 1, number) for index, number in zip(indices, numbers, strict=True))
    missing = sorted({*range(1, pictures + 1)} - {row for row, _ in rows})
    return Submission(_KAGGLE, list(rows), missing)


def keyed_submission(keys: Sequence[str], numbers: Sequence[str]) -> Submission:
    """Returns the predictions in the order of their keys, with those in the first column."""
    return Submission(_OTHERS, sorted(zip(keys, numbers, strict=True)), [])


def write_submission(path: Path, submission: Submission) -> None:
    """Writes a CSV file atomically, with a header and the line ends of Unix."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(submission.columns)
    writer.writerows(submission.rows)
    with atomic_write(path) as stream:
        stream.write(text.getvalue().encode())
