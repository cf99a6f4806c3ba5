"""Pins: snapshots of a stream that are kept however old they become, each a file `STREAM/pins/NAME.json`.

A run of the trainer pins what it reads. A pin holds from when `pin` returns, also next to a sweep that deletes the
snapshot in that moment: a sweep takes a snapshot away before it reads the pins and puts it back if one names it, and
`pin` writes the pin before it looks whether the snapshot is there.
"""

import json
import re
from dataclasses import dataclass

from tfrecords.dataset.snapshots import Snapshot, snapshot_place
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import Count, from_json, parse_object

PINS = "pins"
"""Name of the folder of a stream that holds the pins."""
_SUFFIX = ".json"
_NAME = re.compile(r"[\w-][\w.-]{0,79}")


@dataclass(frozen=True)
class _Pin:
    snapshot: Count


def pin(stream: Place, name: str, number: int) -> None:
    """Keeps a snapshot until `unpin`; a pin of this name is moved.

    Args:
      stream: Stream.
      name: Name of the pin: letters, digits, -, _ and dots, at most 80, not a dot first.
      number: Number of the snapshot.

    Raises:
      UserError: There is no such snapshot, the name cannot be used, or the place cannot be written.
    """
    place = _place(stream, name)
    Snapshot.load(stream, number)
    before = read_bytes(place)
    place.write([(json.dumps({"snapshot": number}) + "\n").encode()])
    if not snapshot_place(stream, number).is_file():
        if before is None:
            place.delete()
        else:
            place.write([before])
        raise UserError(f"{stream} must have the snapshot to pin, and has just deleted it.", f"snapshot {number}")


def unpin(stream: Place, name: str) -> bool:
    """Deletes a pin; returns whether there was one.

    Raises:
      UserError: The name cannot be that of a pin, or the place cannot be written.
    """
    place = _place(stream, name)
    if not place.is_file():
        return False
    place.delete()
    return True


def pinned(stream: Place) -> dict[str, int]:
    """Returns the number of the snapshot of each pin, by the pin's name.

    Raises:
      UserError: A pin is damaged, or the place cannot be read.
    """
    found, damaged = read_pins(stream)
    for error in damaged:
        raise error
    return found


def read_pins(stream: Place) -> tuple[dict[str, int], list[UserError]]:
    """Returns the number of the snapshot of each readable pin, by the pin's name, and what is wrong with the others.

    Raises:
      UserError: The place cannot be read.
    """
    found, damaged = dict[str, int](), list[UserError]()
    try:
        names = (stream / PINS).names()
    except FileNotFoundError:
        return found, damaged
    for name in names:
        # What a killed process has left of a pin begins with a dot.
        if name.endswith(_SUFFIX) and _NAME.fullmatch(name.removesuffix(_SUFFIX)):
            place = stream / PINS / name
            data = read_bytes(place)
            if data is None:  # deleted meanwhile
                continue
            try:
                found[name.removesuffix(_SUFFIX)] = from_json(_Pin, parse_object(data, str(place)), str(place)).snapshot
            except UserError as error:
                damaged.append(error)
    return found, damaged


def _place(stream: Place, name: str) -> Place:
    """Returns the place of a pin.

    Raises:
      UserError: The name cannot be used.
    """
    if not _NAME.fullmatch(name):
        rule = "The name of a pin must be of 1 to 80 letters, digits, -, _ and dots, and not begin with a dot."
        raise UserError(rule, repr(name))
    return stream / PINS / f"{name}{_SUFFIX}"
