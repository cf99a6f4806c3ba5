"""Pascal VOC as a `Source`: an XML file for each picture, with a box for each number or for each character.

The format is described in the development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/). Its own
pixels count from 1 and include both edges. What people have is written by tools that count from 0 and exclude the right
and bottom edges: labelImg (`convert_points_to_bnd_box` in
https://github.com/HumanSignal/labelImg/blob/master/libs/labelFile.py, which only raises a left or top edge of 0 to 1),
CVAT and Roboflow. So edges are read as tools write them; for the kit's own files the left and top edges come out one
pixel too far inside, which the margin of a crop covers.

The entries of a subset are: the first number of each file, the pictures without a file, then the other numbers of the
files. So a range of the first two needs no other files, and only pictures of several numbers need them all.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from beam_jobs.annotation import Annotation
from beam_jobs.sources import markup
from beam_jobs.sources.base import PICTURE_SUFFIXES, Input, Source, SourceOptions, Subset
from beam_jobs.sources.layout import SUBSETS, choose, digest_of, no_garbage, relative_name
from beam_jobs.sources.marks import TEXT_NAMES, Fault, Mark, annotations_of, make_box, rejected, unannotated
from tfrecords.errors import UserError
from tfrecords.files.place import Place

ANNOTATIONS, PICTURES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
"""Folders of the development kit's layout."""
_OF_LABELS = ("annotations", "annotation", "labels", "label", "xml", "xmls")
"""Names, in lower case, of folders of annotations, which are no part of a picture's path."""
NAME = "name"
"""Value of `--text-attribute` with which the class of an object is its number."""


class _Files(NamedTuple):
    """What a subset is made of.

    Attributes:
      root: Folder that the files' paths are relative to.
      files: Paths of the XML files, sorted; of a list of names in ImageSets, also of files that are not there.
      pictures: Folder of the pictures.
      found: Paths of the pictures in it.
      by_stem: Paths of the pictures by their file names in lower case, without and with their suffixes.
    """

    root: Place
    files: tuple[str, ...]
    pictures: Place
    found: tuple[str, ...]
    by_stem: Mapping[str, list[str]]


class VocSource(Source):
    """Reader of Pascal VOC."""

    packages = ()
    title = "Pascal VOC XML"
    expects = (
        "a folder of XML files and pictures, with or without folders train, valid and test; or with Annotations, "
        "JPEGImages and ImageSets/Main: objects whose names are characters, or with the number in an attribute"
    )
    options = ("text_attribute",)
    defaults: Mapping[str, Any] = {}

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an input: see `expects`.

        Raises:
          UserError: There are no XML files, or a wanted subset is missing.
        """
        root = given.media_root.text if given.media_root else ""
        chosen = choose(_places(given.place), given.wanted, given.place)
        return tuple(_describe(name, place, root, options.text_attribute) for name, place in chosen.items())

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the folders, or lists of ImageSets, that are not read; and the files that no list names, sorted."""
        read = {subset.path for subset in subsets}
        left = [place.text for place in _places(given.place).values() if place.text not in read]
        if not left and all(path.endswith(".txt") for path in read):
            named = {file for path in read for file in _files(path, "").files}
            spare = [file for file in _xml_in(given.place / ANNOTATIONS) if f"{ANNOTATIONS}/{file}" not in named]
            left += [f"{given.place / ANNOTATIONS} ({len(spare)} files that no list of {SETS} names)"] if spare else []
        return tuple(sorted(left))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries; see `Source`.

        Raises:
          OSError: A file that was there cannot be read.
        """
        key = (subset.name, subset.path, subset.pictures, subset.annotations_sha256, options.text_attribute)
        if _LAST.get((*key, digit_order)) is None and stop <= _first_entries(*key[1:4]):
            files = _files(subset.path, subset.pictures)
            for index in range(start, stop):
                if index < len(files.files):
                    yield _of_file(files, index, subset.name, options.text_attribute, digit_order)[0]
                else:
                    yield _missing(subset.name, index, _unannotated(files, subset)[index - len(files.files)])
            return
        yield from _parse(*key, digit_order)[start:stop]

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        return (_files(subset.path, subset.pictures).pictures / name).read_bytes()


SOURCE = VocSource()
