"""Whether a batch is complete: its annotations can be read, and every picture that they name is there and has its end.

Settled sizes alone are not enough: where a producer stalled for 1.5 s between pictures, a wait for unchanged files lost
206 of 400 of them, and none together with this. A table of text that is cut after a row is a shorter table, though: who
writes one last, slowly and in place, must write a marker too, or rename the batch when it is complete.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources import load_source
from beam_jobs.sources.base import CORRECTIONS, Input, Source, Subset, published_split, subset_of
from beam_jobs.watch.batch import Batch, Correction, subset_name
from beam_jobs.watch.inboxes.identity import Content, Files, digest_of, sample_pictures, stamp_of
from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError, one_line, printable
from tfrecords.files import remote, remote_write
from tfrecords.files.place import Place

_TAIL_BYTES = 64
"""End of a picture that is read: the last marker of a JPEG is nowhere else in it but after an embedded preview."""
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_RIFF, _RIFF_HEAD = b"RIFF", 8
_UNFINISHED = {
    "yolo": ("no_image", "missing_picture", "unreadable_picture"),
    "voc": ("damaged", "missing_annotation"),
}
"""Reasons of rejected annotations, by source, that say that a file has not come or is cut."""


class BadNameError(UserError):
    """The name of a batch could be meant as that of a split."""


@dataclass(frozen=True)
class Look:
    """What a look into a batch has found.

    Attributes:
      batch: Batch.
      contents: What identifies each of its subsets.
      lacks: What has not come, as a sentence; empty if the batch is complete.
    """

    batch: Batch
    contents: tuple[Content, ...]
    lacks: str = ""


@dataclass
class _Lacks:
    """Pictures that are not there, or without an end."""

    count: int = 0
    first: str = ""
    entries: int = 0

    def add(self, what: str) -> None:
        self.first = self.first or what
        self.count += 1

    def __str__(self) -> str:
        if not self.count:
            return ""
        others = f" and {self.count - 1} more of {self.entries} entries" if self.count > 1 else ""
        return f"{self.first}{others}"


@dataclass
class _Pictures:
    """Sizes of the pictures of a batch: those in its listing, and others that it names.

    Attributes:
      root: Place of the batch.
      files: Its listing.
    """

    root: Place
    files: Files
    _folders: dict[str, dict[str, tuple[int | None, float | None]]] = field(default_factory=dict)

    def size(self, place: Place) -> int:
        """Returns the size of a picture, bytes; -1 if it is not there."""
        inside = place.text.removeprefix(f"{self.root.text}/")
        if inside != place.text and inside in self.files:
            return self.files[inside][0]
        if not place.is_remote:
            try:
                return os.stat(place.text).st_size  # noqa: PTH116
            except (OSError, ValueError):
                return -1
        if not place.has_listing:
            return -1
        # One listing for all pictures of a folder, rather than a request for each.
        folder = place.parent.text
        if folder not in self._folders:
            self._folders[folder] = remote.stated(folder)
        size = self._folders[folder].get(place.name, (-1, None))[0]
        return -1 if size is None else size


def look_into(name: str, place: Place, files: Files, config: PrepareConfig, *, complete: bool = True) -> Look:
    """Reads the annotations of a batch, and looks at its pictures.

    Args:
      name: Name of the batch.
      place: Place of the batch, a folder or a file.
      files: Its listing.
      config: How its pictures are to be read.
      complete: Whether to look for the ends of the pictures too.

    Raises:
      BadNameError: The name of the batch could be meant as that of a split.
      UserError: The annotations cannot be read.
      OSError: A file cannot be read.
    """
    corrections = _corrections(place, files)
    given = files.keys() - set(CORRECTIONS)
    source = load_source(config.source)
    found: tuple[Subset, ...] = ()
    if not corrections or any(not each.startswith("_") for each in given):
        found = source.find_subsets(Input(place), config.reading)
    is_only = len(found) == 1
    owns = [_own_name(place, files, subset, is_only, config.source) for subset in found]
    lacks = _Lacks(entries=sum(subset.entries for subset in found))
    contents = []
    for own, subset in zip(owns, found, strict=True):
        pictures = _find_pictures(source, subset, config, _Pictures(place, files), lacks, complete)
        there = {name: each for name, each in pictures.items() if each[1] > 0}
        contents.append(
            Content(
                own if published_split(own) or not is_only else "",
                _annotations_sha256(place, files, subset),
                {name: size for name, (_, size) in pictures.items()},
                sample_pictures(there),
            )
        )
    if not lacks.entries and not corrections:
        lacks.add("it names no picture and corrects no number")
    said = repr([(each.key, each.action, each.text) for each in corrections]) if corrections else ""
    # What corrects the same numbers again may be meant, after another correction of them.
    digest = digest_of(contents, said if found or not said else f"{name} {said}")
    # Plain subsets, which the ledger can keep, whatever a source adds to its own.
    subsets = [
        Subset(subset_name(name, own, is_only), subset.path, subset.entries, subset.annotations_sha256, subset.pictures)
        for own, subset in zip(owns, found, strict=True)
    ]
    for subset in subsets:
        _check_text(subset)
    batch = Batch(name, digest, stamp_of(files), subsets, corrections=corrections)
    return Look(batch, tuple(contents), str(lacks))


def _check_text(subset: Subset) -> None:
    """Checks that the ledger can keep a subset.

    Raises:
      BadNameError: The bytes of a name are no text.
    """
    for name in (subset.name, subset.path, subset.pictures):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise BadNameError("Names of files with annotations must be UTF-8.", printable(name)) from error


def _corrections(place: Place, files: Files) -> list[Correction]:
    """Returns the corrections that are in the folder of a batch."""
    if not any(each in files for each in CORRECTIONS):
        return []
    from beam_jobs.watch.correcting.correct import read_corrections

    found: list[Correction] = read_corrections(place)
    return found


def _own_name(place: Place, files: Files, subset: Subset, is_only: bool, source: str) -> str:
    """Returns the name of a subset that the content of a batch gives it; empty where only the batch's name does.

    Raises:
      BadNameError: A word in the name of the batch is that of a split, and the subset has this name.
    """
    if not is_only or not published_split(subset.name):
        return subset.name
    if source == "image-folder" and subset.path == place.text:
        return ""
    if _may_be_named_by_batch(place, files, subset, source):
        rule = (
            f"The name of a batch must not hold the word {subset.name}, which would decide the split of its pictures."
        )
        raise BadNameError(rule, printable(place.name if subset_of(place.name) == subset.name else place.text))
    return subset.name


def _may_be_named_by_batch(place: Place, files: Files, subset: Subset, source: str) -> bool:
    """Returns whether a source may have the name of a subset from the name of the batch, or of the inbox."""
    if _is_alone(files):
        return subset.name in (subset_of(place.name), place.parent.name.lower())
    table = Place(subset.path)
    is_beside = source == "table" and table.parent == place and subset_of(table.name) != subset.name
    return is_beside and subset_of(place.name) == subset.name


def _is_alone(files: Files) -> bool:
    """Returns whether a batch is a file, by its listing."""
    return "" in files


def _annotations_sha256(place: Place, files: Files, subset: Subset) -> str:
    """Returns the digest of a subset's annotations, without the name of the batch."""
    is_all = _is_alone(files) and subset.path == place.text and not subset.pictures
    return place.sha256() if is_all else subset.annotations_sha256


def _find_pictures(
    source: Source, subset: Subset, config: PrepareConfig, pictures: _Pictures, lacks: _Lacks, complete: bool
) -> dict[str, tuple[Place, int]]:
    """Returns the place and the size of each picture of a subset, by name, and adds what has not come to `lacks`."""
    unfinished = _UNFINISHED.get(config.source, ())
    found: dict[str, tuple[Place, int]] = {}
    for annotation in _first_of_each(source.read_annotations(subset, 0, subset.entries, "left", config.reading)):
        if annotation.dead and annotation.dead.reason in unfinished:
            lacks.add(annotation.dead.detail)
            continue
        # A picture without a number is a record where numbers are to be found.
        is_rejected = annotation.dead and not (config.task == FIND and annotation.dead.no_number)
        places = source.picture_places(subset, annotation.name)
        if not places or (is_rejected and annotation.name.startswith("#")):
            continue
        sized = ((each, pictures.size(each)) for each in places)
        place, size = next((pair for pair in sized if pair[1] >= 0), (places[0], -1))
        if size < 0 and is_rejected:
            continue
        found[annotation.name] = place, size
        if complete and (size <= 0 or not has_end(place, size)):
            what = "is not there" if size < 0 else "is empty" if not size else "has no end"
            lacks.add(f"the picture {printable(annotation.name)} {what}")
    return found


def _first_of_each(annotations: Iterator[Annotation]) -> Iterator[Annotation]:
    """Yields the first number of each picture."""
    names: set[str] = set()
    for annotation in annotations:
        if annotation.name not in names:
            names.add(annotation.name)
            yield annotation


def has_end(place: Place, size: int) -> bool:
    """Returns whether a picture is written to its end, as far as its format marks that: PNG, JPEG and WebP do.

    Where the mark is not at the end, as in files to which a camera appends a film, the picture is decoded.

    Args:
      place: File of the picture.
      size: Its size, bytes.
    """
    if place.is_remote and remote_write.appears_complete(place.text):
        return True
    try:
        head, tail = _ends(place, size)
    except OSError:
        return False
    if head.startswith(_RIFF):
        return size >= _RIFF_HEAD + int.from_bytes(head[4:8], "little")
    end = _PNG_END if head.startswith(_PNG) else _JPEG_END if head.startswith(_JPEG) else b""
    return end in tail or _decodes(place, end)


def _ends(place: Place, size: int) -> tuple[bytes, bytes]:
    """Returns the first bytes and the last bytes of a file."""
    start = max(0, size - _TAIL_BYTES)
    if place.is_remote:
        return remote.read_bytes(place.text, 0, min(size, _TAIL_BYTES)), remote.read_bytes(place.text, start, size)
    with open(place.text, "rb", buffering=0) as stream:  # noqa: PTH123
        head = stream.read(_TAIL_BYTES)
        stream.seek(start)
        return head, stream.read()


def _decodes(place: Place, end: bytes) -> bool:
    """Returns whether a picture has its end somewhere, and can be decoded to its last row."""
    from tfrecords.images.decode import PictureError, decode_picture

    try:
        data = place.read_bytes()
        if end not in data:
            return False
        decode_picture(data, place.name)
    except (PictureError, OSError):
        return False
    return True


def difference_of(before: Batch, now: Look) -> str:
    """Returns how a batch differs from what was accepted under its name, as a sentence; empty if it does not."""
    if now.batch.digest == before.digest:
        return ""
    old = {subset.name: subset for subset in before.subsets}
    new = {subset.name: subset for subset in now.batch.subsets}
    if old.keys() != new.keys():
        return f"it has the subsets {', '.join(new) or 'none'}, and had {', '.join(old) or 'none'}"
    for name, subset in old.items():
        if replace(subset, path="", pictures="") != replace(new[name], path="", pictures=""):
            return f"the annotations of {name} are others: {new[name].entries} entries, and {subset.entries} before"
    if before.corrections != now.batch.corrections:
        return "its corrections are others"
    missing = [name for each in now.contents for name, size in each.pictures.items() if size < 0]
    if missing:
        return f"the picture {printable(missing[0])} is not there, nor are {len(missing) - 1} others"
    return "its pictures are others, or their names are"


def reason_of(error: Exception) -> str:
    """Returns why a batch cannot be read, as one line."""
    return printable(one_line(error))
