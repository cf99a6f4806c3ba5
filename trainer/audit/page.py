"""The page of an audit: what is suspicious, group by group, with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.pages.page import png_data_uri, render_page
from trainer.audit.pictures import Pictures
from trainer.audit.suspects import GROUPS, KINDS, Suspect, of_group
from trainer.input.records import Records

COMMAND = "python -m trainer audit"
_TEMPLATE = Path(__file__).parent / "audit.html"
_TITLES = {
    "label": (
        "Labels",
        "Readers read another number than the label. The score is 1 where all are sure of it.",
    ),
    "box": (
        "Boxes",
        "The label is read once the crop is moved or resized, or in its middle alone; no more than its start or end is "
        "read; or the characters' boxes spell another number from left to right.",
    ),
    "duplicate": ("Duplicates", "Pictures of one split that show the same: this one, and the one that it copies."),
    "leak": ("Leaks", "Pictures of two splits that show the same: what a model learnt from one, it is scored on."),
    "outlier": (
        "Outliers",
        "Crops that are far smaller, larger, fainter, softer or sharper than the others.",
    ),
}


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
      title: Dataset directory, as the user named it.
      pictures: Pictures that were looked at.
      suspects: All suspicions, ranked.
      readers: Name of each reader, and what is to be known of it.
      notes: Sentences about what was left out or weakens the result.
      suspects_file: Name of the file of suspicions.
    """

    title: str
    pictures: Pictures
    suspects: Sequence[Suspect]
    readers: Mapping[str, str]
    notes: Sequence[str]
    suspects_file: str


def render(audit: Audit, records: Records, most: int) -> str:
    """Returns the page.

    Args:
      audit: What was found.
      records: Dataset, whose pictures are shown.
      most: Largest number of suspicions per group that are shown.

    Raises:
      UserError: A record cannot be read.
    """
    rows = {key: row for row, key in enumerate(audit.pictures.keys)}
    shown = {group: of_group(audit.suspects, group)[:most] for group in GROUPS}
    keys = {each.key for group in shown.values() for each in group}
    keys |= {each.evidence["copy_of"] for group in shown.values() for each in group if "copy_of" in each.evidence}
    images = {key: png_data_uri(_image(records, audit.pictures, rows[key])) for key in sorted(keys)}
    kinds = {kind: sum(one.kind == kind for one in audit.suspects) for kind in KINDS}
    values: dict[str, Any] = {
        "audit": audit,
        "groups": [(name, *_TITLES[name], shown[name], len(of_group(audit.suspects, name))) for name in GROUPS],
        "kinds": {kind: count for kind, count in kinds.items() if count},
        "images": images,
        "splits": {split: audit.pictures.splits.count(split) for split in dict.fromkeys(audit.pictures.splits)},
    }
    return render_page(_TEMPLATE, COMMAND, values)


def _image(records: Records, pictures: Pictures, row: int) -> NDArray[np.uint8]:
    split, place = pictures.places[row]
    return np.ascontiguousarray(records.examples(split)[place].image)
