"""One task of a Label Studio export to the boxes that each of its annotators drew.

A task of the export JSON has `data`, with the picture's address, and `annotations`, whose `result` is a list of items
(https://labelstud.io/guide/task_format). Items with one `id` are one region: its rectangle, its label, its text. A
record of the export JSON-MIN has the same without ids: a list of boxes for each control that draws them, a list of
texts for each control that takes them, in the same order, next to the task's data.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from beam_jobs.sources.base import PICTURE_SUFFIXES
from beam_jobs.sources.layout import relative_name
from beam_jobs.sources.marks import TEXT_NAMES, Fault, Mark, character, make_box
from tfrecords.images.crop import BoundingBox

Json = dict[str, Any]
EMPTY = "The annotation of the task is empty."
"""What is said of a picture in which an annotator has found nothing."""
STORES = ("s3", "gs", "gcs", "hdfs", "http", "https", "az", "abfs", "azure-blob")
"""Schemes of the addresses that are read where they are."""
_UPLOADS, _LOCAL_FILES = "/data/upload/", "/data/local-files/"
_PICTURE_KEYS = ("image", "ocr", "img", "picture", "photo", "captioning", "file_name", "filename", "url")
_OF_EXPORT = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "comments", "user")
)
"""Keys of a record of JSON-MIN that are neither the task's data nor an annotator's answer."""
_TEXT_TYPES = ("textarea", "choices")
_NOT_BOXES = frozenset(("points", "rle", "radiusX"))
_LARGEST = 1 << 31
"""Size of a picture, pixels, that is damage."""


def picture_of(data: Mapping[str, Any]) -> tuple[str, Fault | None]:
    """Returns the name of a task's picture; or an empty name and why there is none.

    Args:
      data: Data of the task, or a record of JSON-MIN.
    """
    if len(data) == 1 and isinstance(only := next(iter(data.values())), str) and (name := _upload(only)):
        return name, None  # most exports
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value.strip()}
    likely = [key for key, value in texts.items() if _is_picture(value)]
    if not likely:
        likely = [key for key in _PICTURE_KEYS if key in texts][:1]
    chosen = likely if len(likely) == 1 else [key for key in _PICTURE_KEYS if key in likely][:1]
    if not chosen:
        reason, rule = ("several_pictures", "one picture") if likely else ("no_picture", "a picture's address")
        return "", Fault(reason, f"The data of a task must hold {rule}.", ", ".join(map(str, likely or data))[:200])
    address = texts[chosen[0]].strip()
    name = name_of(address)
    if name is None:
        rule = f"A picture must be an upload, a local file, a relative path or an address of {', '.join(STORES)}."
        return "", Fault("bad_path", rule, address[:200])
    return name, None


def name_of(address: str) -> str | None:
    """Returns the name of a picture by its address in Label Studio; None for one that is not read.

    An upload, `/data/upload/1/ab12cd34-7.png`, is `1/ab12cd34-7.png`, on any host; a local file,
    `/data/local-files/?d=meters/7.png`, is `meters/7.png`; an address of a store is itself.
    """
    split = _split(address)
    if split.path.startswith(_UPLOADS):
        return relative_name(split.path.removeprefix(_UPLOADS))
    if split.path.startswith(_LOCAL_FILES.rstrip("/")):
        return relative_name(parse_qs(split.query).get("d", [""])[0])
    if "://" in address:
        return address if split.scheme.lower() in STORES and relative_name(address) else None
    return None if split.scheme == "data" else relative_name(address)


def places_of(name: str) -> Iterator[str]:
    """Yields the relative paths that a picture may have in a folder of pictures, the likeliest first.

    They are the name itself, its file name, that without the eight hexadecimal digits that Label Studio puts before the
    name of an upload, and the name in `upload`, as in Label Studio's own folder `media`; each as it is and with `%20`
    and the like decoded.
    """
    path = _split(name).path.lstrip("/") if "://" in name else name
    base = path.rpartition("/")[2]
    for each in (path, base, re.sub(r"^[0-9a-f]{8}-", "", base), f"upload/{path}"):
        yield each
        if (plain := unquote(each)) != each and relative_name(plain) == plain:
            yield plain


def readings_of(task: Json, attribute: str | None) -> tuple[list[list[Mark]], str]:
    """Returns the boxes of each annotation of a task that counts, and what to say if there is none.

    Annotations that an annotator has cancelled do not count. If one is marked as the ground truth, only such ones do.

    Args:
      task: Task of the export JSON, or record of JSON-MIN.
      attribute: Name of the control that holds the numbers; None for any.
    """
    if not is_full(task):
        return [_marks_of_record(task, attribute)], "The task has no annotation."
    annotations = task.get("annotations", task.get("completions")) or []
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        return [[_damaged("The annotations of a task must be a list of objects.", annotations)]], ""
    valid = [each for each in annotations if not each.get("was_cancelled")]
    valid = [each for each in valid if each.get("ground_truth")] or valid
    if not valid:
        note = "The task was skipped" if annotations else "The task has no annotation"
        return [], f"{note}; its predictions are not read." if task.get("predictions") else f"{note}."
    return [_marks_of_result(each.get("result"), attribute) for each in valid], EMPTY


def is_full(task: Json) -> bool:
    """Returns whether a task is one of the export JSON, rather than a record of JSON-MIN."""
    return isinstance(task.get("data"), dict)


def _upload(address: str) -> str | None:
    """Returns the name of an upload of this host; None if the address is another, or no plain one."""
    is_plain = address.startswith(_UPLOADS) and "?" not in address and "#" not in address
    return relative_name(address[len(_UPLOADS) :]) if is_plain else None


def _split(address: str) -> SplitResult:
    """Returns the parts of an address; one that breaks the rules of addresses is a path."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", address, "", "")


def _is_picture(value: str) -> bool:
    if value.startswith("/data/"):
        return True
    split = _split(value.strip())
    path = (split.path or "") + split.query
    return path.startswith("/data/") or path[path.rfind(".") :].lower() in PICTURE_SUFFIXES or split.scheme == "data"


def _damaged(rule: str, received: object) -> Mark:
    return Mark("", "", None, fault=Fault("damaged", rule, str(received)[:100]))


def _marks_of_result(result: Any, attribute: str | None) -> list[Mark]:
    """Returns the boxes of one annotation; its text for the complete picture, if it has no box."""
    if not isinstance(result, list):
        return [_damaged("The result of an annotation must be a list.", result)]
    regions: dict[object, list[Json]] = {}
    whole: list[Json] = []
    for at, item in enumerate(result):
        if not isinstance(item, dict):
            return [_damaged("The items of a result must be objects.", item)]
        value = item.get("value")
        if not isinstance(value, dict):
            continue  # a relation between regions
        if item.get("type") in _TEXT_TYPES and not ("x" in value or "points" in value or "rle" in value):
            whole.append(item)
        else:
            regions.setdefault(str(item.get("id", at)), []).append(item)
    # A text of its own that has lost its coordinates still belongs to the region of its id.
    for item in whole:
        if (region := str(item.get("id"))) in regions:
            regions[region].append(item)
    marks = [_mark_of_region(items, attribute) for items in regions.values()]
    if marks:
        return marks
    return _whole_picture([_text_of(item) for item in whole], attribute)


def _whole_picture(texts: list[tuple[str, str, list[str]]], attribute: str | None) -> list[Mark]:
    """Returns the number of a picture without boxes: that of the named control, else of a text, else of a choice."""
    text, fault = _one_text(texts, attribute)
    if not text and not fault and attribute is None:
        text, fault = _one_text([("textarea", name, values) for _, name, values in texts], None)
    return [Mark("", text, None, fault=fault)] if text or fault else []


def _text_of(item: Json) -> tuple[str, str, list[str]]:
    """Returns the type of an item, the name of its control, and its texts without those that are empty."""
    value = item["value"]
    given = value.get("text", value.get("choices"))
    texts = given if isinstance(given, list) else [given]
    stripped = [text.strip() for text in texts if isinstance(text, str)]
    return str(item.get("type")), str(item.get("from_name")), [text for text in stripped if text]


def _one_text(texts: list[tuple[str, str, list[str]]], attribute: str | None) -> tuple[str, Fault | None]:
    """Returns the text of a region or picture; empty if it has none; or why it is not one text."""
    if attribute is None and len(texts) == 1 and len(texts[0][2]) == 1 and texts[0][0] == "textarea":
        return texts[0][2][0], None
    if attribute is None:
        chosen = [(name, values) for kind, name, values in texts if kind == "textarea" and values]
    else:
        chosen = [(name, values) for _, name, values in texts if name == attribute and values]
    found = list(dict.fromkeys(value for _, values in chosen for value in values))
    if len(found) < 2:
        return (found[0], None) if found else ("", None)
    names = sorted({name for name, _ in chosen})
    rule = "A number must have one text"
    rule += f"; --text-attribute chooses one of {', '.join(names)}." if len(names) > 1 else "."
    return "", Fault("several_texts", rule, ", ".join(found)[:200])


def _mark_of_region(items: list[Json], attribute: str | None) -> Mark:
    """Returns the box that the items of one region are."""
    texts: list[tuple[str, str, list[str]]] = []
    labels: list[str] = []
    for item in items:
        kind = item.get("type")
        if kind in _TEXT_TYPES:
            texts.append(_text_of(item))
        else:
            labels += _labels_of(item["value"], str(kind))
    text, fault = _one_text(texts, attribute)
    return _mark(items, list(dict.fromkeys(labels)) if len(labels) > 1 else labels, text, fault)


def _labels_of(value: Json, kind: str) -> list[str]:
    given = value.get(kind)
    return [str(label).strip() for label in given] if isinstance(given, list) else []


def _mark(items: list[Json], labels: list[str], text: str, fault: Fault | None) -> Mark:
    """Returns a box by the first item that has its coordinates.

    Args:
      items: Items of a region, whose sizes of the picture are theirs or their value's.
      labels: Classes of the region.
      text: Text of the region; empty if it has none.
      fault: What is wrong with the text, or None.
    """
    label = labels[0] if labels else ""
    if len(labels) > 1 and not text:
        fault = fault or Fault("several_labels", "A box must have one class.", ", ".join(labels)[:200])
    for item in items:
        value = item.get("value", item)
        if "width" in value and "height" in value and _NOT_BOXES.isdisjoint(value):
            box, wrong = _box_of(item, value)
            return Mark(label, text, box, fault=fault or wrong)
    rule = "A region must be a rectangle, not a polygon, a brush, an ellipse or a point."
    return Mark(label, text, None, fault=Fault("not_a_box", rule, ", ".join(str(each.get("type")) for each in items)))


def _box_of(item: Json, value: Json) -> tuple[BoundingBox | None, Fault | None]:
    """Returns the box of a rectangle in pixels, or why it is none."""
    if (value.get("rotation") or item.get("image_rotation")) and (turned := _turned(item, value)):
        return None, turned
    across: Any = item.get("original_width") or value.get("original_width")
    down: Any = item.get("original_height") or value.get("original_height")
    try:
        if not (0 < across < _LARGEST and 0 < down < _LARGEST):
            raise TypeError
        across, down = across / 100, down / 100
    except (TypeError, OverflowError):
        rule = "A box is in percent, so original_width and original_height must be the picture's size."
        return None, Fault("no_size", rule, f"{across}, {down}"[:100])
    numbers: tuple[Any, ...] = (value.get("x"), value.get("y"), value.get("width"), value.get("height"))
    x, y, width, height = numbers
    try:
        return make_box(x * across, y * down, (x + width) * across, (y + height) * down)
    except (TypeError, OverflowError):
        rule = "x, y, width and height of a box must be numbers."
        return None, Fault("bad_box", rule, ", ".join(str(each)[:40] for each in numbers))


def _turned(item: Json, value: Json) -> Fault | None:
    """Returns the fault of a box that is not upright, or whose picture was turned when it was drawn."""
    for where, key, reason in ((value, "rotation", "rotated_box"), (item, "image_rotation", "rotated_picture")):
        turned = where.get(key) or 0
        if not isinstance(turned, int | float) or turned % 360:
            return Fault(reason, f"{key} must be 0: draw the box upright.", str(turned)[:100])
    return None


def _marks_of_record(record: Json, attribute: str | None) -> list[Mark]:
    """Returns the boxes of a record of JSON-MIN; its text for the complete picture, if it has no box."""
    regions: dict[tuple[object, ...], list[Json]] = {}
    for values in record.values():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, dict) and ("x" in value or "points" in value or "rle" in value):
                place = tuple(str(value.get(key)) for key in ("x", "y", "width", "height", "rotation", "points"))
                regions.setdefault(place, []).append(value)
    found = []
    for items in regions.values():
        kinds = [(item, key) for item in items for key in item if key.endswith("labels")]
        labels = list(dict.fromkeys(label for item, key in kinds for label in _labels_of(item, key)))
        found.append((items, labels))
    if found and all(len(labels) == 1 and character(labels[0]) for _, labels in found) and attribute is None:
        return [_mark(items, labels, "", None) for items, labels in found]
    texts, fault = _texts_of_record(record, attribute)
    if fault:
        return [Mark("", "", None, fault=fault)]
    if not found:
        return _whole_picture([("textarea", "", texts)], None)
    if texts and len(texts) != len(found):
        rule = "JSON-MIN has texts and boxes apart, so there must be as many of both; the export JSON pairs them."
        return [Mark("", "", None, fault=Fault("unpaired", rule, f"{len(texts)} texts, {len(found)} boxes"))]
    return [
        _mark(items, labels, text, None)
        for (items, labels), text in zip(found, texts or [""] * len(found), strict=True)
    ]


def _texts_of_record(record: Json, attribute: str | None) -> tuple[list[str], Fault | None]:
    """Returns the texts of a record of JSON-MIN: those of the named key, of a key with a usual name, or of the only."""
    texts = {}
    for key, value in record.items():
        values = value if isinstance(value, list) else [value]
        if key in _OF_EXPORT or key in _PICTURE_KEYS or not all(isinstance(each, str) for each in values):
            continue
        if values and not any(map(_is_picture, values)):
            texts[key] = [each.strip() for each in values]
    if attribute is not None:
        return texts.get(attribute, []), None
    usual = [key for key in texts if key.lower() in TEXT_NAMES] or list(texts)
    if len(usual) > 1:
        rule = f"A record must have one list of texts; --text-attribute chooses one of {', '.join(usual)}."
        return [], Fault("several_texts", rule, ", ".join(usual))
    return (texts[usual[0]] if usual else []), None
