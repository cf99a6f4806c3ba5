"""Predictions on standard output, as `predict` prints them: a table, a JSON array or JSON lines."""

import json
import sys
from typing import Any

from tfrecords.progress import print_line
from tfrecords.record.labels import DIGITS
from trainer.scoring.decode import Predictions


def prediction_json(name: str, predictions: Predictions, index: int) -> dict[str, Any]:
    """Returns one prediction in the form of the JSON output.

    Args:
      name: Name of the picture.
      predictions: Predictions of a batch.
      index: Index of the picture in the batch.
    """
    length = int(predictions.length[index])
    digits = predictions.digits[index, :length].tolist()
    alphabet = predictions.labels.alphabet
    probabilities = predictions.digit_probabilities[index, :length]
    return {
        "photo": name,
        "number": predictions.texts[index],
        "length": length,
        "confidence": float(predictions.confidence[index]),
        "length_probabilities": predictions.length_probabilities[index].tolist(),
        "digits": [
            # A digit of the default alphabet is its own index.
            {"digit": digit}
            | ({} if alphabet == DIGITS else {"character": alphabet[digit]})
            | {"probability": float(row[digit]), "probabilities": row.tolist()}
            for digit, row in zip(digits, probabilities, strict=False)
        ],
    }


class PredictionPrinter:
    """Prints predictions to standard output, one batch at a time.

    Attributes:
      count: Number of predictions printed so far.
    """

    def __init__(self, json_array: bool, json_lines: bool) -> None:
        """Creates a printer of a table, unless one of the JSON forms is chosen.

        Args:
          json_array: Whether to print one JSON array, which `close` ends.
          json_lines: Whether to print one JSON object per line.
        """
        self.count = 0
        self._array, self._lines, self._width, self._number = json_array, json_lines, 0, 0

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Prints a batch of `prediction_json` and flushes."""
        if self._array:
            # Complete lines only, or the progress bar would overwrite them. Commas lead, since more may follow.
            lines = [f"{',' if self.count or index else '['}{_as_json(row)}" for index, row in enumerate(rows)]
        elif self._lines:
            lines = [_as_json(row) for row in rows]
        else:
            lines = self._table(rows)
        print_line("\n".join(lines), sys.stdout)
        sys.stdout.flush()
        self.count += len(rows)

    def close(self) -> None:
        """Ends the JSON array, if that is the form."""
        if self._array:
            print("]" if self.count else "[]", flush=True)

    def _table(self, rows: list[dict[str, Any]]) -> list[str]:
        """Returns lines of photo, number, confidence and digit probabilities; the first batch sets the widths."""
        lines = []
        if not self.count:
            self._width = max(len("photo"), *(len(row["photo"]) for row in rows))
            self._number = max(len("no number"), *(len(row["number"]) for row in rows))
            lines.append(f"{'photo':<{self._width}}  {'number':<{self._number}} confidence  digits")
        for row in rows:
            digits = " ".join(
                f"{digit.get('character', digit['digit'])}:{digit['probability']:.3f}" for digit in row["digits"]
            )
            number = row["number"] or "no number"
            lines.append(
                f"{row['photo']:<{self._width}}  {number:<{self._number}} {row['confidence']:>10.4f}  {digits}"
            )
        return lines


def _as_json(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # JSON has escapes of its own for letters that the encoding lacks; standard output's would not be valid JSON.
        return json.dumps(row)
    return text
