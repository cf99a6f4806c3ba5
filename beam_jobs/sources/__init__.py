"""Readers of formats of labelled pictures: `SOURCES` lists them by the name of `--source`."""

import importlib

from beam_jobs.sources.base import Source
from tfrecords.errors import UserError

__all__ = ["SOURCES", "load_source"]

SOURCES = {
    "svhn": "beam_jobs.sources.svhn.source",
    "image-folder": "beam_jobs.sources.image_folder",
    "table": "beam_jobs.sources.table.source",
}
"""Module of each source by name; its `SOURCE` is the reader."""


def load_source(name: str) -> Source:
    """Returns the source of a name, and imports its module if that has not happened yet.

    Raises:
      UserError: There is no source of this name.
    """
    if name not in SOURCES:
        raise UserError(f"source must be one of {', '.join(SOURCES)}.", name)
    source: Source = importlib.import_module(SOURCES[name]).SOURCE
    return source
