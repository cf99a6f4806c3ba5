"""Reads the annotations of a source, whole and in ranges, for the tests of sources whose files are small."""

import pickle
from pathlib import Path

from beam_jobs.annotation import Annotation
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from tfrecords.files.place import Place


def find(
    source: str, path: Path, text_attribute: str | None = None, wanted: tuple[str, ...] = (), media: Path | None = None
) -> tuple[Subset, ...]:
    """Returns the subsets of an input, as a worker unpickles them."""
    given = Input(Place(path), wanted, Place(media) if media else None)
    found = load_source(source).find_subsets(given, SourceOptions(text_attribute=text_attribute))
    copied: tuple[Subset, ...] = pickle.loads(pickle.dumps(found))
    return copied


def read(
    source: str,
    path: Path,
    text_attribute: str | None = None,
    digit_order: str = "left",
    wanted: tuple[str, ...] = (),
    media: Path | None = None,
) -> list[Annotation]:
    """Returns the annotations of all subsets. Each must have the index of its entry."""
    options = SourceOptions(text_attribute=text_attribute)
    found = []
    for subset in find(source, path, text_attribute, wanted, media):
        entries = list(load_source(source).read_annotations(subset, 0, subset.entries, digit_order, options))
        assert [each.index for each in entries] == list(range(subset.entries))
        found += entries
    return found


def texts(annotations: list[Annotation]) -> dict[str, str]:
    """Returns the text of each annotation, or the reason of its rejection in parentheses, by its key."""
    found = {each.key: f"({each.dead.reason})" if each.dead else each.text for each in annotations}
    assert len(found) == len(annotations), "keys must be unique"
    return found


def details(annotations: list[Annotation]) -> list[str]:
    """Returns the details of the dead letters; each must be one line about its picture that ends as errors do."""
    letters = [(each, each.dead.detail) for each in annotations if each.dead]
    for each, detail in letters:
        assert detail.startswith(f"{each.subset}/{each.name}: ") and detail.isprintable(), detail
        assert (each.text, each.boxes, each.box) == ("", (), None)
    return [detail for _, detail in letters]


def check_ranges(source: str, subset: Subset) -> None:
    """Checks that ranges of entries together are all entries."""
    options = SourceOptions()
    reader = load_source(source)
    complete = list(reader.read_annotations(subset, 0, subset.entries, "left", options))
    for size in (1, 2, 3):
        ranges = [(at, min(at + size, subset.entries)) for at in range(0, subset.entries, size)]
        assert [
            each for start, stop in ranges for each in reader.read_annotations(subset, start, stop, "left", options)
        ] == complete
