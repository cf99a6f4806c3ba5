"""suspects.parquet: a row per suspicion, which `tfrecords browse` filters by."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.files.publish import atomic_write

LABEL_DIGIT, LABEL_LENGTH, LABEL_ORDER = "label-digit", "label-length", "label-order"
LABELS = (LABEL_DIGIT, LABEL_LENGTH, LABEL_ORDER)
"""Kinds of numbers that readers read otherwise: with another digit, another length, or the same digits reordered."""
BOX, BOX_ORDER = "box", "box-order"
DUPLICATE_EXACT, DUPLICATE_NEAR, LEAK = "duplicate-exact", "duplicate-near", "leak"
OUTLIER_SIZE, OUTLIER_CONTRAST, OUTLIER_SHARPNESS = "outlier-size", "outlier-contrast", "outlier-sharpness"
KINDS = {
    **dict.fromkeys(LABELS, "label"),
    **dict.fromkeys((BOX, BOX_ORDER), "box"),
    **dict.fromkeys((DUPLICATE_EXACT, DUPLICATE_NEAR), "duplicate"),
    LEAK: "leak",
    **dict.fromkeys((OUTLIER_SIZE, OUTLIER_CONTRAST, OUTLIER_SHARPNESS), "outlier"),
}
"""Group of each kind, in which suspicions are ranked together."""
GROUPS = tuple(dict.fromkeys(KINDS.values()))
COLUMNS = ("key", "kind", "score", "given", "suggested", "evidence")


@dataclass(frozen=True)
class Suspect:
    """One suspicion.

    Attributes:
      key: Key of the annotation, which is that of its examples without the jitter: `train/123.png`.
      kind: One of `KINDS`.
      score: Strength of the suspicion, larger for a stronger one; to be compared within a group of kinds only.
      given: Number that the dataset states.
      suggested: Number that should be there; empty where nothing is suggested.
      evidence: What the suspicion rests on, values of JSON by name.
    """

    key: str
    kind: str
    score: float
    given: str
    suggested: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


def rank(suspects: Iterable[Suspect]) -> list[Suspect]:
    """Returns suspicions group by group, the strongest first; equal ones in the order of their keys."""
    return sorted(suspects, key=lambda one: (GROUPS.index(KINDS[one.kind]), -one.score, one.key, one.kind))


def of_group(suspects: Iterable[Suspect], group: str) -> list[Suspect]:
    """Returns the suspicions of a group of kinds, in the given order."""
    return [one for one in suspects if KINDS[one.kind] == group]


def write_suspects(path: Path, suspects: Iterable[Suspect]) -> None:
    """Writes suspicions as a Parquet file, in the given order. Equal suspicions give equal bytes.

    Args:
      path: File to write.
      suspects: Suspicions.

    Raises:
      OSError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(suspects)
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in rows] for name in COLUMNS}
    columns["evidence"] = [json.dumps(evidence, ensure_ascii=False) for evidence in columns["evidence"]]
    schema = pa.schema([(name, pa.float64() if name == "score" else pa.string()) for name in COLUMNS])
    with atomic_write(path) as stream:
        pq.write_table(pa.table(columns, schema=schema), stream)
