"""COCO detection JSON as a `Source`: categories are characters, or boxes have their number as an attribute."""

from collections.abc import Iterator
from functools import lru_cache

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset
from beam_jobs.sources.coco import document, layout, numbers
from beam_jobs.sources.layout import no_garbage
from tfrecords.files.place import Place


class CocoSource(Source):
    """Reader of COCO detection JSON."""

    title = "COCO detection JSON"
    expects = (
        "a JSON file, or a folder with one in `annotations` or in a folder per subset: categories are characters "
        "(0, 7, A, seven), or boxes have the number as an attribute (text, transcription, ocr, number, value)"
    )
    options = ("text_attribute",)
    takes_media_root = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of a file or folder; see `coco.layout`.

        Raises:
          UserError: A file cannot be read, a wanted subset is missing, or no picture is found.
        """
        return tuple(
            _describe(name, file, given.media_root, options) for name, file in layout.find_files(given).items()
        )

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the JSON files in an input folder that are in none of the subsets, sorted."""
        read = {subset.path for subset in subsets}
        return tuple(path for path in layout.all_files(given.place) if path not in read)

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Returns the annotations of a range of entries; see `Source`.

        Raises:
          UserError: The file as a whole cannot be read.
        """
        entries = read_entries(subset.path, subset.annotations_sha256, subset.name, options.text_attribute, digit_order)
        return iter(entries[start:stop])


SOURCE = CocoSource()


def _describe(name: str, file: Place, media_root: Place | None, options: SourceOptions) -> Subset:
    """Returns the subset of a file."""
    digest = file.sha256()
    entries = read_entries(str(file), digest, name, options.text_attribute, "left")
    named = (entry.name for entry in entries if not entry.name.startswith("#"))
    pictures = layout.find_pictures(file, named, media_root)
    return Subset(name, str(file), len(entries), digest, str(pictures))


@lru_cache(maxsize=2)
def read_entries(path: str, digest: str, subset: str, text_attribute: str | None, digit_order: str) -> list[Annotation]:
    """Returns the entries of a file, parsed once per process and content."""
    place = Place(path)
    with no_garbage():
        return numbers.numbers_of(document.parse(place, place.read_bytes(), text_attribute), subset, digit_order)
