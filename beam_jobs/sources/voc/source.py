"""Pascal VOC as a `Source`: an XML file for each picture, with a box for each number or for each character.

The format is described in the development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/). Its own
pixels count from 1 and include both edges. What people have is written by tools that count from 0 and exclude the right
and bottom edges: labelImg (`convertPointsToBndBox` in
https://github.com/HumanSignal/labelImg/blob/master/libs/labelFile.py, which only raises a left or top edge of 0 to 1),
CVAT and Roboflow. So edges are read as tools write them; for the kit's own files the left and top edges come out one
pixel too far inside, which the margin of a crop covers.

The entries of a subset are: the first number of each file, the pictures without a file, then the other numbers of the
files. So where pictures have the names of their files, a range of the first two needs no other file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset
from beam_jobs.sources.layout import choose, no_garbage
from beam_jobs.sources.marks import Fault, check_attribute, rejected, unannotated
from beam_jobs.sources.voc.folders import Listing, find_places, forget, list_files, pictures_of, unlisted
from beam_jobs.sources.voc.picture import read_file
from tfrecords.errors import UserError
from tfrecords.files.ahead import read_ahead

_Key = tuple[Subset, str | None, str]
_PARSED: dict[_Key, list[Annotation]] = {}
"""Annotations of the last subsets that this process has read completely, by subset, attribute and reading order."""
_MOST_PARSED = 4


class VocSource(Source):
    """Reader of Pascal VOC."""

    title = "Pascal VOC XML"
    expects = (
        "a folder of XML files and pictures, with or without folders train, valid and test; or with Annotations, "
        "JPEGImages and ImageSets/Main: objects whose names are characters, or with the number in an attribute"
    )
    options = ("text_attribute",)
    takes_media_root = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an input: see `expects`.

        Raises:
          UserError: There are no XML files, none is Pascal VOC, or a wanted subset is missing.
        """
        forget()
        subsets = []
        for name, place in choose(find_places(given.place), given.wanted, given.place).items():
            pictures = (given.media_root or pictures_of(place)).text
            listing = list_files(place.text, pictures, "")
            annotations, sha256 = _read_all(name, listing, options.text_attribute, "left")
            damaged = [each.dead.detail for each in annotations if each.dead and each.dead.reason == "damaged"]
            if len(damaged) >= len(listing.files):
                raise UserError(f"{place} must hold a Pascal VOC file.", (damaged or ["no XML file"])[0])
            check_attribute(options.text_attribute, annotations, place)
            subset = Subset(name, place.text, len(annotations), sha256, pictures)
            _keep((subset, options.text_attribute, "left"), annotations)
            subsets.append(subset)
        return tuple(subsets)

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the folders or lists of ImageSets that are not read, and the files that no list names, sorted."""
        read = {subset.path for subset in subsets}
        places = find_places(given.place)
        left = [place.text for place in places.values() if place.text not in read]
        return tuple(sorted(left + unlisted(places)))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries; see `Source`.

        Raises:
          UserError: The files have changed since the subset was found.
          OSError: A file cannot be read.
        """
        key = (subset, options.text_attribute, digit_order)
        if key not in _PARSED:
            listing = list_files(subset.path, subset.pictures, subset.annotations_sha256)
            if listing.is_plain and stop <= len(listing.files):
                for index, read in read_ahead(range(start, stop), listing.read, lambda _: listing.root.is_remote):
                    data = read()
                    yield read_file(listing, index, data, subset.name, options.text_attribute, digit_order)[0]
                return
            annotations, sha256 = _read_all(subset.name, listing, options.text_attribute, digit_order)
            if sha256 != subset.annotations_sha256:  # the listing may be of before the subset was found
                forget()
                listing = list_files(subset.path, subset.pictures, subset.annotations_sha256)
                annotations, sha256 = _read_all(subset.name, listing, options.text_attribute, digit_order)
            if sha256 != subset.annotations_sha256:
                raise UserError("The annotations must not change while they are read.", subset.path)
            _keep(key, annotations)
        yield from _PARSED[key][start:stop]


SOURCE = VocSource()


def _keep(key: _Key, annotations: list[Annotation]) -> None:
    """Keeps the annotations of a subset, and forgets those of the subset that was read first."""
    while len(_PARSED) >= _MOST_PARSED:
        _PARSED.pop(next(iter(_PARSED)))
    _PARSED[key] = annotations


def _read_all(subset: str, listing: Listing, attribute: str | None, digit_order: str) -> tuple[list[Annotation], str]:
    """Returns the annotations of all entries, and the digest of the files and of the pictures' names.

    Raises:
      OSError: A file cannot be read.
    """
    digest = hashlib.sha256("\n".join(listing.pictures).encode("utf-8", "surrogateescape"))
    found: list[Annotation] = []
    others: list[Annotation] = []
    names: set[str] = set()
    with no_garbage():
        for index, read in read_ahead(range(len(listing.files)), listing.read, lambda _: listing.root.is_remote):
            file, data = listing.files[index], read()
            head = f"\0{file}\0{-1 if data is None else len(data)}\0"
            digest.update(head.encode("utf-8", "surrogateescape") + (data or b""))
            first, *rest = read_file(listing, index, data, subset, attribute, digit_order)
            if first.name in names:
                fault = Fault("duplicate_picture", "A picture must have one XML file.", file)
                first, rest = rejected(subset, first.name, index, fault), []
            names.add(first.name)
            found.append(first)
            others += rest
        for name in listing.spare(tuple(names)):
            found.append(unannotated(subset, name, len(found)))
        for each in others:
            found.append(replace(each, index=len(found)))
    return found, digest.hexdigest()
