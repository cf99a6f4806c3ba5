"""What a page asks for: filters and an order, from the query of its URL and back."""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from tfrecords.errors import UserError
from tfrecords.typed_json import shorten

MATCHES = {"exact": "equals", "prefix": "begins with", "contains": "contains"}
"""Ways to compare a number with the text of a query, and their titles."""
STORED, SCORE = "stored", "score"
SORTS = {
    STORED: "stored order",
    "key": "key",
    "text": "number",
    "length": "length",
    "height": "height",
    SCORE: "suspicion",
}
"""Orders, and their titles."""
ANY_SUSPECT = "any"
"""The kind of a suspect that stands for all kinds."""
_LONGEST_TEXT = 200
_NUMBER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Query:
    """Filters and order of examples; an empty text and None stand for no filter.

    Attributes:
      split: Name of the split.
      text: Number, or part of it, as `match` says.
      match: One of `MATCHES`.
      key: Part of the key.
      min_length: Smallest number of characters.
      max_length: Largest number of characters.
      min_height: Smallest height of the crop in the source picture, pixels; of scenes, that of the source picture.
      max_height: Largest such height, pixels.
      suspect: Kind of a suspect, or `ANY_SUSPECT`.
      sort: One of `SORTS`.
      order: `up` or `down`.
      snapshot: Number of a snapshot of the stream.
    """

    split: str = ""
    text: str = ""
    match: str = "exact"
    key: str = ""
    min_length: int | None = None
    max_length: int | None = None
    min_height: int | None = None
    max_height: int | None = None
    suspect: str = ""
    sort: str = STORED
    order: str = "up"
    snapshot: int | None = None

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> "Query":
        """Returns the query of a URL's values by name; other names are not looked at.

        Raises:
          UserError: A value is none of those that its name may have.
        """
        given = {each.name: values[each.name].strip() for each in fields(cls) if values.get(each.name, "").strip()}
        for name, allowed in (("match", MATCHES), ("sort", SORTS), ("order", ("up", "down"))):
            if name in given and given[name] not in allowed:
                raise UserError(f"{name} must be one of {', '.join(allowed)}.", shorten(repr(given[name])))
        numbers = {name: parse_number(name, given.pop(name)) for name in _NUMBERS if name in given}
        for name, value in given.items():
            if len(value) > _LONGEST_TEXT:
                raise UserError(f"{name} must have at most {_LONGEST_TEXT} characters.", shorten(repr(value)))
        return cls(**given, **numbers)  # type: ignore[arg-type]

    def values(self) -> dict[str, str]:
        """Returns the values of the URL of this query by name, without those that are the defaults."""
        return {name: str(value) for name, value in asdict(self).items() if value != _DEFAULTS[name]}

    def url(self, path: str, **more: object) -> str:
        """Returns the URL of a page about this query.

        Args:
          path: Path of the page.
          **more: Further values.
        """
        values = urllib.parse.urlencode({**self.values(), **more})
        return f"{path}?{values}" if values else path

    @property
    def is_stored(self) -> bool:
        """Whether the answer is a split, or all of them, as stored: then positions are indices of records."""
        return self == replace(Query(), split=self.split, snapshot=self.snapshot, match=self.match)

    @property
    def is_filter(self) -> bool:
        """Whether some examples may be left out."""
        return replace(self, sort=STORED, order="up", snapshot=None, match="exact") != Query()


def parse_number(name: str, text: str) -> int:
    """Returns the number in a value of a URL.

    Raises:
      UserError: It is no number of up to nine digits.
    """
    if not _NUMBER.fullmatch(text):
        raise UserError(f"{name} must be a number of up to nine digits.", shorten(repr(text)))
    return int(text)


_DEFAULTS = asdict(Query())
_NUMBERS = tuple(name for name, value in _DEFAULTS.items() if value is None)
