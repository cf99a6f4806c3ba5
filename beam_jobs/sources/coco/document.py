"""A COCO detection file, read and checked as far as it concerns the file as a whole.

The format is described at https://cocodataset.org/#format-data. Single images and annotations are checked later, where
a fault costs a dead letter and not the file.
"""

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from beam_jobs.sources import marks
from beam_jobs.sources.grouping import character_of
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

TEXT_NAMES = (*marks.TEXT_NAMES, "utf8_string", "caption")
"""Names under which an annotation's text is looked for: in its `attributes`, then in the annotation itself.
`utf8_string` is COCO-Text's (https://bgshih.github.io/cocotext/), `caption` that of COCO's captions."""
_MOST_LISTED = 12
Id = int | str


@dataclass(frozen=True)
class Document:
    """Content of a COCO file.

    Attributes:
      place: Path or address of the file.
      images: Images as stored; not checked.
      annotations: Annotations as stored, an empty one for each that is no object; not checked.
      damaged: What is stored in place of an object, by index.
      keys: Keys that some annotation has.
      classes: Names of the categories by id.
      characters: Characters of the categories that are one, by id.
      text_name: Name of the annotations' text; None if their categories are the characters.
    """

    place: str
    images: list[Any]
    annotations: list[dict[str, Any]]
    damaged: dict[int, Any]
    keys: frozenset[str]
    classes: dict[Id, str]
    characters: dict[Id, str]
    text_name: str | None

    def column(self, key: str) -> list[Any]:
        """Returns every annotation's value of a key, None where there is none."""
        return column(self.annotations, key)


def parse(place: Place, data: bytes, text_attribute: str | None) -> Document:
    """Returns the content of a COCO file.

    Args:
      place: The file, for messages.
      data: Bytes of the file.
      text_attribute: Name of the annotations' text, as the user gave it; None to find it.

    Raises:
      UserError: The file is no COCO detection file, or no annotation could become a number.
    """
    stored = _load(place, data)
    for key in ("images", "annotations"):
        if not isinstance(stored.get(key), list):
            rule = f"{place}: A COCO detection file must have a list `{key}`."
            raise UserError(rule, f"the keys {_listed(stored)}" if key not in stored else type(stored[key]).__name__)
    if any(isinstance(each, dict) and "segments_info" in each for each in stored["annotations"][:1]):
        rule = f"{place}: Annotations must have boxes; this is a panoptic file, whose objects are areas of a picture."
        raise UserError(rule, "segments_info")
    rows, damaged = _objects(stored["annotations"])
    keys = frozenset().union(*rows)
    if "keypoints" in keys and not keys & {"bbox", "segmentation"}:
        raise UserError(f"{place}: Annotations must have boxes; this file has key points only.", "keypoints")
    classes = _classes(place, stored.get("categories", []))
    characters = {key: character for key, name in classes.items() if (character := character_of(name)) is not None}
    text_name = _text_name(place, rows, keys, classes, characters, text_attribute)
    return Document(str(place), stored["images"], rows, damaged, keys, classes, characters, text_name)


def column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    """Returns the value of a key of every object, None where there is none."""
    try:
        return list(map(itemgetter(key), rows))
    except KeyError:
        return [row.get(key) for row in rows]


def attribute(annotation: dict[str, Any], name: str) -> Any:
    """Returns the value of an annotation's attribute, or of its own key of this name; None without one."""
    attributes = annotation.get("attributes")
    found = attributes.get(name) if isinstance(attributes, dict) else None
    return annotation.get(name) if found is None else found


def _load(place: Place, data: bytes) -> dict[str, Any]:
    """Returns the object that a file holds."""
    rule = f"{place}: A COCO detection file must be one JSON object with images, annotations and categories."
    try:
        stored = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(rule, printable(str(error)) if data.strip() else "an empty file") from None
    if isinstance(stored, list):
        if stored and isinstance(stored[0], dict) and "image_id" in stored[0]:
            rule = f"{place}: A list of detections is a model's results: give the file that describes its images."
        raise UserError(rule, f"a list of {len(stored)}")
    if not isinstance(stored, dict):
        raise UserError(rule, printable(str(stored)[:80]))
    if isinstance(stored.get("imgs"), dict) and isinstance(stored.get("anns"), dict):
        raise UserError(f"{rule} This is COCO-Text's own layout; its authors' API converts it.", "imgs, anns")
    return stored


def _objects(rows: list[Any]) -> tuple[list[dict[str, Any]], dict[int, Any]]:
    """Returns rows, empty ones in place of what is no object, and what that is by index."""
    if set(map(type, rows)) <= {dict}:
        return rows, {}
    damaged = {index: row for index, row in enumerate(rows) if not isinstance(row, dict)}
    return [{} if index in damaged else row for index, row in enumerate(rows)], damaged


def _classes(place: Place, categories: Any) -> dict[Id, str]:
    """Returns the names of the categories by id."""
    rule = f"{place}: `categories` must be a list of objects, each with its own id and a name."
    if not isinstance(categories, list):
        raise UserError(rule, type(categories).__name__)
    classes: dict[Id, str] = {}
    for category in categories:
        known = isinstance(category, dict) and isinstance(category.get("id"), int | str)
        name = category.get("name") if known else None
        if not isinstance(name, str | int) or classes.setdefault(category["id"], str(name)) != str(name):
            raise UserError(rule, printable(str(category)[:80]))
    return classes


def _text_name(
    place: Place,
    rows: list[dict[str, Any]],
    keys: frozenset[str],
    classes: dict[Id, str],
    characters: dict[Id, str],
    text_attribute: str | None,
) -> str | None:
    """Returns the name of the annotations' text, or None if their categories are the characters.

    Raises:
      UserError: There is neither a text nor a category that is a character.
    """
    stored = column(rows, "category_id")
    try:
        used = set(stored) & set(characters)
    except TypeError:  # a list or an object as an id
        used = {each for each in stored if isinstance(each, int | str)} & set(characters)
    if text_attribute is None and len(used) > 1:
        return None
    names = TEXT_NAMES if text_attribute is None else (text_attribute,)
    for name in names:
        if ("attributes" in keys or name in keys) and any(attribute(row, name) not in (None, "") for row in rows):
            return name
    if not rows or (text_attribute is None and used):
        return None
    attributes = {name for row in rows if isinstance(row.get("attributes"), dict) for name in row["attributes"]}
    if text_attribute is not None:
        rule = f"{place}: No annotation has a text under the name that --text-attribute gives."
        raise UserError(f"{rule} Attributes there are: {_listed(attributes)}.", text_attribute)
    rule = (
        f"{place}: Categories must be characters (0, 7, A, seven), or annotations must have the number as an attribute "
        f"({', '.join(TEXT_NAMES)}; --text-attribute names another). Attributes there are: {_listed(attributes)}."
    )
    raise UserError(rule, f"the categories {_listed(classes.values())}")


def _listed(names: Any) -> str:
    """Returns the first of some names, sorted, for a message."""
    found = sorted({printable(str(name)[:40]) for name in names})
    return ", ".join(found[:_MOST_LISTED]) + (", ..." if len(found) > _MOST_LISTED else "") or "none"
