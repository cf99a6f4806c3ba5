"""Pins of a stream: snapshots that it keeps, with all that they name, until the pin is removed.

STREAM/pins/NAME.json    {"snapshot": 42}
"""

import json
import re
from dataclasses import dataclass

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import Count, from_json, parse_object

PINS = "pins"
"""Name of the folder of a stream that holds the pins."""
_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,119}", re.ASCII)


@dataclass(frozen=True)
class _Pin:
    snapshot: Count


def pin(stream: Place, name: str, number: int) -> None:
    """Pins a snapshot of a stream; a pin of the same name is replaced.

    Args:
      stream: Stream.
      name: Name of the pin: letters, digits, - _ and dots.
      number: Number of the snapshot.

    Raises:
      UserError: The name cannot be one, or the stream cannot be written.
      OSError: The stream cannot be written.
    """
    _place(stream, name).write([(json.dumps({"snapshot": number}) + "\n").encode()])


def unpin(stream: Place, name: str) -> None:
    """Removes a pin, if there is one.

    Raises:
      UserError: The name cannot be one, or the stream cannot be written.
      OSError: The stream cannot be written.
    """
    _place(stream, name).delete()


def pinned(stream: Place) -> dict[str, int]:
    """Returns the number of the snapshot of each pin, by name.

    Raises:
      UserError: A pin is damaged.
    """
    found: dict[str, int] = {}
    for file in (stream / PINS).names():
        name = file.removesuffix(_SUFFIX)
        if name == file or not _NAME.fullmatch(name):
            continue
        place = stream / PINS / file
        if (data := read_bytes(place)) is not None:
            found[name] = from_json(_Pin, parse_object(data, str(place)), str(place)).snapshot
    return found


def _place(stream: Place, name: str) -> Place:
    if not _NAME.fullmatch(name):
        raise UserError("The name of a pin must be of 1 to 120 letters, digits, - _ and dots.", repr(name))
    return stream / PINS / f"{name}{_SUFFIX}"
