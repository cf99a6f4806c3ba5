"""A stream: its folder, and the configuration that is fixed at its first start."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from beam_jobs.prepare.config import PrepareConfig
from tfrecords.dataset.snapshots import STREAM
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import from_flags, settings_of
from tfrecords.typed_json import from_json, parse_object

STATUS = "status.json"
"""Name of the file that says how the stream fares, replaced in each cycle; nothing decides by it."""
_VERSION = 1


@dataclass(frozen=True)
class Stream:
    """A stream.

    Attributes:
      place: Folder, local or in a store.
      config: How every generation is made. Its longest number is set; the largest share of rejected pictures is 1,
        since a picture that is rejected never stops a stream.
      has_boxes: Whether pictures are cut as those of the first batch with a number were: around boxes. Always so where
        numbers are to be found.
    """

    place: Place
    config: PrepareConfig
    has_boxes: bool = True

    def __post_init__(self) -> None:
        """Checks what a stream leaves no choice about.

        Raises:
          UserError: The longest number is open, or a setting is about a complete dataset.
        """
        config = self.config
        if config.max_length is None:
            rule = "The longest number of a stream must be fixed before it starts: give --max-length."
            raise UserError(rule, "no --max-length")
        of_complete = {"limit": config.limit, "shards": config.shards}
        given = [f"--{name}" for name, value in of_complete.items() if value is not None]
        if given or config.on_leak != "warn":
            given += [] if config.on_leak == "warn" else ["--on-leak"]
            raise UserError("A stream has no end, so these settings do not apply to it.", ", ".join(given))

    def save(self) -> None:
        """Writes the configuration, at the first start.

        Raises:
          UserError: There is another one.
        """
        if not (self.place / STREAM).create(self.to_json()):
            found = Stream.load(self.place)
            if found != self:
                rule = f"{self.place / STREAM} must have the settings of this call: another process has started it."
                raise UserError(rule, "other settings")

    def to_json(self) -> bytes:
        """Returns the content of stream.json; equal streams give equal bytes."""
        saved = _Saved(_VERSION, self.has_boxes, flat_settings(self.config))
        return (json.dumps(asdict(saved), indent=1) + "\n").encode()

    @classmethod
    def load(cls, place: Place) -> "Stream":
        """Reads the configuration of a stream.

        Raises:
          UserError: There is none, or it is damaged.
        """
        path = place / STREAM
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"{place} is no stream: it has no {STREAM}.", place) from error
        saved = from_json(_Saved, parse_object(data, str(path)), str(path))
        if saved.version != _VERSION:
            raise UserError(f"{path} must be of version {_VERSION}.", saved.version)
        return cls(place, from_flags(PrepareConfig, saved.settings), saved.has_boxes)


@dataclass(frozen=True)
class _Saved:
    version: int
    has_boxes: bool
    settings: dict[str, Any]


def flat_settings(config: PrepareConfig) -> dict[str, Any]:
    """Returns every setting of a configuration by its name, those of nested ones in their place."""
    values = asdict(config)
    flat = {**values, **values.pop("crop"), **values.pop("options")}
    return {name: flat[name] for name in settings_of(PrepareConfig)}
