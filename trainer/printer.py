"""Predict's answers as people and programs read them, written as they come."""

import json
import sys
from typing import Any

from tqdm import tqdm

from trainer.decode import Numbers


def describe(name: str, numbers: Numbers, index: int) -> dict[str, Any]:
    """Returns one answer as JSON holds it; probabilities 0..1."""
    length = int(numbers.length[index])
    digits = numbers.digits[index, :length].tolist()
    probabilities = numbers.digit_probabilities[index, :length]
    return {
        "photo": name,
        "number": numbers.texts[index],
        "length": length,
        "confidence": float(numbers.confidence[index]),
        "length_probabilities": numbers.length_probabilities[index].tolist(),
        "digits": [
            {"digit": digit, "probability": float(row[digit]), "probabilities": row.tolist()}
            for digit, row in zip(digits, probabilities, strict=False)
        ],
    }


class Printer:
    """Writes answers to standard output as they come: as a table, an array of JSON, or JSON lines."""

    def __init__(self, json_array: bool, json_lines: bool) -> None:
        self.count = 0
        self._array, self._lines, self._width = json_array, json_lines, 0

    def write(self, answers: list[dict[str, Any]]) -> None:
        """Writes the answers of one batch, and flushes."""
        if self._array:
            # Whole lines only, or the progress bar wipes them out; the comma goes first, for the last is not known.
            lines = [f"{',' if self.count or row else '['}{_as_json(answer)}" for row, answer in enumerate(answers)]
        elif self._lines:
            lines = [_as_json(answer) for answer in answers]
        else:
            lines = self._table(answers)
        tqdm.write("\n".join(lines), file=sys.stdout)
        sys.stdout.flush()
        self.count += len(answers)

    def close(self) -> None:
        """Ends the array."""
        if self._array:
            print("]" if self.count else "[]", flush=True)

    def _table(self, answers: list[dict[str, Any]]) -> list[str]:
        """Lines of photo, number, confidence, and each digit's probability; the first batch decides the width."""
        lines = []
        if not self.count:
            self._width = max(len("photo"), *(len(answer["photo"]) for answer in answers))
            lines.append(f"{'photo':<{self._width}}  {'number':<7} confidence  digits")
        for answer in answers:
            digits = " ".join(f"{digit['digit']}:{digit['probability']:.3f}" for digit in answer["digits"])
            number = answer["number"] or "-"
            lines.append(f"{answer['photo']:<{self._width}}  {number:<7} {answer['confidence']:>10.4f}  {digits}")
        return lines


def _as_json(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False)
