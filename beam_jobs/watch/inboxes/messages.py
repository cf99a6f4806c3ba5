"""A message of a log: one labelled picture or one correction as a JSON object, and what is wrong with one that is none.

A picture:

    {"text": "1984", "image": "<base64 of the picture's file>", "boxes": [[12, 5, 20, 31]], "name": "camera7-0001"}
    {"text": "1984", "url": "s3://bucket/7.png"}

`boxes` are left, top, right and bottom in pixels, of the number or of each of its characters: the box around all of
them counts. `name` is any part of the key that its sender likes. A correction of a number that is in the stream:

    {"key": "2026-11/7.png", "action": "relabel", "text": "1985"}
    {"key": "2026-11/8.png", "action": "delete"}

Other members are ignored.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_jobs.watch.batch import ACTIONS, DELETE, Correction
from tfrecords.errors import printable

LONGEST_MESSAGE = 16 << 20
"""Largest message, bytes."""
LARGEST_PICTURE = 10 << 20
"""Largest file of a picture, bytes."""
_LONGEST_TEXT = 1000
"""Longest number, key or address, characters; whether a record can hold a number is checked where pictures are cut."""
_MOST_BOXES = 100
_MOST_SHOWN = 80
"""Characters of a value in a message of this program."""
_NAME = re.compile(r"[\w.-]{1,100}")
_ADDRESS = re.compile(r"(https?|s3|gs|gcs|hdfs|abfs|az)://[^/]", re.IGNORECASE)
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels."""


@dataclass(frozen=True)
class Message:
    """One message as its log has it.

    Attributes:
      offset: Position in its partition: Kafka's offset, or that of a line's first byte.
      end: Position after it.
      value: Content; None where the log has none, as in a tombstone, or where it is too large to be read.
      size: Size of the content, bytes.
    """

    offset: int
    end: int
    value: bytes | None
    size: int


@dataclass(frozen=True)
class Labelled:
    """A labelled picture.

    Attributes:
      text: Number.
      image: File of the picture; None if `url` has it.
      url: Address of the picture; empty if the message has the picture.
      box: Box around the number, or None.
      name: Name that the sender gave it; empty if it has none.
    """

    text: str
    image: bytes | None = None
    url: str = ""
    box: Box | None = None
    name: str = ""


class Fault(NamedTuple):
    """Why a message is neither a picture nor a correction.

    Attributes:
      reason: One word to count by.
      rule: Rule that it breaks, as a sentence.
      received: Value received, shortened.
    """

    reason: str
    rule: str
    received: str


class RefusedError(Exception):
    """A message is no good one."""

    def __init__(self, reason: str, rule: str, received: str) -> None:
        """Takes what the fault says."""
        super().__init__(rule)
        self.fault = Fault(reason, rule, received)


def parse_message(message: Message) -> Labelled | Correction | Fault:
    """Returns what a message says, or why it is refused; nothing that a sender writes raises an error."""
    try:
        found = _object(message)
        if "key" in found or "action" in found:
            return _correction(found)
        return _labelled(found)
    except RefusedError as error:
        return error.fault


def _object(message: Message) -> dict[str, Any]:
    if message.size > LONGEST_MESSAGE:
        longest = f"A message must have at most {LONGEST_MESSAGE:,} bytes."
        raise RefusedError("too_large", longest, f"{message.size:,} bytes")
    if not message.value:
        raise RefusedError("empty", "A message must not be empty.", "no content")
    rule = "A message must be a JSON object in UTF-8."
    try:
        found = json.loads(message.value.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError("damaged", rule, _shown(message.value)) from error
    if not isinstance(found, dict):
        raise RefusedError("damaged", rule, _shown(found))
    return found


def _labelled(found: Mapping[str, Any]) -> Labelled:
    text, name = _text(found), found.get("name", "")
    if name and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise RefusedError("bad_name", "name must be of 1 to 100 letters, digits, -, _ and dots.", _shown(name))
    box = _box(found["boxes"]) if found.get("boxes") is not None else None
    if ("image" in found) == ("url" in found):
        keys = ", ".join(sorted(found))
        raise RefusedError("no_picture", "A message must have either image or url.", _shown(keys))
    if "image" in found:
        return Labelled(text, image=_image(found["image"]), box=box, name=name or "")
    url = found["url"]
    if not isinstance(url, str) or len(url) > _LONGEST_TEXT or not _ADDRESS.match(url) or not url.isprintable():
        raise RefusedError("bad_path", "url must be an address of http, https or a store.", _shown(url))
    return Labelled(text, url=url, box=box, name=name or "")


def _text(found: Mapping[str, Any]) -> str:
    """Returns the number of a message: a string, or an integer as JSON writes it."""
    text = found.get("text")
    if text is None or text == "":
        raise RefusedError("no_text", "A message must hold a number in text.", _shown(text))
    if isinstance(text, int) and not isinstance(text, bool):
        # Python refuses to write one of more than 4,300 digits.
        text = str(text) if abs(text) < 10**_LONGEST_TEXT else None
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not _is_unicode(text):
        rule = f"text must be a string of at most {_LONGEST_TEXT:,} characters, or an integer."
        raise RefusedError("bad_text", rule, _shown(found["text"]))
    return text


def _image(value: Any) -> bytes:
    rule = "image must be the base64 of a picture's file."
    if not isinstance(value, str) or not value:
        raise RefusedError("bad_image", rule, _shown(value))
    try:
        data = base64.b64decode(_DATA_URL.sub("", value, count=1), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("bad_image", rule, _shown(value)) from error
    return checked_picture(data)


def checked_picture(data: bytes) -> bytes:
    """Returns the file of a picture.

    Raises:
      RefusedError: It is empty or too large.
    """
    if not data or len(data) > LARGEST_PICTURE:
        rule = f"The file of a picture must have 1 to {LARGEST_PICTURE:,} bytes."
        raise RefusedError("too_large" if data else "bad_image", rule, f"{len(data):,} bytes")
    return data


def _box(boxes: Any) -> Box | None:
    """Returns the box around all boxes; None if there are none."""
    if not isinstance(boxes, list) or len(boxes) > _MOST_BOXES:
        raise RefusedError("bad_box", f"boxes must be a list of at most {_MOST_BOXES} boxes.", _shown(boxes))
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise RefusedError("bad_box", "A box must be four finite numbers: left, top, right, bottom.", _shown(box))
        if not (box[0] < box[2] and box[1] < box[3]):
            raise RefusedError("empty_box", "A box must have a width and a height above 0.", _shown(box))
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return float(min(lefts)), float(min(tops)), float(max(rights)), float(max(bottoms))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _correction(found: Mapping[str, Any]) -> Correction:
    key, action = found.get("key"), found.get("action")
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_TEXT or "/" not in key or not _is_unicode(key):
        raise RefusedError("bad_correction", "key must be that of a number in the stream: batch/picture.", _shown(key))
    if action not in ACTIONS:
        raise RefusedError("bad_correction", f"action must be one of {', '.join(ACTIONS)}.", _shown(action))
    if "image" in found or "url" in found:
        raise RefusedError("bad_correction", "A correction must have no picture.", _shown(key))
    return Correction(key, action, "" if action == DELETE else _text(found))


def _is_unicode(text: str) -> bool:
    """Returns whether a text has no half of a UTF-16 pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    """Returns a value for a line of text: not all of a long one."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_MOST_SHOWN:
        return "a very long integer"
    text = repr(value[:_MOST_SHOWN] if isinstance(value, str | bytes) else value)
    return printable(text[:_MOST_SHOWN])
