"""Predictions on standard output, as `predict` prints them: a table, a JSON array or JSON lines."""

import json
import sys
from typing import Any

from tfrecords.progress import print_line
from tfrecords.record.labels import DIGITS
from trainer.scoring.decode import Predictions

REFUSED = "refused"
"""Answer in place of a number that the model is not confident enough of."""


def prediction_json(
    name: str, predictions: Predictions, index: int, min_confidence: float | None = None
) -> dict[str, Any]:
    """Returns one prediction in the form of the JSON output.

    With a least confidence, there is a `best_guess` too, which is the number if it is confident enough; otherwise the
    number is None.

    Args:
      name: Name of the picture.
      predictions: Predictions of a batch.
      index: Index of the picture in the batch.
      min_confidence: Least confidence of an answer, 0..1; None answers always.
    """
    length = int(predictions.length[index])
    digits = predictions.digits[index, :length].tolist()
    alphabet = predictions.labels.alphabet
    probabilities = predictions.digit_probabilities[index, :length]
    number, confidence = predictions.texts[index], float(predictions.confidence[index])
    is_refused = min_confidence is not None and confidence < min_confidence
    return {
        "photo": name,
        "number": None if is_refused else number,
        **({} if min_confidence is None else {"best_guess": number}),
        "length": length,
        "confidence": confidence,
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
      refused: Number of those that were refused.
    """

    def __init__(self, json_array: bool, json_lines: bool) -> None:
        """Creates a printer of a table, unless one of the JSON forms is chosen.

        Args:
          json_array: Whether to print one JSON array, which `close` ends.
          json_lines: Whether to print one JSON object per line.
        """
        self.count = self.refused = 0
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
        self.refused += sum(row["number"] is None for row in rows)

    def close(self) -> None:
        """Ends the JSON array, if that is the form."""
        if self._array:
            print("]" if self.count else "[]", flush=True)

    def _table(self, rows: list[dict[str, Any]]) -> list[str]:
        """Returns lines of photo, number, confidence and digit probabilities; the first batch sets the widths."""
        lines = []
        if not self.count:
            self._width = max(len("photo"), *(len(row["photo"]) for row in rows))
            self._number = max(len("no number"), *(len(_number(row)) for row in rows))
            lines.append(f"{'photo':<{self._width}}  {'number':<{self._number}} confidence  digits")
        for row in rows:
            digits = " ".join(
                f"{digit.get('character', digit['digit'])}:{digit['probability']:.3f}" for digit in row["digits"]
            )
            start = f"{row['photo']:<{self._width}}  {_number(row):<{self._number}}"
            confidence = "" if row["confidence"] is None else f"{row['confidence']:.4f}"
            lines.append(f"{start} {confidence:>10}  {digits}{_place(row)}".rstrip())
        return lines


def _number(row: dict[str, Any]) -> str:
    """Returns the number of a prediction as the table shows it."""
    return REFUSED if row["number"] is None else row["number"] or "no number"


def _place(row: dict[str, Any]) -> str:
    """Returns where a number was found, as the table shows it; empty where it was not looked for."""
    if "box" not in row:
        return ""
    if row["box"] is None:
        return "  (complete picture)" if row["length"] else ""
    turned = f", turned by {row['turned']} degrees" if row["turned"] else ""
    return f"  at {','.join(f'{x:.0f}' for x in row['box'])} ({row['box_confidence']:.2f}{turned})"


def _as_json(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # JSON has escapes of its own for letters that the encoding lacks; standard output's would not be valid JSON.
        return json.dumps(row)
    return text
