"""Numbers of a COCO file: its annotations by picture, characters joined, in the order of the images."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import NO_ANNOTATION, Annotation, DeadLetter
from beam_jobs.sources.coco.columns import Columns, columns_of
from beam_jobs.sources.coco.document import Document
from beam_jobs.sources.grouping import LEAST_OVERLAP, MOST_GAP, in_reading_order
from beam_jobs.sources.marks import Fault, Mark, join
from tfrecords.images.crop import BoundingBox, union

_PLAIN_NAMES = re.compile(r"\w[\w ()+,@=#%-]*(?:[/.\n]\w[\w ()+,@=#%-]*)*")
"""Paths, one a line, that are what they seem: of plain names and dots between letters."""


@dataclass(frozen=True)
class Number:
    """One number of a picture, or what stands for one that cannot be used.

    Attributes:
      first: Row of its first annotation.
      text: Number, characters as stored; empty with a fault.
      boxes: Boxes of its characters, or the number's own; empty if it is the complete picture.
      fault: What is wrong with it, or None.
    """

    first: int
    text: str
    boxes: tuple[BoundingBox, ...]
    fault: Fault | None = None


def numbers_of(document: Document, subset: str, digit_order: str) -> list[Annotation]:
    """Returns the entries of a file.

    Args:
      document: The file.
      subset: Name of its subset.
      digit_order: One of `beam_jobs.sources.base.DIGIT_ORDERS`.
    """
    columns = columns_of(document)
    names, faults, place_of = _images(document.images)
    positions = _positions(document.column("image_id"), place_of)
    by_left = np.lexsort((columns.edges[1], positions))
    plain = _plain_pictures(document, columns, positions, by_left, len(names))
    plain[list(faults)] = False
    rows = np.argsort(positions, kind="stable")
    stored = rows.tolist()
    ordered = by_left.tolist() if digit_order == "left" else stored
    # A name and boxes are there, or a picture would not be plain.
    texts, boxes = columns.texts, cast(list[BoundingBox], columns.boxes)
    if ordered != list(range(len(ordered))):
        texts, boxes = [texts[row] for row in ordered], [boxes[row] for row in ordered]
    stops = np.searchsorted(positions[rows], np.arange(-1, len(names)), "right").tolist()
    entries: list[Annotation] = []
    for name, is_plain, position, (start, stop) in zip(names, plain.tolist(), count(), pairwise(stops)):
        if is_plain:
            text, placed = "".join(texts[start:stop]), tuple(boxes[start:stop])
            entries.append(Annotation(subset, str(name), len(entries), text, placed))
        else:
            found = _picture(document, columns, stored[start:stop], faults.get(position))
            is_whole = document.text_name is not None
            entries.extend(_entries(subset, name, len(entries), found, is_whole, digit_order))
    for row in stored[: stops[0]]:
        entries.append(_without_image(document, subset, len(entries), row))
    return entries


def _images(images: list[Any]) -> tuple[list[str | None], dict[int, Fault], dict[int | str, int]]:
    """Returns the images' names (None if unknown), what is wrong with them by position, and their positions by id."""
    if plain := _plain_images(images):
        return plain
    names: list[str | None] = []
    faults: dict[int, Fault] = {}
    place_of: dict[int | str, int] = {}
    seen: dict[str, int] = {}
    for position, image in enumerate(images):
        known = isinstance(image, dict)
        key, stored = (image.get("id"), image.get("file_name")) if known else (None, None)
        name = stored.replace("\\", "/").removeprefix("./") if isinstance(stored, str) and stored.strip() else None
        if not known or not isinstance(key, int | str) or name is None:
            faults[position] = Fault("bad_image", "An image must be an object with an id and a file_name.", str(image))
        if name is not None and (fault := _bad_path(name)):
            faults[position], name = fault, None
        elif name is not None and name in seen:
            rule = "A picture must be listed once; its first image is the one that is read."
            twice = Fault("duplicate_picture", rule, f"{name} at {seen[name] + 1} and {position + 1}")
            name = None
            faults.setdefault(position, twice)
        elif name is not None:
            seen[name] = position
        if isinstance(key, int | str) and place_of.setdefault(key, position) != position:
            rule = "An image must have its own id: its annotations could be those of another."
            for at in (place_of[key], position):
                faults[at] = Fault("duplicate_image", rule, f"id {key}")
        names.append(name)
    return names, faults, place_of


def _plain_images(images: list[Any]) -> tuple[list[str | None], dict[int, Fault], dict[int | str, int]] | None:
    """Returns what `_images` returns, in a quarter of the time; None if an image needs a closer look."""
    try:
        names = [image["file_name"] for image in images]
        keys = [image["id"] for image in images]
    except (TypeError, KeyError):
        return None
    if not set(map(type, names)) <= {str} or not set(map(type, keys)) <= {int, str}:
        return None
    place_of = dict(zip(keys, range(len(keys)), strict=True))
    lines = "\n".join(names)
    are_plain = lines.count("\n") == len(names) - 1 and _PLAIN_NAMES.fullmatch(lines)
    if len(place_of) < len(keys) or len(set(names)) < len(names) or not are_plain:
        return None
    return names, {}, place_of


def _bad_path(name: str) -> Fault | None:
    """Returns what is wrong with the path of a picture, or None."""
    if name.startswith("/") or ":/" in name or ".." in name.split("/"):
        rule = "The path of a picture must be relative, and lead to no other folder than that of the pictures."
        return Fault("bad_path", rule, name)
    if "\0" in name or not name.isprintable():
        return Fault("bad_path", "The path of a picture must be of printable characters.", repr(name))
    return None


def _positions(keys: list[Any], place_of: dict[int | str, int]) -> NDArray[np.int64]:
    """Returns (annotations,) int64: position of the image of each annotation; -1 if there is none."""
    try:
        return np.fromiter(map(place_of.__getitem__, keys), np.int64, len(keys))
    except (KeyError, TypeError):  # an unknown id; a list or an object as one
        found = [place_of.get(key, -1) if isinstance(key, int | str) else -1 for key in keys]
    return np.array(found, np.int64)


def _plain_pictures(
    document: Document,
    columns: Columns,
    positions: NDArray[np.int64],
    by_left: NDArray[np.int64],
    pictures: int,
) -> NDArray[np.bool_]:
    """Returns (pictures,) bool: which pictures have one number of characters that need no closer look.

    Neighbours in the order of their left edges are then neighbours by the rule of `group_numbers`, which makes them one
    number; and no two characters begin in the same column, so that none is there twice.
    """
    plain = np.zeros(pictures, bool)
    if document.text_name is not None or not len(positions):
        return plain
    placed = positions >= 0
    plain[positions[placed]] = True
    plain[positions[columns.special & placed]] = False
    ymin, xmin, ymax, xmax = columns.edges
    same = positions[by_left[:-1]] == positions[by_left[1:]]
    left, right = by_left[:-1][same], by_left[1:][same]
    height, width = ymax - ymin, xmax - xmin
    overlap = np.minimum(ymax[left], ymax[right]) - np.maximum(ymin[left], ymin[right])
    chained = overlap >= LEAST_OVERLAP * np.minimum(height[left], height[right])
    chained &= xmin[right] - xmax[left] <= MOST_GAP * np.maximum(width[left], width[right])
    chained &= xmin[right] > xmin[left]
    bad = positions[left[~chained]]
    plain[bad[bad >= 0]] = False
    ids = document.column("id")
    if _any_twice(ids):
        _mark_repeated(ids, positions, plain)
    return plain


def _any_twice(ids: list[Any]) -> bool:
    try:
        return len(set(ids)) < len(ids)
    except TypeError:
        return True


def _mark_repeated(ids: list[Any], positions: NDArray[np.int64], plain: NDArray[np.bool_]) -> None:
    """Marks the pictures with two annotations of one id as not plain."""
    seen = set()
    for position, key in zip(positions.tolist(), ids, strict=True):
        pair = (position, str(key))
        if key is not None and position >= 0 and pair in seen:
            plain[position] = False
        seen.add(pair)


def _picture(document: Document, columns: Columns, rows: list[int], fault: Fault | None) -> list[Number]:
    """Returns the numbers of a picture, in the order of their first annotations."""
    if fault:
        return [Number(rows[0] if rows else -1, "", (), fault)]
    if not rows:
        rule = "A picture must have an annotation to become an example."
        return [Number(-1, "", (), Fault(NO_ANNOTATION, rule, "no annotation of the image", no_number=True))]
    found, faults = [], {row: columns.faults[row] for row in rows if row in columns.faults}
    seen: set[tuple[object, ...]] = set()
    ids: set[str] = set()
    left: list[int] = []
    for row in rows:
        stored = document.annotations[row]
        copy = (columns.texts[row], columns.boxes[row])
        if columns.boxes[row] and row not in faults and copy in seen:
            rule = "A box must be annotated once; its first annotation is the one that is read."
            twice = Fault("duplicate_annotation", rule, f"annotation {_id(stored)}: {copy[0]!r} again")
            found.append(Number(row, "", (), twice))
            continue
        key = _id(stored)
        if key in ids:
            rule = "The annotations of a picture must have their own ids."
            faults.setdefault(row, Fault("duplicate_id", rule, f"annotation {key}"))
        if key != "None":
            ids.add(key)
        seen.add(copy)
        left.append(row)
    made = _separate if document.text_name is not None else _join
    return sorted([*found, *made(columns, left, faults)], key=lambda number: number.first)


def _id(stored: dict[str, Any]) -> str:
    return str(stored.get("id"))


def _separate(columns: Columns, rows: list[int], faults: dict[int, Fault]) -> Iterator[Number]:
    """Yields the numbers of a picture whose annotations are a number each."""
    for row in rows:
        box, fault = columns.boxes[row], faults.get(row)
        if fault is None and box is None and len(rows) > 1:
            rule = "A number without a box must be the only one of its picture."
            fault = Fault("no_box", rule, f"{len(rows)} annotations")
        yield Number(row, "", (), fault) if fault else Number(row, columns.texts[row], (box,) if box else ())


def _join(columns: Columns, rows: list[int], faults: dict[int, Fault]) -> Iterator[Number]:
    """Yields the numbers of a picture whose annotations are characters."""
    marks = [Mark(columns.texts[row], "", columns.boxes[row], columns.groups.get(row), faults.get(row)) for row in rows]
    for number, fault in join(marks):
        own = [rows[index] for index in number]
        if fault:
            yield Number(own[0], "", (), fault)
        else:
            boxes = tuple(box for row in own if (box := columns.boxes[row]))
            yield Number(own[0], "".join(columns.texts[row] for row in own), boxes)


def _entries(
    subset: str, name: str | None, index: int, numbers: list[Number], is_whole: bool, digit_order: str
) -> Iterator[Annotation]:
    """Yields the entries of a picture, from the index of the first; boxes are of numbers if `is_whole`."""
    placed = [union(number.boxes) if number.boxes else None for number in numbers]
    for part, number in enumerate(numbers, 1):
        known = name if name is not None else f"#{index + 1}"
        letter: DeadLetter | None = number.fault.error(f"{subset}/{known}").letter if number.fault else None
        others = () if letter else tuple(box for at, box in enumerate(placed, 1) if box and at != part)
        text, boxes, box = number.text, number.boxes, None
        if is_whole:
            box, boxes = (boxes[0] if boxes else None), ()
        else:
            characters = in_reading_order(list(zip(text, boxes, strict=True)), digit_order)
            text, boxes = "".join(each for each, _ in characters), tuple(each for _, each in characters)
        shown = part if len(numbers) > 1 else 0
        yield Annotation(subset, known, index, text, boxes, letter, box, shown, others)
        index += 1


def _without_image(document: Document, subset: str, index: int, row: int) -> Annotation:
    """Returns the entry of an annotation that belongs to no image."""
    stored = document.annotations[row]
    image = document.damaged.get(row, stored.get("image_id"))
    rule = f"Annotation {_id(stored)} must have the id of an image as its image_id."
    name = f"#{index + 1}"
    return Annotation(subset, name, index, "", (), Fault("no_image", rule, str(image)).error(f"{subset}/{name}").letter)
