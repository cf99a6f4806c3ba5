"""What a dataset cannot know of itself: its licence, citation, page, makers and date, as their owner states them."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from tfrecords.errors import UserError
from tfrecords.flags import setting

_GROUP = "licence and citation"
UNKNOWN = "unknown"
"""What is said of a licence that nobody has stated."""
LICENCES = {
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "mit": "MIT",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
"""SPDX's identifiers of the licences that data mostly have, by Hugging Face's names of them."""


@dataclass(frozen=True)
class About:
    """What the owner of the pictures states of them; it decides no byte of a shard. None is not stated.

    The help line of each setting describes it.
    """

    licence: str | None = setting(
        None,
        "licence of the pictures and labels: SPDX's identifier, as CC-BY-4.0, an address or a sentence",
        group=_GROUP,
    )
    citation: str | None = setting(None, "citation of the dataset, best as BibTeX", group=_GROUP)
    homepage: str | None = setting(None, "address of the page of the dataset", group=_GROUP)
    creator: str | None = setting(None, "who made the pictures and labels", group=_GROUP)
    published: str | None = setting(None, "date of publication, as 2026-11-28", group=_GROUP)

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: One is empty, or no address, or no date.
        """
        for name, value in asdict(self).items():
            if value is not None and not value.strip():
                raise UserError(f"--{name} must not be empty: leave it out where it is not known.", repr(value))
            if name != "citation" and value is not None and len(value.splitlines()) > 1:
                raise UserError(f"--{name} must be one line.", repr(value))
        if self.homepage is not None and not re.fullmatch(r"https?://\S+", self.homepage):
            raise UserError("--homepage must be an address, as https://example.org/numbers.", self.homepage)
        if self.published is not None:
            try:
                # From Python 3.11, other forms are dates too.
                if date.fromisoformat(self.published).isoformat() != self.published:
                    raise ValueError
            except ValueError as error:
                raise UserError("--published must be a date, as 2026-11-28.", self.published) from error

    def to_dict(self) -> dict[str, str]:
        """Returns what is stated, by name: as manifests hold it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, other: Mapping[str, Any]) -> "About":
        """Returns what this states, and for the rest what another says by name."""
        return About(**{**other, **self.to_dict()})


def licence_name(licence: str | None) -> str:
    """Returns Hugging Face's name of a licence: `other` of one that has none, `unknown` where none is stated."""
    if licence is None:
        return UNKNOWN
    return next((name for name in LICENCES if licence.lower() in (name, LICENCES[name].lower())), "other")


def licence_address(licence: str | None) -> str:
    """Returns the address of a licence that SPDX lists; another licence as it is stated, and `unknown` of none."""
    if (name := licence_name(licence)) in LICENCES:
        return f"https://spdx.org/licenses/{LICENCES[name]}.html"
    return licence or UNKNOWN
