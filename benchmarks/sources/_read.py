"""Our way of each benchmark here: all annotations, range by range as `prepare` reads them."""

from collections.abc import Iterator
from pathlib import Path

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions
from tfrecords.files.place import Place

_RANGE = 4000


def read_all(source: Source, path: Path) -> Iterator[Annotation]:
    """Yields the annotations of a file or folder."""
    options = SourceOptions()
    for subset in source.find_subsets(Input(Place(path)), options):
        for start in range(0, subset.entries, _RANGE):
            stop = min(start + _RANGE, subset.entries)
            yield from source.read_annotations(subset, start, stop, "left", options)
