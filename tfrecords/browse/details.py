"""What the page of one example shows besides its image: the fields of its record, and its source picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfrecords.browse.annotations import Box, Row
from tfrecords.browse.catalogue import Catalogue, Spot
from tfrecords.browse.pictures import Drawing, Mark, draw_source, mark, source_thumbnail
from tfrecords.browse.source_folder import SourceFolder, differs
from tfrecords.errors import UserError, one_line, printable
from tfrecords.pages.formats import format_bytes, visible
from tfrecords.record.codec import features_in
from tfrecords.record.scene import SceneExample
from tfrecords.record.schema import DYNAMIC_IMAGE, DigitExample

_PIXELS = ("image", DYNAMIC_IMAGE)
_NUMBERS = ("text", "numbers/text")
_MOST_VALUES = 400
"""Values of a feature that are shown: a scene has four for each box."""
_COLOURS = 5


@dataclass(frozen=True)
class Source:
    """What is known of a source picture.

    Attributes:
      rows: Name and value of each column of its annotations, by number.
      drawing: The picture with its boxes; None where it is not at hand.
      path: Path of its file in the folder of source pictures; empty where it is not at hand.
      note: Sentence about why it is not at hand, or is another file than the dataset was made of.
    """

    rows: list[tuple[str, list[tuple[str, str]]]]
    drawing: Drawing | None
    path: str
    note: str


def fields_of(catalogue: Catalogue, spot: Spot) -> list[tuple[str, str]]:
    """Returns where a record is, and the name and value of every feature that it has, as texts.

    Raises:
      UserError: The record is damaged.
    """
    data, file, index = catalogue.splits[spot.split].record(spot.index)
    location = file.location(index)
    name = file.path[len(catalogue.place.text) :].lstrip("/")
    rows = [
        ("split", f"{spot.split}, index {spot.index}"),
        ("file", f"{name}, record {index}"),
        ("position", f"byte {location.offset:,}, {len(data):,} bytes"),
    ]
    for feature, values in features_in(data, location).items():
        rows.append((feature, _shown(feature, values)))
    return rows


def _shown(name: str, values: Sequence[bytes | float | int]) -> str:
    if name in _PIXELS:
        return ", ".join(f"{len(value):,} bytes" for value in values if isinstance(value, bytes))
    texts = [_text(value) for value in values[:_MOST_VALUES]]
    if name in _NUMBERS:
        texts = [visible(text) for text in texts]
    if name.endswith(("boxes", "bbox")) and len(texts) % 4 == 0:
        texts = [" ".join(texts[start : start + 4]) for start in range(0, len(texts), 4)]
    more = len(values) - _MOST_VALUES
    return ", ".join(texts) + (f", and {more:,} more values" if more > 0 else "") or "none"


def _text(value: bytes | float | int) -> str:
    if isinstance(value, bytes):
        return printable(value.decode(errors="replace"))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def source_of(catalogue: Catalogue, folder: SourceFolder | None, example: DigitExample | SceneExample) -> Source:
    """Returns what is known of the source picture of an example."""
    annotations = catalogue.annotations
    if isinstance(example, SceneExample):
        return source_of_rows(annotations.of_picture(example.key), folder, annotations.notes)
    rows = annotations.of_picture(example.key.rpartition("#")[0])
    crop = tuple(map(float, example.crop_box))
    return source_of_rows(rows, folder, annotations.notes, (crop[0], crop[1], crop[2], crop[3]))


def source_of_rows(
    rows: Sequence[Row], folder: SourceFolder | None, notes: Sequence[str], crop: Box | None = None
) -> Source:
    """Returns what is known of a source picture.

    Args:
      rows: Rows of its numbers.
      folder: Folder of source pictures; None if none was given.
      notes: Sentences about annotations that could not be read.
      crop: Box of the crop, ymin, xmin, ymax, xmax in pixels of the picture; None for that of the rows.
    """
    listed = [(row.key, [(name, _column(name, value)) for name, value in row.values.items()]) for row in rows]
    if not rows:
        return Source([], None, "", "; ".join(notes) or "annotations.parquet has no row of this picture.")
    marks = [each for index, row in enumerate(rows) for each in _marks(row, index, crop)]
    if folder is None:
        return Source(listed, None, "", "The source picture is shown if its folder is given by --input.")
    path, data, note = _read(rows[0], folder)
    if data is None:
        return Source(listed, None, path, note)
    try:
        return Source(listed, draw_source(data, path, marks), path, note)
    except UserError as error:
        return Source(listed, None, path, f"{note} {error}".strip())


def letter_card(row: Row, folder: SourceFolder | None) -> dict[str, Any]:
    """Returns what a list shows of a rejected picture."""
    uri, note = "", ""
    if folder is not None:
        path, data, note = _read(row, folder)
        try:
            uri = source_thumbnail(data, path) if data is not None else ""
        except UserError as error:
            # Most often what the detail says, too.
            note = "" if str(error) == row.values.get("detail") else str(error)
    values = row.values
    return {
        "uri": uri,
        "note": note,
        "key": row.key,
        "text": visible(values.get("text") or "") or "no number",
        "stage": values.get("stage", ""),
        "reason": values.get("reason", ""),
        "detail": values.get("detail", ""),
    }


def _read(row: Row, folder: SourceFolder) -> tuple[str, bytes | None, str]:
    """Returns path and content of a picture's file, and a sentence if there is none or it is another one."""
    values = row.values
    subset, _, rest = row.key.partition("/")
    path, why_not = folder.find(values.get("subset", subset), values.get("name", rest))
    if path is None:
        return "", None, why_not
    try:
        data = folder.read(path)
    except OSError as error:
        return path, None, one_line(error)
    is_other = differs(data, values.get("source_bytes"), values.get("source_crc32c"))
    return path, data, "This is another file than the one that the dataset was made of." if is_other else ""


def _marks(row: Row, index: int, crop: Box | None) -> list[Mark]:
    """Returns the boxes of a row: its crop, its number or its characters."""
    text = row.values.get("text") or ""
    found = []
    if (cut := crop or row.box("crop_box")) and not (crop and index):
        found.append(mark(cut, "crop", "crop"))
    if box := row.box("box"):
        found.append(mark(box, visible(text), f"c{index % _COLOURS}"))
    for place, each in enumerate(row.boxes):
        label = visible(text[place : place + 1]) if len(row.boxes) == len(text) else ""
        found.append(mark(each, label, f"c{place % _COLOURS}"))
    return found


def _column(name: str, value: Any) -> str:
    """Returns a value of a column as text."""
    if isinstance(value, dict):
        return " ".join(f"{edge:.6g}" for edge in value.values())
    if isinstance(value, list):
        return ", ".join(_column(name, each) for each in value) or "not known"
    if name == "source_bytes":
        return f"{value:,} ({format_bytes(value)})"
    return visible(value) if name == "text" else str(value)
