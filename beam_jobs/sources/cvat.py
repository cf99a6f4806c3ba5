"""CVAT for images 1.1 as a `Source`: annotations.xml, with a box for each number or for each character.

The format is described at https://docs.cvat.ai/docs/manual/advanced/xml_format: the edges xtl, ytl, xbr and ybr of a
box are pixels, and half-open, since CVAT draws between pixels.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from xml.etree.ElementTree import Element

from beam_jobs.annotation import Annotation
from beam_jobs.sources import markup
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset, check_subset_names, own_name, subset_of
from beam_jobs.sources.layout import SUBSETS, choose, digest, no_garbage, read_first, relative_name
from beam_jobs.sources.marks import (
    TEXT_NAMES,
    Fault,
    Mark,
    annotations_of,
    character,
    check_attribute,
    make_box,
    rejected,
)
from tfrecords.errors import UserError
from tfrecords.files.place import Place

FILE_NAME = "annotations.xml"
_SHAPES = frozenset(("polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"))


class CvatSource(Source):
    """Reader of CVAT for images 1.1."""

    title = "CVAT for images 1.1"
    expects = (
        "annotations.xml, a folder with it or with train.xml and test.xml, or folders train, val and test with it: "
        "boxes with the number in an attribute (text, transcription, ocr, number, value, plate), or boxes whose labels "
        "are characters"
    )
    options = ("text_attribute",)
    takes_media_root = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an export: its folders, or the `subset`s of its images.

        Raises:
          UserError: There is no export, it is damaged, or a wanted subset is missing.
        """
        pictures = given.media_root.text if given.media_root else ""
        found: dict[str, Subset] = {}
        for file in _exports(given.place):
            sha256 = digest(file.parent, (file.name,))
            for name, annotations in _parse(file, sha256, options.text_attribute, "left", "").items():
                if name in found:
                    rule = f"The images of the subset {name} must be in one file."
                    raise UserError(rule, f"{found[name].path}, {file}")
                check_attribute(options.text_attribute, annotations, file)
                found[name] = Subset(name, file.text, len(annotations), sha256, pictures)
        check_subset_names(tuple(found))
        chosen = choose(found, given.wanted, given.place)
        return tuple(replace(subset, name=name) for name, subset in chosen.items())

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the exports of an input of which no subset is read, sorted."""
        read = {subset.path for subset in subsets}
        return tuple(sorted(file.text for file in _exports(given.place) if file.text not in read))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries; see `Source`.

        Raises:
          UserError: The export is damaged.
        """
        file, sha256 = Place(subset.path), subset.annotations_sha256
        own = _own(file, sha256, subset.name)
        renamed = f"{own}={subset.name}" if own != subset.name else ""
        parsed = _parse(file, sha256, options.text_attribute, digit_order, renamed)
        yield from parsed[subset.name][start:stop]

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file: in the folder of pictures, or in the export and its folder `images`.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        return read_first(*_folder_and_names(subset, name))

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns where the file of a picture may be; see `Source`."""
        folder, names = _folder_and_names(subset, name)
        return tuple(folder / each for each in names)


SOURCE = CvatSource()


def _folder_and_names(subset: Subset, name: str) -> tuple[Place, list[str]]:
    """Returns the folder of a picture, and the names that its file may have there."""
    own = _own(Place(subset.path), subset.annotations_sha256, subset.name)
    names = [name, *(f"{folder}/{name}" for folder in (own, own.title(), own.upper()))]
    if subset.pictures:
        return Place(subset.pictures), [*names, name.rpartition("/")[2]]
    return Place(subset.path).parent, [*(f"images/{each}" for each in names), *names]


def _exports(place: Place) -> list[Place]:
    """Returns the annotation files of an input: itself, those in it, or else those in its folders.

    Raises:
      UserError: There is none.
    """
    if place.suffix == ".xml" and place.is_file():
        return [place]
    if place.is_dir():
        entries = place.entries()
        files = [place / each.name for each in entries if not each.is_folder and each.name.lower().endswith(".xml")]
        folders = [place / each.name for each in entries if each.is_folder and each.name.lower() in SUBSETS]
        if files := files or [folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()]:
            return files
    raise UserError(f"The input must be {FILE_NAME}, or a folder that holds it or has such folders.", place)


def _subset_without_name(file: Place) -> str:
    """Returns the subset of the images that name none: by the name of their file, or by that of its folder."""
    folder = file.parent.name.lower()
    return folder if file.name == FILE_NAME and folder in SUBSETS else subset_of(file.name)


@lru_cache(maxsize=4)
def _parse(
    file: Place, sha256: str, attribute: str | None, digit_order: str, renamed: str
) -> dict[str, list[Annotation]]:
    """Returns the annotations of each subset. The digest of the file is there for the cache.

    Args:
      file: Annotation file.
      sha256: Digest of the file.
      attribute: Name of the attribute that holds the numbers; None for the usual ones.
      digit_order: Reading order.
      renamed: Name of a subset and the one under which it is read, `val=2026-11@val`, to read it alone; empty for all.

    Raises:
      UserError: The file is damaged, or of another kind.
    """
    found: dict[str, list[Annotation]] = {}
    names: set[tuple[str, str]] = set()
    images, default = 0, _subset_without_name(file)
    own, _, new = renamed.partition("=")
    with no_garbage(), file.open() as stream:
        try:
            for _, element in chain.from_iterable(markup.ends(stream)):
                if element.tag == "image":
                    images += 1
                    subset = _subset(element, default)
                    if not renamed or subset == own:
                        subset = new if renamed else subset
                        entries = found.setdefault(subset, [])
                        entries += _annotations(element, subset, len(entries), names, attribute, digit_order)
                    element.clear()
                elif element.tag == "track":
                    raise UserError("CVAT for video must be exported as CVAT for images 1.1.", "a track")
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
    if element.tag != "annotations" or not images:
        rule = f"{file} must be CVAT for images 1.1: <annotations> with <image> elements."
        hint = " --source voc reads Pascal VOC." if element.tag == "annotation" else ""
        raise UserError(rule + hint, f"<{element.tag}> with {images} images")
    return found


@lru_cache(maxsize=64)
def _own(file: Place, sha256: str, name: str) -> str:
    """Returns the name that a file gives to a subset which is read under another, most often of its first image.

    Args:
      file: Annotation file.
      sha256: Digest of the file, for the cache.
      name: Name under which the subset is read.

    Raises:
      UserError: No subset of the file is meant, or the file is damaged.
    """
    default = _subset_without_name(file)
    found = set()
    with file.open() as stream:
        for _, element in chain.from_iterable(markup.ends(stream)):
            if element.tag == "image":
                subset = _subset(element, default)
                if subset == name.rpartition("@")[2]:
                    return subset
                found.add(subset)
                element.clear()
    return own_name(name, found)


def _subset(image: Element, default: str) -> str:
    """Returns the name of the subset of an image."""
    return (image.get("subset") or default).strip().lower()


def _annotations(
    image: Element, subset: str, index: int, names: set[tuple[str, str]], attribute: str | None, digit_order: str
) -> list[Annotation]:
    """Returns the annotations of an image, whose name joins those of the images before."""
    given = image.get("name") or ""
    name = relative_name(given)
    if name is None:
        rule = "The name of an image must be a relative path without `..`."
        return [rejected(subset, f"#{index + 1}", index, Fault("bad_path", rule, given[:200] or "nothing"))]
    if (subset, name) in names:
        fault = Fault("duplicate_picture", "An image must be there once.", f"image {image.get('id')}")
        return [rejected(subset, name, index, fault)]
    names.add((subset, name))
    return annotations_of(subset, name, index, _marks(image, attribute), digit_order)


def _marks(image: Element, attribute: str | None) -> list[Mark]:
    """Returns the boxes of an image; its tags, as numbers of the complete picture, if it has no box."""
    marks, tags = [], []
    for shape in image:
        label = (shape.get("label") or "").strip()
        text, fault = _text(shape, attribute) if len(shape) else ("", None)
        if shape.tag == "box":
            marks.append(_mark(shape.attrib, label, text, fault))
        elif shape.tag in _SHAPES:
            fault = Fault("not_a_box", "A shape must be a box.", f"<{shape.tag}> of class {label}")
            marks.append(Mark(label, text, None, fault=fault))
        elif shape.tag == "tag" and (text or fault or character(label)):
            tags.append(Mark("", text or character(label), None, fault=fault))
    return marks or tags


def _mark(values: dict[str, str], label: str, text: str, fault: Fault | None) -> Mark:
    """Returns a box by the attributes of its element."""
    group = values.get("group_id") or ""
    try:
        if fault is None and (turned := values.get("rotation")) and float(turned) % 360:
            fault = Fault("rotated_box", "The rotation of a box must be 0: draw the box upright.", turned)
    except ValueError:
        fault = Fault("bad_box", "The rotation of a box must be a number.", values["rotation"][:40])
    box, wrong = make_box(values.get("xtl"), values.get("ytl"), values.get("xbr"), values.get("ybr"))
    return Mark(label, text, box, group if group != "0" else "", fault or wrong)


def _text(shape: Element, attribute: str | None) -> tuple[str, Fault | None]:
    """Returns the number that an attribute of a shape holds; empty if none does; or why it is not one."""
    texts = {}
    for each in shape:
        name = each.get("name") or ""
        if (name == attribute if attribute else name.lower() in TEXT_NAMES) and (text := (each.text or "").strip()):
            texts[text] = name
    if len(texts) > 1:
        rule = f"A box must have one text; --text-attribute chooses one of {', '.join(texts.values())}."
        return "", Fault("several_texts", rule, ", ".join(texts)[:200])
    return next(iter(texts), ""), None
