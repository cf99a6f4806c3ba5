"""suspects.parquet: examples whose label, box or picture is probably wrong, as an audit ranks them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfrecords.errors import UserError
from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, Column, read_columns
from tfrecords.files.place import Place

SUSPECTS = "suspects.parquet"
"""Name of the file in a dataset directory."""


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


_ANYTHING: Callable[[pa.DataType], bool] = lambda kind: True  # noqa: E731
_COLUMNS = {
    "key": STRINGS,
    "kind": STRINGS,
    "score": Column("numbers", _is_number, nullable=True),
    "given": STRINGS_OR_NULLS,
    "suggested": STRINGS_OR_NULLS,
    # A sentence, or values: they are shown as they are.
    "evidence": Column("values", _ANYTHING, nullable=True),
}


@dataclass(frozen=True)
class Suspect:
    """One suspicion.

    Attributes:
      key: Key of an example, or of a picture, whose examples are all meant.
      kind: Kind, such as `label`.
      score: Score, larger for a stronger suspicion.
      given: What the dataset states; empty if the kind has nothing of it.
      suggested: What should be there instead; empty if nothing is suggested.
      evidence: Text that says why.
    """

    key: str
    kind: str
    score: float
    given: str
    suggested: str
    evidence: str


class Suspects:
    """The suspicions of a dataset by key.

    Attributes:
      kinds: Number of suspicions by kind, the most frequent first.
    """

    def __init__(self, found: list[Suspect]) -> None:
        """Takes the suspicions."""
        self._by_key: dict[str, list[Suspect]] = {}
        counts: dict[str, int] = {}
        for each in found:
            self._by_key.setdefault(each.key, []).append(each)
            counts[each.kind] = counts.get(each.kind, 0) + 1
        self.kinds = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def of(self, key: str) -> list[Suspect]:
        """Returns the suspicions of an example, of its own key and of its picture's."""
        picture = key.rpartition("#")[0]
        found = self._by_key.get(key, []) + (self._by_key.get(picture, []) if picture else [])
        return sorted(found, key=lambda each: -each.score)

    def scores(self, kind: str) -> dict[str, float]:
        """Returns the highest score of each key that has a suspicion of a kind; an empty text stands for all kinds."""
        return {
            key: max(each.score for each in listed)
            for key, found in self._by_key.items()
            if (listed := [each for each in found if kind in ("", each.kind)])
        }


def read_suspects(place: Place | Path) -> Suspects:
    """Reads a file of suspicions.

    Raises:
      UserError: It is missing, no Parquet file, or has not the columns key, kind, score, given, suggested, evidence.
    """
    try:
        columns = read_columns(place, _COLUMNS)
    except FileNotFoundError as error:
        raise UserError(f"{place}: there is no such file of suspects.") from error
    rows = zip(*(columns[name] for name in _COLUMNS), strict=True)
    return Suspects([Suspect(key, kind, float(score or 0), *map(_text, rest)) for key, kind, score, *rest in rows])


def _text(value: Any) -> str:
    return "" if value is None else str(value)
